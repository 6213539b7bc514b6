"""What the store needs of a database: to run transaction functions, and to tell of their commits."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from millrace.errors import MillraceError
from millrace.sql.transaction import Transaction

T = TypeVar("T")


class Database(Protocol):
    """One database, used inside one event loop."""

    location: str  # a path or a URL
    shares: bool  # other processes write to it at the same time
    wakes_early: bool  # a receiver that is woken before a send is on disk gets into the same group commit
    on_commit: Callable[[set[str]], None]  # is told the names of what a commit has changed

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)` and give its result once it is on disk.

        What `fn` raises undoes only its own work. It may run twice, so it has no effect outside `tx`. Context variables,
        such as who acts, are its caller's.

        Raises:
            StoreUnavailable: it could not be committed, or nobody knows whether it was.
        """
        ...

    async def write_checked(self, fn: Callable[[Transaction], T], *, leases: bool = False) -> T:
        """Like `write` in the current group commit, for functions that refuse before their first change.

        `leases` tells those that take messages from those that settle them: a database may commit them apart.
        """
        ...

    async def write_merged(self, fn: Callable[[Transaction, list[Any]], Sequence[T | MillraceError]], item: Any) -> T:
        """Like `write_checked`, but neighbours with the same `fn` are given to it in one call.

        `fn` answers one result or refusal for each item.
        """
        ...

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)`, which only reads, on one snapshot.

        Raises:
            StoreUnavailable: the database cannot be read now.
        """
        ...

    async def check(self) -> None:
        """Write something small durably.

        Raises:
            StoreUnavailable: it cannot be written now.
        """
        ...

    async def foreign_version(self) -> int:
        """Give a number that differs from the last one once another process has changed queues or keys."""
        ...

    def chosen(self) -> bool | None:
        """Say whether of all processes this one was chosen to lead; None where nobody chooses."""
        ...

    def look_again_seconds(self) -> float:
        """Give how long whoever watches may wait to be told before he looks himself."""
        ...

    def watched(self, names: set[str]) -> None:
        """Take note of what is watched here: changes of it by other processes are of interest."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of the database."""
        ...
