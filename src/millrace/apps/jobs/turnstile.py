"""Turnstile: the proof of a person, which an upload without a key needs."""

from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from millrace.errors import Forbidden, OutboundFailed, OutboundRefused, QueueUnavailable
from millrace.resources.outbound import Outbound

TIMEOUT_SECONDS = 10
TOKEN_CHARACTERS = 2048  # as Cloudflare has it
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Turnstile(NamedTuple):
    """Where tokens are verified, and the secret of the site."""

    outbound: Outbound
    url: str
    secret: str

    async def check(self, token: str) -> None:
        """Let a good token pass. Each is good once, and for five minutes.

        Raises:
            Forbidden: there is none, or it is not good.
            QueueUnavailable: the other server cannot be asked now.
        """
        if not 1 <= len(token) <= TOKEN_CHARACTERS:
            raise Forbidden("turnstileToken is missing or too long; solve the challenge and send its token")
        body = urlencode({"secret": self.secret, "response": token}).encode()
        try:
            answer = await self.outbound.post(self.url, body, FORM, timeout_seconds=TIMEOUT_SECONDS)
        except (OutboundFailed, OutboundRefused) as error:
            raise QueueUnavailable(f"the Turnstile token cannot be verified now: {error}") from error
        if answer.status >= 500:
            raise QueueUnavailable(f"the Turnstile token cannot be verified now: answer {answer.status}")
        if not _is_success(answer.body):
            raise Forbidden("turnstileToken is not valid; solve the challenge again and send the new token")


def _is_success(body: bytes) -> bool:
    try:
        return msgspec.json.decode(body, type=dict[str, object]).get("success") is True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
