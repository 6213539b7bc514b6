"""A transaction on a PostgreSQL connection, beside those of other servers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any

import msgspec

from millrace.sql.lanes import keys_of_lane
from millrace.sql.postgres.connection import LOCK_MS, Connection
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.packing import ELEMENTS, INT8, TEXT, Packed, pack
from millrace.sql.statements import load_statements
from millrace.sql.transaction import Bindings, Row, RunAgain

SHARED_LOCK_MS = 250  # whoever comes meanwhile waits behind us, and with him all sends of his server

COMMENT = re.compile(r"--[^\n]*")
NAME = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")
COLUMN = re.compile(r"\$\d+::([a-z ]+)\[\]")


class Statement(msgspec.Struct, frozen=True):
    """A named statement in the driver's words: `$1` for the first name, its element type where that is an array."""

    text: str
    names: tuple[str, ...]
    elements: tuple[int, ...]
    changes: bool


class PostgresTransaction:
    """One open transaction; see `millrace.sql.transaction`. It goes with its connection, one transaction after the other."""

    shares = True

    def __init__(self, connection: Connection, packages: tuple[str, ...], cursors: Cursors) -> None:
        self.woken: set[str] = set()
        self.changed = 0
        self._cursor = connection.cursor(binary=True)
        self._effects = connection.cursor(binary=True)  # an answer that comes late must not be taken for the next one
        self._connection = connection
        self._statements = _statements(packages)
        self._cursors = cursors
        self._held: set[str] = set()
        self._shared: set[str] = set()
        self._sequences = range(0)

    def begin(self, text: str) -> None:
        """Begin, with nothing held or reserved."""
        self._held.clear()
        self._shared.clear()
        self.woken.clear()
        self._sequences, self.changed = range(0), 0
        self._connection.execute(text, prepare=False)  # in text form it may be several statements

    def run(self, text: str) -> None:
        """Run a statement of the transaction itself, such as a savepoint."""
        self._connection.execute(text)

    def fetch(self, name: str, bindings: Bindings = ()) -> list[Row]:
        self._execute(name, bindings)
        return self._cursor.fetchall()

    def fetch_one(self, name: str, bindings: Bindings = ()) -> Row | None:
        self._execute(name, bindings)
        return self._cursor.fetchone()

    def fetch_each(self, name: str, bindings: Sequence[Bindings]) -> list[list[Row]]:
        """Run the statement of that name and `_each`, whose rows begin with a place in the list."""
        if len(bindings) == 1:
            return [self.fetch(name, bindings[0])]
        found: list[list[Row]] = [[] for _ in bindings]
        if bindings:
            statement = self._statements[f"{name}_each"]
            self._cursor.execute(statement.text, _columns(statement, bindings))
            for place, *row in self._cursor.fetchall():
                found[place - 1].append(tuple(row))
        return found

    def apply(self, name: str, bindings: Bindings = ()) -> None:
        statement = self._statements[name]
        self.changed += statement.changes
        self._effects.execute(statement.text, _values(statement, bindings))

    def apply_many(self, name: str, bindings: Iterable[Bindings]) -> list[Row]:
        each = self._statements.get(f"{name}_each")
        if each is not None:
            self.changed += 1
            self._effects.execute(each.text, _columns(each, [*bindings]))
            return []
        statement = self._statements[name]
        found: list[Row] = []
        self.changed += 1
        returns = "returning" in statement.text
        cursor = self._connection.cursor(binary=True)
        cursor.executemany(statement.text, [_values(statement, one) for one in bindings], returning=returns)
        while returns and cursor.pgresult is not None:
            found += cursor.fetchall()
            if not cursor.nextset():
                break
        return found

    def insert_many(self, name: str, rows: Sequence[Sequence[Any]]) -> int:
        """Insert a column a value, however many rows there are."""
        statement = self._statements[name]
        columns = _columns(statement, rows)
        self.changed += 1
        if "returning" not in statement.text:
            self._effects.execute(statement.text, columns)
            return len(rows)
        self._cursor.execute(statement.text, columns)
        return len(self._cursor.fetchall())

    def execute(self, text: str, values: Sequence[Any] = ()) -> list[Row]:
        self.changed += 1
        self._cursor.execute(text, values)
        if self._connection.info.pipeline_status:
            with self._connection.pipeline():
                pass  # at the end of this one it is known whether there are rows
        return self._cursor.fetchall() if self._cursor.description else []

    def array(self, values: Iterable[int | str]) -> Packed:
        found = [*values]
        return pack(found, TEXT if found and isinstance(found[0], str) else INT8)

    def reserve_sequences(self, count: int) -> None:
        first = self.fetch("take_numbers", (count,))[0][0]
        self._sequences = range(first, first + count)

    def take_sequences(self, count: int) -> int:
        if len(self._sequences) < count:
            self.reserve_sequences(count)
        first, self._sequences = self._sequences[0], self._sequences[count:]
        return first

    def ready(self, lane: int, priority: int, now_ms: int, limit: int, *, ranked: bool) -> list[Row]:
        name = "ready_at_level" if ranked else "ready"
        with self._cursors.ready(lane, priority) as cursor:
            rows = self.fetch(name, (lane, priority, now_ms, cursor.begin_at, limit))
            if rows:
                cursor.position = rows[0][1]
        return rows

    def glance(self, lane: int, priority: int, now_ms: int, limit: int) -> list[Row]:
        with self._cursors.glance(lane, priority) as cursor:
            rows = self.fetch("glance", (lane, priority, now_ms, cursor.begin_at, limit))
            if rows:
                cursor.position = rows[0][0]
        return rows

    def next_due(self, lane: int, priority: int, now_ms: int) -> int | None:
        cursor = self._cursors.due(lane, priority)
        if not cursor.may_rescan():
            return now_ms + cursor.pause_ms
        with cursor:
            row = self.fetch_one("next_due", (lane, priority, now_ms))
        return row[0] if row else None

    def oldest_each(self, lanes: Sequence[int]) -> list[int | None]:
        cursors = [self._cursors.oldest(lane) for lane in lanes]
        with ExitStack() as scans:
            begins = [scans.enter_context(cursor).begin_at for cursor in cursors]
            keys = [keys_of_lane(lane) for lane in lanes]
            found = self.fetch_each(
                "oldest", [(max(first, begin), end) for (first, end), begin in zip(keys, begins, strict=True)]
            )
        for cursor, rows in zip(cursors, found, strict=True):
            if rows:
                cursor.position = rows[0][0]
        return [rows[0][1] if rows else None for rows in found]

    def remove_leased(self, keys: Sequence[int], receipt: int, *, ordered: bool) -> tuple[set[int], int, list[str]]:
        rows = self.fetch("acknowledge", (self.array(keys), receipt))
        orders = [row[2] for row in rows if row[2] is not None]
        return {row[0] for row in rows}, sum([row[1] for row in rows]), orders

    def hold(self, name: str) -> None:
        """Wait for a name as long as that is above all that are held; others are held at once or not at all.

        So nobody waits crosswise, in whatever order the functions of a group come.
        """
        if name in self._held:
            return
        if all(held < name for held in self._held):
            self.apply("hold", (name,))
        elif not self.fetch("hold_if_free", (name,))[0][0]:
            raise RunAgain("others hold what this needs beside what it holds")
        self._held.add(name)

    def hold_shared(self, name: str) -> None:
        self.run(f"set local lock_timeout = {SHARED_LOCK_MS}")
        self.hold(name)
        self.run(f"set local lock_timeout = {LOCK_MS}")

    def share(self, names: Iterable[str]) -> None:
        wanted = [name for name in names if name not in self._held and name not in self._shared]
        if wanted:
            self._shared |= set(wanted)
            self.apply("share", (self.array(wanted),))

    def wake(self, name: str) -> None:
        self.woken.add(name)

    def _execute(self, name: str, bindings: Bindings) -> None:
        statement = self._statements[name]
        self.changed += statement.changes
        self._cursor.execute(statement.text, _values(statement, bindings))


def _columns(statement: Statement, rows: Sequence[Sequence[Any]] | Sequence[Bindings]) -> list[Packed]:
    columns = zip(*rows, strict=True)
    return [pack(column, element) for column, element in zip(columns, statement.elements, strict=True)]


def _values(statement: Statement, bindings: Bindings) -> Sequence[Any]:
    if isinstance(bindings, Mapping):
        return [bindings[name] for name in statement.names]
    return bindings


@cache
def _statements(packages: tuple[str, ...]) -> dict[str, Statement]:
    return {name: _translated(text) for name, text in load_statements("postgres", packages).items()}


def _translated(text: str) -> Statement:
    """Put `$1`, `$2` … in place of names, each name once, in the order in which they come."""
    text = COMMENT.sub("", text).strip()
    names = tuple(dict.fromkeys(NAME.findall(text)))
    numbered = NAME.sub(lambda found: f"${names.index(found[1]) + 1}", text)
    elements = tuple(ELEMENTS[kind] for kind in COLUMN.findall(numbered) if kind in ELEMENTS)
    changes = not numbered.startswith("select")
    return Statement(numbered, names, elements, changes)
