"""A PostgreSQL database as one side of a copy."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import cast

import psycopg
from psycopg import capabilities

from millrace.errors import StoreRefused
from millrace.moving.side import PACKAGES, Numbers
from millrace.moving.tables import Column, Table
from millrace.sql.postgres.connection import Connection, connect, is_pooled, unavailable
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.transaction import Row, Transaction

# Whole tables are read here, so the planner may choose; all of it is of the transaction, as a pooler needs it.
FREELY = (
    "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; "
    "set local enable_seqscan = on; set local enable_bitmapscan = on; set local enable_hashjoin = on; "
    "set local enable_mergejoin = on; set local plan_cache_mode = auto"
)
SNAPSHOT = f"begin isolation level repeatable read, read only; {FREELY}"
WRITE = f"begin; {FREELY}"
TYPES = {"bigint": "int8", "text": "text", "bytea": "bytea", "boolean": "bool", "double precision": "float8"}
STREAMED_ROWS = 50  # at once from the server, which only newer libraries can; 6 MB of the largest messages
EMPTIED = ("backlog_changes", "places", "servers")
# What has been counted but not yet folded belongs to the lane: its changes are of this database alone.
FOLDED = """
    (select lane, in_use, features, backlog_count + coalesce(c.count, 0) as backlog_count,
        backlog_bytes + coalesce(c.bytes, 0) as backlog_bytes
    from lanes l cross join lateral (
        select sum(count)::bigint as count, sum(bytes)::bigint as bytes
        from backlog_changes where lane = l.lane and written_by >= l.folded_below
    ) c) lanes
"""


class PostgresSide:
    """One PostgreSQL database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.tx: Transaction = PostgresTransaction(connection, PACKAGES, Cursors())

    def store_id(self) -> str:
        """Give the id of the store."""
        return str(self.tx.fetch("store_numbers")[0][0])

    def numbers(self) -> Numbers:
        """Give what the store goes on above; read after the rows were frozen, so above all of them."""
        _, next_number, now_ms = self.tx.fetch("store_numbers")[0]
        return Numbers(next_number, now_ms, self.tx.fetch("audit_numbers_given")[0][0])

    def tables(self, names: Iterable[str]) -> dict[str, Table]:
        """Give those of these tables that are there."""
        found = {name: self.tx.fetch("columns_of", (name,)) for name in names}
        return {name: self._table(name, rows) for name, rows in found.items() if rows}

    def has_rows(self, table: Table) -> bool:
        """Say whether a table has rows."""
        return bool(self._connection.execute(f'select 1 from "{table.name}" limit 1').fetchall())  # noqa: S608

    def count(self, table: Table) -> int:
        """Count the rows of a table."""
        row = self._connection.execute(f'select count(*) from "{table.name}"').fetchone()  # noqa: S608
        assert row is not None
        return int(row[0])

    def rows(self, table: Table, columns: Sequence[str], after: Sequence[int | str] = ()) -> Iterator[Row]:
        """Give the rows behind a key, one by one from the server: the key's values, then those of the columns."""
        key = ", ".join(f'"{name}"' for name in table.key)
        behind = f"where ({key}) > ({', '.join(f'${number + 1}' for number in range(len(after)))})" if after else ""
        wanted = ", ".join(_selected(table.column(name)) for name in columns)
        place = FOLDED if table.name == "lanes" else f'"{table.name}"'
        cursor = self._connection.cursor(binary=True)
        text = f"select {key}, {wanted} from {place} {behind} order by {key}"  # noqa: S608
        return cursor.stream(text, after, size=STREAMED_ROWS if capabilities.has_stream_chunked() else 1)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done within, or undo it all."""
        self.begin(WRITE)
        try:
            yield
            self._connection.execute("commit", prepare=False)
        except BaseException:
            with suppress(psycopg.Error):
                self._connection.execute("rollback", prepare=False)
            raise

    def begin(self, text: str) -> None:
        """Begin a transaction in these words."""
        self._connection.execute(text, prepare=False)  # in text form it may be several statements

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows, in the binary form of COPY."""
        kinds = [table.column(name).kind for name in columns]
        listed = ", ".join(f'"{name}"' for name in columns)
        booleans = [place for place, kind in enumerate(kinds) if kind == "boolean"]
        with self._connection.cursor().copy(f'copy "{table.name}" ({listed}) from stdin (format binary)') as copy:
            copy.set_types([TYPES[kind] for kind in kinds])
            for row in rows:
                copy.write_row(_with_booleans(row, booleans))

    def clear(self, table: Table) -> None:
        """Delete the rows that a new store begins with."""
        self._connection.execute(f'delete from "{table.name}"')  # noqa: S608

    def is_pooled(self) -> bool:
        """Say whether a pooler of transactions stands between."""
        return is_pooled(self._connection)

    def keep_others_away(self) -> None:
        """Let no other copy into this database begin, until the connection ends; one that was killed may take a moment.

        A pooler would lend the connection to others, with the lock.
        """
        if not self.is_pooled():
            self.tx.fetch("hold_for_copy")

    def empty(self, names: Iterable[str]) -> None:
        """Remove every row of these tables, and of those that only this database has."""
        self.tx.apply("let_audit_be_emptied")
        listed = ", ".join(f'"{name}"' for name in (*names, *EMPTIED))
        self._connection.execute(f"truncate {listed}")
        self.tx.apply("guard_audit")
        self.tx.apply("set_audit_given", {"given": 0})
        self.tx.apply("drop_moving")

    def finish(self, store_id: str, numbers: Numbers, tables: Iterable[Table]) -> None:
        """Let the store be that one and go on above its numbers, and so the tables that number their rows."""
        self.tx.apply("move_store", {"id": store_id, "now_ms": numbers.now_ms})
        self.tx.fetch("set_numbers", {"next_number": numbers.next_number})
        self.tx.apply("set_audit_given", {"given": numbers.audit_given})
        for table in tables:
            self._connection.execute(f'analyze "{table.name}"')
            for column in (column.name for column in table.columns if column.counts):
                found = self._connection.execute(f'select coalesce(max("{column}"), 0) + 1 from "{table.name}"')  # noqa: S608
                [following] = cast(Row, found.fetchone())
                self.tx.fetch("set_counter", {"name": table.name, "column": column, "next": following})

    def _table(self, name: str, rows: Sequence[Row]) -> Table:
        key = self.tx.fetch_one("key_of", (name,))
        if key is None:
            raise StoreRefused(f"table {name} has no key, so it cannot be copied in portions")
        columns = tuple(Column(column, kind, counts=counts) for column, kind, counts in rows)
        return Table(name, columns, tuple(key[0]))


@contextmanager
def reading(url: str) -> Iterator[PostgresSide]:
    """Open a database for one consistent look at it.

    Raises:
        StoreUnavailable: it cannot be read now.
    """
    with writing(url) as side:
        side.begin(SNAPSHOT)
        yield side


@contextmanager
def writing(url: str) -> Iterator[PostgresSide]:
    """Open a database.

    Raises:
        StoreUnavailable: it cannot be used now.
        StoreRefused: it does not take a value, or refuses what is needed.
    """
    connection, _ = connect(url)
    try:
        yield PostgresSide(connection)
    except psycopg.errors.CharacterNotInRepertoire as error:
        raise StoreRefused(
            "a text holds the character U+0000, which PostgreSQL does not take; remove it at the source, "
            f"then give the command again ({_context(error)})"
        ) from error
    except psycopg.Error as error:
        raise unavailable(error) from error
    finally:
        connection.close()


def _context(error: psycopg.Error) -> str:
    """Give `COPY messages, line 3, column id`, without the value that PostgreSQL adds to it."""
    return (error.diag.context or "no place was told").partition(":")[0]


def _selected(column: Column) -> str:
    return f'"{column.name}"::int' if column.kind == "boolean" else f'"{column.name}"'


def _with_booleans(row: Row, places: Sequence[int]) -> Row:
    for place in places:
        row = (*row[:place], bool(row[place]), *row[place + 1 :])
    return row
