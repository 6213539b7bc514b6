"""What workflows need of a Platform, which stands above them; and what is done in the background."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from millrace.telemetry import Telemetry
from millrace.work import Work
from millrace.workflows.instances import forget_ended, forgettable

T = TypeVar("T")


class Writes(Protocol):
    """What runs a function in a transaction of its own; a Platform does."""

    @property
    def telemetry(self) -> Telemetry:
        """Where it is told that an instance has failed."""
        ...

    async def write(self, fn: Callable[[Work], T]) -> T:
        """Run `fn(work)`; its result is given once it is on disk."""
        ...

    async def read(self, fn: Callable[[Work], T]) -> T:
        """Run `fn(work)` that only reads."""
        ...


async def sweep(writes: Writes) -> None:
    """Remove the instances that ended 30 days ago, in chunks."""
    while await writes.read(forgettable):
        await writes.write(forget_ended)
