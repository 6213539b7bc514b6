"""Text messages by Twilio's REST API."""

from base64 import b64encode
from urllib.parse import quote, urlencode

import msgspec

from millrace import __version__
from millrace.apps.messaging.jobs import Letter, SmsJob
from millrace.apps.messaging.providers.contract import Failed, Handed
from millrace.apps.messaging.providers.http import ask, read
from millrace.apps.messaging.providers.scrub import without_recipient
from millrace.apps.messaging.providers.twilio_codes import verdict_of
from millrace.apps.messaging.providers.verdicts import error_of
from millrace.apps.messaging.settings import TwilioSettings
from millrace.clock import Clock
from millrace.resources.answer import Answer
from millrace.resources.outbound import Outbound

PROVIDER = "twilio"
MESSAGING_SERVICE = "MG"
NOT_DELIVERED = ("failed", "undelivered")


class _Message(msgspec.Struct):
    sid: str
    status: str = ""
    error_code: int | None = None


class _Error(msgspec.Struct):
    code: int | None = None
    message: str = ""


class TwilioProvider:
    """Posts text messages. Twilio has no idempotency key: what was not answered may have been sent."""

    name = PROVIDER

    def __init__(
        self, settings: TwilioSettings, public_url: str | None, outbound: Outbound, clock: Clock, *, seconds: float
    ) -> None:
        self._settings, self._public_url, self._outbound = settings, public_url, outbound
        self._clock, self._seconds = clock, seconds

    async def send(self, account_id: str, letter: Letter) -> Handed:
        """Hand a text message over; see `Provider`."""
        if not isinstance(letter, SmsJob):
            raise TypeError("Twilio takes text messages only")
        settings = self._settings
        secret = b64encode(f"{settings.account_sid}:{settings.auth_token}".encode()).decode()
        headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {secret}",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": f"Millrace/{__version__}",
        }
        url = (
            f"{settings.api_base.rstrip('/')}/2010-04-01/Accounts/{quote(settings.account_sid, safe='')}/Messages.json"
        )
        body = urlencode(self._form(account_id, letter)).encode()
        return self._read(await ask(PROVIDER, self._outbound, url, body, headers, seconds=self._seconds), letter)

    async def aclose(self) -> None:
        """Do nothing: the connections are the door's."""

    def _form(self, account_id: str, letter: SmsJob) -> dict[str, str]:
        sender = self._settings.from_number
        form = {
            "To": letter.recipient,
            "MessagingServiceSid" if sender.startswith(MESSAGING_SERVICE) else "From": sender,
            "Body": letter.content,
        }
        if self._public_url is not None:
            form["StatusCallback"] = report_url(self._public_url, account_id)
        return form

    def _read(self, answer: Answer, letter: SmsJob) -> Handed:
        if answer.status < 200 or answer.status >= 300:
            error = read(answer, _Error) or _Error()
            raise self._error(answer, error.code, without_recipient(error.message, letter))
        message = read(answer, _Message)
        if message is None:
            what = "the answer cannot be read; it may have been sent"
            raise Failed(PROVIDER, f"twilio {answer.status}: {what}", is_trouble=True)
        if message.status in NOT_DELIVERED:
            raise self._error(answer, message.error_code, message.status)
        return Handed(provider=PROVIDER, provider_id=message.sid, note=message.status or None)

    def _error(self, answer: Answer, code: int | None, said: str) -> Exception:
        """Our words for a code come first: Twilio's own sentences change, and failures are counted by reason."""
        verdict = verdict_of(code, answer.status if answer.status >= 300 else None)
        words = verdict.words or said
        reason = f"twilio {code or answer.status}{f': {words}' if words else ''}"
        seconds = answer.retry_after_seconds(self._clock()) if answer.status in (429, 503) else None
        return error_of(PROVIDER, verdict, reason, seconds)


def report_url(public_url: str, account_id: str) -> str:
    """Give where Twilio reports what became of an account's messages."""
    return f"{public_url.rstrip('/')}/webhooks/delivery/twilio?{urlencode({'account': account_id})}"
