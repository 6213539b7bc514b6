"""A SQLite file as one side of a copy."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from millrace.errors import StoreRefused, StoreUnavailable
from millrace.moving.side import PACKAGES, Numbers
from millrace.moving.tables import Column, Table
from millrace.sql.schemas import Schema
from millrace.sql.sqlite.connection import connect
from millrace.sql.sqlite.directory import PROBLEMS
from millrace.sql.sqlite.migrate import migrate
from millrace.sql.sqlite.transaction import SqliteTransaction
from millrace.sql.transaction import Row, Transaction

ROWID = "rowid"


class SqliteSide:
    """One SQLite file."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.tx: Transaction = SqliteTransaction(connection, PACKAGES)

    def store_id(self) -> str:
        """Give the id of the store."""
        return str(self.tx.fetch("store_numbers")[0][0])

    def numbers(self) -> Numbers:
        """Give what the store goes on above."""
        _, next_number, now_ms = self.tx.fetch("store_numbers")[0]
        return Numbers(next_number, now_ms, self.tx.fetch("audit_numbers_given")[0][0])

    def tables(self, names: Iterable[str]) -> dict[str, Table]:
        """Give those of these tables that are there."""
        found = {name: self.tx.fetch("columns_of", {"name": name}) for name in names}
        return {name: _table(name, rows) for name, rows in found.items() if rows}

    def damage(self) -> list[str]:
        """Read the whole file and give what is wrong with it, at most ten sentences."""
        broken = self._connection.execute(f"pragma integrity_check({PROBLEMS})").fetchall()
        found = [str(row[0]) for row in broken if row[0] != "ok"]
        strays = self._connection.execute("pragma foreign_key_check").fetchall()
        return [*found, *(f"a row of {row[0]} refers to one of {row[2]} that is missing" for row in strays[:PROBLEMS])]

    def has_rows(self, table: Table) -> bool:
        """Say whether a table has rows."""
        return bool(self._connection.execute(f'select 1 from "{table.name}" limit 1').fetchall())  # noqa: S608

    def count(self, table: Table) -> int:
        """Count the rows of a table."""
        found: int = self._connection.execute(f'select count(*) from "{table.name}"').get  # noqa: S608
        return found

    def rows(self, table: Table, columns: Sequence[str], after: Sequence[int | str] = ()) -> Iterator[Row]:
        """Give the rows behind a key: the key's values, then those of the columns."""
        key = _listed(table.key)
        behind = f"where ({key}) > ({', '.join('?' * len(after))})" if after else ""
        text = f'select {key}, {_listed(columns)} from "{table.name}" {behind} order by {key}'  # noqa: S608
        return self._connection.execute(text, tuple(after))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done within, or undo it all."""
        self._connection.execute("begin immediate")
        try:
            yield
            self._connection.execute("commit")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows."""
        marks = ", ".join("?" * len(columns))
        self._connection.executemany(f'insert into "{table.name}" ({_listed(columns)}) values ({marks})', rows)  # noqa: S608

    def clear(self, table: Table) -> None:
        """Delete the rows that a new store begins with."""
        self._connection.execute(f'delete from "{table.name}"')  # noqa: S608

    def finish(self, store_id: str, numbers: Numbers, tables: Iterable[Table]) -> None:
        """Let the store be that one and go on above its numbers."""
        self.tx.apply("move_store", {"id": store_id, "next_number": numbers.next_number, "now_ms": numbers.now_ms})
        self.tx.apply("forget_audit_given")
        self.tx.apply("set_audit_given", {"given": numbers.audit_given})


@contextmanager
def reading(path: Path) -> Iterator[SqliteSide]:
    """Open a file for one consistent look at it.

    Raises:
        StoreUnavailable: it cannot be read.
    """
    with explained(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.execute("begin")
            yield SqliteSide(connection)
        finally:
            connection.close(force=True)


@contextmanager
def writing(path: Path) -> Iterator[SqliteSide]:
    """Open a file, made when it is missing, that nobody else uses.

    Raises:
        StoreUnavailable: it cannot be written.
    """
    with explained(path):
        connection = connect(str(path))
        try:
            yield SqliteSide(connection)
        finally:
            connection.close(force=True)


def known_tables(schemas: Sequence[Schema]) -> list[str]:
    """Give the names of the tables that this program makes."""
    connection = apsw.Connection(":memory:")
    migrate(connection, schemas)
    return [str(row[1]) for row in connection.execute("pragma table_list") if not str(row[1]).startswith("sqlite_")]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Tell what a file's errors mean.

    Raises:
        StoreRefused: it is damaged.
        StoreUnavailable: it cannot be used now.
    """
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StoreRefused(f"{path} is damaged, or no database of SQLite: {error}; take a backup") from error
    except (apsw.Error, OSError) as error:
        raise StoreUnavailable(f"{path} cannot be used: {error or type(error).__name__}") from error


def _table(name: str, rows: Sequence[Row]) -> Table:
    """A table without a whole number as its key has a rowid that numbers its rows."""
    columns = [Column(column, kind.lower()) for column, kind, _, _ in rows]
    key = tuple(row[0] for row in sorted((row for row in rows if row[2]), key=lambda row: int(row[2])))
    is_numbered = len(key) == 1 and next(column for column in columns if column.name == key[0]).kind == "integer"
    if not rows[0][3] and not is_numbered:
        columns.append(Column(ROWID, "integer", counts=True))
    return Table(name, tuple(columns), key or (ROWID,))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name if name == ROWID else f'"{name}"' for name in names)
