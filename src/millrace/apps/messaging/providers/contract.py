"""What a provider does: it hands one message over to somebody who delivers it, and says how that went."""

from math import ceil
from typing import Literal, Protocol

import msgspec

from millrace.apps.messaging.jobs import Letter

TURN = "waits for its turn"  # the reason in the row of a message that has a place in its provider's rate


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was handed over.

    `status` is `sent` when somebody else has it now, and `stored` when it only lies in a file here. `provider_id` is
    the name that the provider gave it, under which its reports come.
    """

    provider: str
    status: Literal["sent", "stored"] = "sent"
    provider_id: str | None = None
    note: str | None = None


class Refused(Exception):
    """The provider will never take this message. `reason` names its code; it holds no recipient and no content."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(reason)
        self.provider, self.reason = provider, reason


class Failed(Exception):
    """The provider did not take the message this time; another attempt may succeed, after `retry_after_seconds` if given.

    `is_trouble` says that the provider as a whole seems to be in trouble (no connection, 5xx, timeout, asks for a pause), and not
    only this message: its circuit breaker counts that.
    """

    def __init__(
        self, provider: str, reason: str, *, retry_after_seconds: float | None = None, is_trouble: bool = False
    ) -> None:
        super().__init__(reason)
        self.provider, self.reason = provider, reason
        self.retry_after_seconds, self.is_trouble = retry_after_seconds, is_trouble


class Away(Exception):
    """The message was not tried: the provider's breaker is open, or its rate is used up, for so many seconds.

    With `has_turn` it has a place in the rate, and need not ask for one when it comes again.
    """

    def __init__(self, provider: str, seconds: float, *, has_turn: bool = False) -> None:
        super().__init__(TURN if has_turn else f"{provider} is not asked for {ceil(seconds)} s")
        self.provider, self.seconds, self.has_turn = provider, seconds, has_turn


class Provider(Protocol):
    """One way out, for e-mails or for text messages."""

    name: str

    async def send(self, account_id: str, letter: Letter) -> Handed:
        """Hand a message over, within the provider's time limit.

        Raises:
            Refused: never try this one again.
            Failed: try it again later.
            Away: it was not tried; that costs no attempt.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
