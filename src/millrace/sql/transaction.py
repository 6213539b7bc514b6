"""What a transaction function holds: named statements, and notes for what follows its commit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apsw

from millrace.sql.statements import load_statements, widened

INSERT_WIDTHS = (32, 8, 1)

Row = tuple[Any, ...]
Bindings = Mapping[str, Any] | Sequence[Any]


class Transaction:
    """One open transaction on the writer's (or a reader's) connection.

    Bindings are given by name, or on hot ways as a sequence in the order in which the statement names them.
    """

    def __init__(self, connection: apsw.Connection, packages: tuple[str, ...] = ()) -> None:
        self.connection = connection
        self.next_sequence = 1
        self.woken: set[str] = set()
        self._statements = load_statements(packages)

    def fetch(self, name: str, bindings: Bindings = ()) -> list[Row]:
        """Run a statement and give its rows."""
        return self.connection.execute(self._statements[name], bindings or None).fetchall()

    def fetch_one(self, name: str, bindings: Bindings = ()) -> Row | None:
        """Run a statement and give its first row, or None."""
        rows = self.fetch(name, bindings)
        return rows[0] if rows else None

    def apply(self, name: str, bindings: Bindings = ()) -> None:
        """Run a statement for its effect."""
        self.connection.execute(self._statements[name], bindings or None)

    def apply_many(self, name: str, bindings: Iterable[Bindings]) -> list[Row]:
        """Run a statement once for each set of bindings and give all rows it returns."""
        return self.connection.executemany(self._statements[name], bindings).fetchall()

    def insert_many(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run an insert for all rows, many rows a call.

        Each call into SQLite gives up the interpreter and has to win it back from a busy event loop; a call a row
        made a group of 25 single sends wait for half a millisecond.
        """
        statement, first = self._statements[name], 0
        for width in INSERT_WIDTHS:
            wide = widened(statement, width)
            while len(rows) - first >= width:
                self.connection.execute(wide, [value for row in rows[first : first + width] for value in row])
                first += width

    def take_sequences(self, count: int) -> int:
        """Reserve `count` consecutive message numbers and give the first; none is ever used twice."""
        first = self.next_sequence
        self.next_sequence += count
        return first

    def wake(self, name: str) -> None:
        """Note that something has changed there (a queue's id, `state:…`); who watches it is told after the commit."""
        self.woken.add(name)
