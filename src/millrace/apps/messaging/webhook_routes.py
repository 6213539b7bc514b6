"""`POST /webhooks/delivery/{provider}`: providers report, without a key of ours; their signature is what counts."""

import re
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs

from millrace.access.keys import Key
from millrace.access.scopes import Role
from millrace.access.signatures import sign
from millrace.apps.messaging import reports
from millrace.apps.messaging.queueing import Rules
from millrace.apps.messaging.reports import Report
from millrace.apps.messaging.settings import MessagingSettings
from millrace.apps.messaging.status_queue import tell_status
from millrace.apps.messaging.webhooks import (
    is_of_twilio,
    is_signed,
    mail_report,
    once_of,
    read_form,
    resend_report,
    twilio_report,
)
from millrace.errors import BodyDoesNotFit, BodyNotJson, ConfigurationError, InvalidInput, Unauthenticated
from millrace.http.desk import Desk
from millrace.http.request import Request
from millrace.http.routes import Admit, Answer, Caller, Route
from millrace.platform import Platform
from millrace.work import Work

WORD = "webhooks"
PATH = re.compile(r"/webhooks/delivery/[^/]+/?")
ACCOUNT_CHARACTERS = 128
PORT = re.compile(r":\d+$")


def make_admit(account_id: str) -> Admit:
    """Make the way in: reports come in as a key without rights, of the account that the URL names, else of this one."""

    def admit(caller: Caller) -> Key | None:
        if caller.method != "POST" or not PATH.fullmatch(caller.path):
            return None
        query = parse_qs(caller.query_string.decode("latin-1"))
        account = query.get("account", [account_id])[-1][:ACCOUNT_CHARACTERS].replace("\0", "")
        return Key(id="webhook", account_id=account, role=Role.AUTHOR, created_at_ms=0, hint="")

    return admit


class WebhookRoutes:
    """The route of reports.

    Raises:
        ConfigurationError: a signing secret is none.
    """

    def __init__(self, platform: Platform, rules: Rules, settings: MessagingSettings) -> None:
        self._platform, self._rules, self._settings = platform, rules, settings
        self._readers: dict[str, Callable[[Desk, Request], Report | None]] = {}
        resend_secret = settings.resend.webhook_secret if settings.resend else None
        if settings.twilio is not None:
            self._readers["twilio"] = partial(self._read_twilio, settings.twilio.auth_token)
        if resend_secret is not None:
            _check_secret("RESEND_WEBHOOK_SECRET", resend_secret)
            self._readers["resend"] = partial(_read_signed, resend_secret, resend_report)
        if settings.delivery_secret is not None:
            _check_secret("DELIVERY_WEBHOOK_SECRET", settings.delivery_secret)
            self._readers["email"] = partial(_read_signed, settings.delivery_secret, mail_report)

    def routes(self) -> tuple[Route, ...]:
        """Give the route."""
        refuses = (BodyNotJson, BodyDoesNotFit)
        return (
            Route(method="POST", path=f"/{WORD}/delivery/{{provider}}", handle=self.take_report, scope=None,
                  refuses=refuses, status=204),
        )  # fmt: skip

    async def take_report(self, desk: Desk, request: Request) -> Answer:
        """Let a provider's report count; one that says nothing new is answered the same."""
        provider = request.params["provider"]
        reader = self._readers.get(provider)
        if reader is None:
            raise Unauthenticated(
                f"no signature of {provider[:40]!r} can be checked here; set the secret of that provider"
            )
        report = reader(desk, request)
        if report is not None:
            account_id = report.account_id or request.key.account_id
            await self._platform.write(partial(record, account_id, report, self._rules))
        return Answer(b"", 204)

    def _read_twilio(self, auth_token: str, desk: Desk, request: Request) -> Report | None:
        form = read_form(request.body)
        urls = urls_of(request, self._settings.public_url)
        if not is_of_twilio(auth_token, urls, form, request.head.text(b"x-twilio-signature")):
            raise Unauthenticated("the signature is not Twilio's for this URL; see PUBLIC_URL and TWILIO_AUTH_TOKEN")
        return twilio_report(form)


def urls_of(request: Request, public_url: str | None) -> list[str]:
    """Give the URLs under which a caller may have called: below PUBLIC_URL, else as the request names it.

    With and without a port, as different callers sign.
    """
    query = request.query_string.decode("latin-1")
    tail = request.path + (f"?{query}" if query else "")
    if public_url is not None:
        return [public_url.rstrip("/") + tail]
    host = request.head.text(b"host")
    forwarded = request.head.text(b"x-forwarded-proto").partition(",")[0].strip().lower()
    schemes = (forwarded,) if forwarded in ("http", "https") else ("https", "http")
    return [f"{scheme}://{name}{tail}" for scheme in schemes for name in dict.fromkeys((host, PORT.sub("", host)))]


def record(account_id: str, report: Report, rules: Rules, work: Work) -> None:
    """Let a report count, and tell the account's queue for that if the message ended by it."""
    moved = reports.take(work, account_id, report, rules)
    if moved is not None:
        tell_status(work, account_id, moved)


def _read_signed(
    secret: str, read: Callable[[bytes, str], Report | None], desk: Desk, request: Request
) -> Report | None:
    headers = request.head.headers
    if not is_signed(secret, headers, request.body, desk.clock()):
        raise Unauthenticated("the signature is not valid, or older than five minutes")
    return read(request.body, once_of(headers))


def _check_secret(name: str, secret: str) -> None:
    try:
        sign(secret, "id", 0, b"")
    except InvalidInput as error:
        raise ConfigurationError(f"{name}: {error}") from None
