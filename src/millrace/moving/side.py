"""What a copy needs of a database, on either side."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from millrace.moving.tables import Table
from millrace.sql.transaction import Row, Transaction

PACKAGES = ("millrace.moving",)


class Numbers(msgspec.Struct, frozen=True):
    """What a store goes on above: the next number of a message, the newest time seen, the audit entries given."""

    next_number: int
    now_ms: int
    audit_given: int


class Side(Protocol):
    """One database with the tables of a store, on a connection of its own."""

    tx: Transaction

    def store_id(self) -> str:
        """Give the id of the store."""
        ...

    def numbers(self) -> Numbers:
        """Give what the store goes on above."""
        ...

    def tables(self, names: Iterable[str]) -> dict[str, Table]:
        """Give those of these tables that are there."""
        ...

    def has_rows(self, table: Table) -> bool:
        """Say whether a table has rows."""
        ...

    def count(self, table: Table) -> int:
        """Count the rows of a table."""
        ...

    def rows(self, table: Table, columns: Sequence[str], after: Sequence[int | str] = ()) -> Iterator[Row]:
        """Give the rows behind a key, in the order of keys: the key's values, then those of the columns.

        Booleans are 0 and 1. Only one such walk at a time.
        """
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what is done within, or undo it all."""
        ...

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows."""
        ...

    def clear(self, table: Table) -> None:
        """Delete the rows that a new store begins with."""
        ...

    def finish(self, store_id: str, numbers: Numbers, tables: Iterable[Table]) -> None:
        """Let the store be that one and go on above its numbers."""
        ...
