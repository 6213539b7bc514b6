"""What a transaction function holds: named statements, and what the databases do in ways of their own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]
Bindings = Mapping[str, Any] | Sequence[Any]


class RunAgain(Exception):
    """Another transaction was in the way: undo this one and run it again. Its text says what it was, in the end."""


class Transaction(Protocol):
    """One open transaction.

    Bindings are given by name, or on hot ways as a sequence in the order in which the statement names them.
    """

    shares: bool  # other servers write to the same database at the same time
    woken: set[str]

    def fetch(self, name: str, bindings: Bindings = ()) -> list[Row]:
        """Run a statement and give its rows."""
        ...

    def fetch_one(self, name: str, bindings: Bindings = ()) -> Row | None:
        """Run a statement and give its first row, or None."""
        ...

    def fetch_each(self, name: str, bindings: Sequence[Bindings]) -> list[list[Row]]:
        """Run a statement once for each set of bindings, and give the rows of each."""
        ...

    def apply(self, name: str, bindings: Bindings = ()) -> None:
        """Run a statement for its effect."""
        ...

    def apply_many(self, name: str, bindings: Iterable[Bindings]) -> list[Row]:
        """Run a statement once for each set of bindings and give all rows it returns."""
        ...

    def insert_many(self, name: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run an insert for all rows at once, and give how many were written."""
        ...

    def execute(self, text: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a statement in the words of a program of its own, over tables of its own, and give its rows, if any."""
        ...

    def array(self, values: Iterable[int | str]) -> Any:
        """Write numbers, or texts, as the one value that set-based statements take."""
        ...

    def reserve_sequences(self, count: int) -> None:
        """Say that so many numbers are about to be taken; what is taken beyond them costs more."""
        ...

    def take_sequences(self, count: int) -> int:
        """Take `count` consecutive message numbers and give the first.

        None is ever given twice, and each is higher than those of transactions that were over before.
        """
        ...

    def ready(self, lane: int, priority: int, now_ms: int, limit: int, *, ranked: bool) -> list[Row]:
        """Give the first rows of a lane's priority whose time has come, locked where others might take them, too.

        `ranked` asks for the columns of messages with features.
        """
        ...

    def glance(self, lane: int, priority: int, now_ms: int, limit: int) -> list[Row]:
        """Give (visible_at_ms, priority) of the rows that `ready` would give, without touching them."""
        ...

    def next_due(self, lane: int, priority: int, now_ms: int) -> int | None:
        """Give when the next row becomes visible, or when to look again where that costs too much; None for never."""
        ...

    def oldest_each(self, lanes: Sequence[int]) -> list[int | None]:
        """Give when the oldest message of each lane was sent; None for an empty lane."""
        ...

    def remove_leased(self, keys: Sequence[int], receipt: int, *, ordered: bool) -> tuple[set[int], int, list[str]]:
        """Remove the rows that still have the receipt; give their keys, their bytes and, if asked, ordering keys."""
        ...

    def hold(self, name: str) -> None:
        """Let no other transaction that holds this name go on until this one has ended."""
        ...

    def hold_shared(self, name: str) -> None:
        """Hold a name that others share all the time, or fail soon: they would wait behind us."""
        ...

    def share(self, names: Iterable[str]) -> None:
        """Let no transaction hold one of these names until this one has ended; others may share them."""
        ...

    def wake(self, name: str) -> None:
        """Note that something has changed there (a queue's id, `state:…`); who watches it is told after the commit."""
        ...
