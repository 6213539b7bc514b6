"""What providers post when they know more of a message: whether it is theirs, and what it says. Nothing is stored here."""

import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from millrace.access.signatures import verify
from millrace.apps.messaging.jobs import Id
from millrace.apps.messaging.providers.scrub import without_addresses
from millrace.apps.messaging.providers.twilio_codes import verdict_of
from millrace.apps.messaging.reports import Event, Report
from millrace.errors import BodyDoesNotFit, BodyNotJson

STANDARD, SVIX = "webhook-", "svix-"
PROVIDER_ID_CHARACTERS = 512
TWILIO_EVENTS: Mapping[str, Event] = {
    "sent": "sent",
    "delivered": "delivered",
    "undelivered": "undelivered",
    "failed": "failed",
}
RESEND_EVENTS: Mapping[str, Event] = {
    "email.sent": "sent",
    "email.delivered": "delivered",
    "email.bounced": "undelivered",
    "email.failed": "failed",
    "email.complained": "complained",
    "email.delivery_delayed": "delayed",
}

WITHOUT_ZERO = r"^[^\x00]*$"  # which PostgreSQL keeps in no text
ProviderId = Annotated[str, Meta(min_length=1, max_length=PROVIDER_ID_CHARACTERS, pattern=WITHOUT_ZERO)]
OurId = Annotated[Id, Meta(pattern=WITHOUT_ZERO)]


class MailReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What any mail provider or relay posts: our id of the message, or the one under which the provider took it."""

    status: Literal["delivered", "undelivered", "failed"]
    message_id: OurId | None = None
    provider_id: ProviderId | None = None
    reason: Annotated[str, Meta(max_length=2_000)] | None = None
    account: OurId | None = None

    def __post_init__(self) -> None:
        if (self.message_id is None) == (self.provider_id is None):
            raise ValueError("expected either messageId or providerId")


class _Bounce(msgspec.Struct):
    type: str = ""
    subType: str = ""  # noqa: N815 - the provider's own name
    message: str = ""


class _Failure(msgspec.Struct):
    reason: str = ""


class _ResendData(msgspec.Struct):
    email_id: ProviderId
    bounce: _Bounce | None = None
    failed: _Failure | None = None


class _ResendEvent(msgspec.Struct):
    type: str
    data: msgspec.Raw


def twilio_signature(auth_token: str, url: str, form: Iterable[tuple[str, str]]) -> str:
    """Sign a post as Twilio does: HMAC-SHA1 of the URL and all parameters by name, each value once."""
    signed = url + "".join(name + value for name, value in sorted(set(form)))
    return b64encode(hmac.digest(auth_token.encode(), signed.encode("utf-8", "replace"), "sha1")).decode()


def is_of_twilio(auth_token: str, urls: Sequence[str], form: Sequence[tuple[str, str]], signature: str) -> bool:
    """Say whether Twilio signed the form for one of these URLs, all of which are tried."""
    given = signature.encode("utf-8", "replace")
    matches = [hmac.compare_digest(twilio_signature(auth_token, url, form).encode(), given) for url in urls]
    return any(matches)


def read_form(body: bytes) -> list[tuple[str, str]]:
    """Give the parameters of a form.

    Raises:
        BodyDoesNotFit: it is none.
    """
    try:
        return parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=200, errors="strict"
        )
    except ValueError:
        raise BodyDoesNotFit("the body is no form (application/x-www-form-urlencoded, UTF-8)") from None


def twilio_report(form: Sequence[tuple[str, str]]) -> Report | None:
    """Give what a status callback says, None when it says nothing that counts here.

    Raises:
        BodyDoesNotFit: it names no message, or no status.
    """
    given = dict(form)
    sid, status = (given.get(f"Message{name}") or given.get(f"Sms{name}") or "" for name in ("Sid", "Status"))
    if not sid or not status or len(sid) > PROVIDER_ID_CHARACTERS or "\0" in sid:
        raise BodyDoesNotFit("the form has no MessageSid, or no MessageStatus")
    event = TWILIO_EVENTS.get(status)
    return None if event is None else Report("twilio", event, provider_id=sid, reason=_twilio_reason(given, status))


def is_signed(secret: str, headers: Mapping[bytes, bytes], body: bytes, now_ms: int) -> bool:
    """Say whether a post has a signature of Standard Webhooks, in its own headers or in Svix', that is not too old."""
    given = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
    prefix = STANDARD if STANDARD + "signature" in given else SVIX
    named = {STANDARD + part: given.get(prefix + part, "") for part in ("id", "timestamp", "signature")}
    return bool(named[STANDARD + "id"]) and verify(secret, named, body, now_ms / 1000)


def once_of(headers: Mapping[bytes, bytes]) -> str:
    """Give the id of a signed post, which is the same in each of its repeats."""
    return (headers.get(b"webhook-id") or headers.get(b"svix-id") or b"").decode("latin-1")[:200]


def resend_report(body: bytes, once: str) -> Report | None:
    """Give what an event of Resend says, None when it says nothing that counts here.

    Raises:
        BodyNotJson, BodyDoesNotFit: it is no event.
    """
    given: _ResendEvent = _decoded(body, _ResendEvent)
    event = RESEND_EVENTS.get(given.type)
    if event is None:
        return None
    data: _ResendData = _decoded(bytes(given.data), _ResendData)
    said = ""
    if data.bounce is not None:
        said = " ".join(filter(None, (data.bounce.type, data.bounce.subType, data.bounce.message)))
    elif data.failed is not None:
        said = data.failed.reason
    reason = f"resend: {without_addresses(said)}" if said else None
    return Report("resend", event, provider_id=data.email_id, reason=reason, once=once)


def mail_report(body: bytes, once: str) -> Report:
    """Give what any other mail provider says.

    Raises:
        BodyNotJson, BodyDoesNotFit: it is no report.
    """
    given: MailReport = _decoded(body, MailReport)
    return Report(
        "email",
        given.status,
        provider_id=given.provider_id,
        message_id=given.message_id,
        reason=without_addresses(given.reason) if given.reason else None,
        account_id=given.account,
        once=once,
    )


def _twilio_reason(form: Mapping[str, str], status: str) -> str | None:
    code = form.get("ErrorCode", "")
    if status not in ("undelivered", "failed") or not code.isascii() or not code.isdigit() or len(code) > 6:
        return None
    words = verdict_of(int(code)).words
    return f"twilio {int(code)}{f': {words}' if words else ''}" if int(code) else None


def _decoded(body: bytes, type: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        raise BodyDoesNotFit(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyNotJson(f"body is not JSON: {error}") from None
