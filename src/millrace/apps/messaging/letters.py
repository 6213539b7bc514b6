"""The processors of e-mails and text messages: a provider is handed the message."""

from typing import Protocol

from millrace.apps.messaging.consumer import Doing, Process
from millrace.apps.messaging.ends import End, end_of_handing
from millrace.apps.messaging.jobs import Letter
from millrace.apps.messaging.providers.contract import Handed


class Way(Protocol):
    """A provider that may keep messages waiting for their turns."""

    async def send(self, account_id: str, letter: Letter, *, has_turn: bool = False) -> Handed:
        """Hand a message over; see `Guarded`."""
        ...


def hand_to(provider: Way) -> Process:
    """Make the processor that hands messages to a provider."""

    async def process(doing: Doing) -> End:
        return end_of_handing(await provider.send(doing.account_id, doing.job, has_turn=doing.has_turn))

    return process
