"""A transaction on a SQLite connection. There is one writer, so nothing has to be locked."""

from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from millrace.sql.lanes import keys_of_lane
from millrace.sql.statements import load_statements, widened
from millrace.sql.transaction import Bindings, Row

INSERT_WIDTHS = (32, 8, 1)


class SqliteTransaction:
    """One open transaction on the writer's (or a reader's) connection; see `millrace.sql.transaction`."""

    shares = False

    def __init__(self, connection: apsw.Connection, packages: tuple[str, ...] = ()) -> None:
        self.connection = connection
        self.next_sequence = 1
        self.woken: set[str] = set()
        self._statements = load_statements("sqlite", packages)

    def fetch(self, name: str, bindings: Bindings = ()) -> list[Row]:
        return self.connection.execute(self._statements[name], bindings or None).fetchall()

    def fetch_one(self, name: str, bindings: Bindings = ()) -> Row | None:
        rows = self.fetch(name, bindings)
        return rows[0] if rows else None

    def fetch_each(self, name: str, bindings: Sequence[Bindings]) -> list[list[Row]]:
        return [self.fetch(name, one) for one in bindings]

    def apply(self, name: str, bindings: Bindings = ()) -> None:
        self.connection.execute(self._statements[name], bindings or None)

    def apply_many(self, name: str, bindings: Iterable[Bindings]) -> list[Row]:
        return self.connection.executemany(self._statements[name], bindings).fetchall()

    def insert_many(self, name: str, rows: Sequence[Sequence[Any]]) -> int:
        """Insert many rows a call.

        Each call into SQLite gives up the interpreter and has to win it back from a busy event loop; a call a row
        made a group of 25 single sends wait for half a millisecond.
        """
        statement, first = self._statements[name], 0
        for width in INSERT_WIDTHS:
            wide = widened(statement, width)
            while len(rows) - first >= width:
                self.connection.execute(wide, [value for row in rows[first : first + width] for value in row])
                first += width
        return len(rows)

    def execute(self, text: str, values: Sequence[Any] = ()) -> list[Row]:
        return self.connection.execute(text, values or None).fetchall()

    def array(self, values: Iterable[int | str]) -> str:
        """Write a JSON array: one call into the database instead of a hundred."""
        return f"[{','.join(str(value) if isinstance(value, int) else _quoted(value) for value in values)}]"

    def reserve_sequences(self, count: int) -> None:
        """Do nothing: the numbers are this process's own."""

    def take_sequences(self, count: int) -> int:
        first = self.next_sequence
        self.next_sequence += count
        return first

    def ready(self, lane: int, priority: int, now_ms: int, limit: int, *, ranked: bool) -> list[Row]:
        if ranked:
            return self.fetch("ready_at_level", (lane, priority, now_ms, limit))
        return self.fetch("ready", (lane, now_ms, limit))

    def glance(self, lane: int, priority: int, now_ms: int, limit: int) -> list[Row]:
        return self.fetch("glance", (lane, priority, now_ms, limit))

    def next_due(self, lane: int, priority: int, now_ms: int) -> int | None:
        due_at_ms: int | None = self.fetch("next_due", (lane, priority, now_ms))[0][0]
        return due_at_ms

    def oldest_each(self, lanes: Sequence[int]) -> list[int | None]:
        found = self.fetch_each("oldest", [keys_of_lane(lane) for lane in lanes])
        return [rows[0][0] if rows else None for rows in found]

    def remove_leased(self, keys: Sequence[int], receipt: int, *, ordered: bool) -> tuple[set[int], int, list[str]]:
        """Count before deleting: rows that a delete returns cost more than both."""
        text = self.array(keys)
        count, size = self.fetch("current", (text, receipt))[0]
        if not count:
            return set(), 0, []
        current = set(keys) if count == len(keys) else {row[0] for row in self.fetch("current_keys", (text, receipt))}
        orders = [row[0] for row in self.fetch("current_orders", (text, receipt))] if ordered else []
        self.apply("acknowledge", (text, receipt))
        return current, size, orders

    def hold(self, name: str) -> None:
        """Do nothing: the one writer runs one transaction at a time."""

    def hold_shared(self, name: str) -> None:
        """Do nothing, for the same reason."""

    def share(self, names: Iterable[str]) -> None:
        """Do nothing, for the same reason."""

    def wake(self, name: str) -> None:
        self.woken.add(name)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
