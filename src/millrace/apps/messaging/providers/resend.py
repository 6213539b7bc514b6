"""E-mails by an HTTP service that speaks Resend's API."""

import msgspec

from millrace import __version__
from millrace.apps.messaging.jobs import EmailJob, Letter
from millrace.apps.messaging.providers.contract import Failed, Handed
from millrace.apps.messaging.providers.http import ask, looks_like_json, read
from millrace.apps.messaging.providers.mime import message_id_of
from millrace.apps.messaging.providers.names import digest_of
from millrace.apps.messaging.providers.scrub import without_recipient
from millrace.apps.messaging.providers.verdicts import Verdict, error_of
from millrace.apps.messaging.settings import ResendSettings
from millrace.clock import Clock
from millrace.resources.answer import Answer
from millrace.resources.outbound import Outbound

PROVIDER = "resend"

OURS = (401, 402, 403, 404, 405)  # key, plan, domain or address: the same for every message
LATER = (408, 425, 429, 451)
NAMES = {
    "invalid_from_address": Verdict(kind="trouble"),
    "invalid_idempotent_request": Verdict(kind="refused"),  # it was taken before, with another sender
    "concurrent_idempotent_requests": Verdict(kind="retry"),  # an attempt that was given up here goes on there
}


class _Taken(msgspec.Struct):
    id: str | None = None


class _Error(msgspec.Struct):
    name: str = ""
    message: str = ""


class ResendProvider:
    """Posts e-mails. The idempotency key is the same at each attempt, so for 24 hours none is sent twice."""

    name = PROVIDER

    def __init__(
        self, settings: ResendSettings, mail_from: str, outbound: Outbound, clock: Clock, *, seconds: float
    ) -> None:
        self._settings, self._mail_from, self._outbound = settings, mail_from, outbound
        self._clock, self._seconds = clock, seconds

    async def send(self, account_id: str, letter: Letter) -> Handed:
        """Hand an e-mail over; see `Provider`."""
        if not isinstance(letter, EmailJob):
            raise TypeError("Resend takes e-mails only")
        headers = {
            "Authorization": f"Bearer {self._settings.api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": digest_of(account_id, letter),
            "User-Agent": f"Millrace/{__version__}",
        }
        url = f"{self._settings.api_base.rstrip('/')}/emails"
        body = msgspec.json.encode(self._email(account_id, letter))
        return self._read(await ask(PROVIDER, self._outbound, url, body, headers, seconds=self._seconds), letter)

    async def aclose(self) -> None:
        """Do nothing: the connections are the door's."""

    def _email(self, account_id: str, letter: EmailJob) -> dict[str, object]:
        return {
            "from": self._mail_from,
            "to": [letter.recipient],
            "subject": letter.subject,
            "text": letter.content,
            "headers": {
                "Message-ID": message_id_of(account_id, letter, self._mail_from),
                "Auto-Submitted": "auto-generated",
            },
        }

    def _read(self, answer: Answer, letter: EmailJob) -> Handed:
        if answer.status < 200 or answer.status >= 300:
            error = read(answer, _Error) or _Error()
            said = without_recipient(f"{error.name} {error.message}", letter)
            reason = f"resend {answer.status}{f': {said}' if said else ''}"
            seconds = answer.retry_after_seconds(self._clock()) if answer.status in (429, 503) else None
            raise error_of(PROVIDER, verdict_of(answer.status, error.name), reason, seconds)
        if not looks_like_json(answer):
            raise Failed(PROVIDER, f"resend {answer.status}: the answer is no JSON", is_trouble=True)
        taken = read(answer, _Taken)
        if taken is None or taken.id is None:
            return Handed(provider=PROVIDER, note="taken, but the answer could not be read: its id is not known")
        return Handed(provider=PROVIDER, provider_id=taken.id)


def verdict_of(status: int, name: str = "") -> Verdict:
    """Say what an error means; names tell more than statuses, as far as they are known."""
    if name in NAMES and 400 <= status < 500:
        return NAMES[name]
    if 400 <= status < 500 and status not in OURS and status not in LATER:
        return Verdict(kind="retry" if status == 409 else "refused")
    return Verdict(kind="trouble")
