"""The data directory: a database, a marker that says one was made here, and a lock for the one server.

The marker is what keeps a queue from being quietly empty: where it lies and the database does not, somebody
lost a volume or deleted a file, and a server must not begin anew as if nothing had been.
"""

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

import apsw
import msgspec

from millrace.clock import Stamp
from millrace.errors import StoreRefused
from millrace.ids import new_id
from millrace.queue import Queue
from millrace.sql import queues
from millrace.sql.schemas import Schema, Version
from millrace.sql.sqlite.connection import connect, prepare
from millrace.sql.sqlite.migrate import versions
from millrace.sql.sqlite.transaction import SqliteTransaction
from millrace.sql.transaction import Transaction

T = TypeVar("T")

DATABASE = "millrace.db"
MARKER = "millrace.marker"
LOCK = "serve.lock"
CHECK_AT_ONCE_BYTES = 64 * 1024 * 1024
PROBLEMS = 10


class Marker(msgspec.Struct, frozen=True):
    """Which store was made in this directory."""

    store_id: str


class Prepared(msgspec.Struct, frozen=True):
    """A directory whose database is there, is ours, and has the program's schema."""

    database: Path
    last: Stamp | None


def prepare_directory(folder: Path, schemas: Sequence[Schema] = ()) -> Prepared:
    """Make or check the data directory and bring its database to the program's schema.

    Raises:
        StoreRefused: the database is missing, empty, foreign, damaged or newer than the program.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        marker = read_marker(folder)
        database = folder / DATABASE
        if marker is not None and (not database.exists() or database.stat().st_size == 0):
            state = "empty" if database.exists() else "missing"
            raise _refused(folder, f"{DATABASE} is {state}, but {MARKER} says that a store was made here")
        last, store_id = prepare(str(database), None if marker else new_id(), schemas)
        if marker is None:
            write_marker(folder, Marker(store_id))
        elif marker.store_id != store_id:
            raise _refused(folder, f"{DATABASE} is another store than the one {MARKER} names")
    except (OSError, apsw.Error) as error:
        kind = "is corrupt" if isinstance(error, apsw.CorruptError | apsw.NotADBError) else "cannot be used"
        raise StoreRefused(
            f"{folder}: {DATABASE} {kind}: {error}. Restore a backup, or name another --data."
        ) from error
    return Prepared(database, last)


def read_queues(folder: Path, account_id: str) -> list[Queue]:
    """Give the queues of an account without changing or locking anything; none where there is no database yet.

    Raises:
        StoreRefused: the database cannot be read.
    """
    database = folder / DATABASE
    if not database.exists():
        return []
    try:
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return queues.all_of(SqliteTransaction(connection), account_id)
        finally:
            connection.close()
    except apsw.Error as error:
        raise StoreRefused(f"{folder}: {DATABASE} cannot be read: {error}") from error


def read_database(folder: Path, fn: Callable[[Transaction], T]) -> T:
    """Run `fn(tx)` on the database as it is at this moment, without changing or locking anything.

    Raises:
        StoreRefused: there is no database, or it cannot be read.
    """
    database = folder / DATABASE
    if not database.exists():
        raise StoreRefused(f"{folder}: there is no {DATABASE}; name the data directory of a server with --data")
    try:
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.execute("begin")
            return fn(SqliteTransaction(connection))
        finally:
            connection.close()
    except apsw.Error as error:
        raise StoreRefused(f"{folder}: {DATABASE} cannot be read: {error}") from error


def read_versions(folder: Path, schemas: Sequence[Schema] = ()) -> list[Version]:
    """Say where the schema of a data directory stands, without changing anything; a missing database is at 0.

    Raises:
        StoreRefused: the database cannot be read, or a newer program wrote it.
    """
    database = folder / DATABASE
    if folder.exists() and not folder.is_dir():
        raise StoreRefused(f"{folder} is no directory; name the data directory that holds {DATABASE}")
    try:
        if database.exists():
            connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        else:
            connection = apsw.Connection(":memory:")
        try:
            return versions(connection, schemas)
        finally:
            connection.close()
    except apsw.Error as error:
        raise StoreRefused(f"{folder}: {DATABASE} cannot be read: {error}") from error


def lock_directory(folder: Path) -> IO[str]:
    """Take the directory for this server; it is given back when the process ends.

    Raises:
        StoreRefused: another server has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise StoreRefused(f"{folder}: cannot be used as data directory: {error}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise StoreRefused(
            f"{folder}: another server (process {holder}) uses this data directory; stop it or name another --data"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def find_damage(database: Path) -> list[str]:
    """Read the whole database and give what is wrong with it, at most ten sentences; empty when it is sound."""
    try:
        connection = connect(str(database))
        try:
            rows = connection.execute(f"pragma integrity_check({PROBLEMS})").fetchall()
        finally:
            connection.close()
    except apsw.Error as error:
        return [f"{type(error).__name__}: {error}"]
    return [str(row[0]) for row in rows if row[0] != "ok"]


def is_small(database: Path) -> bool:
    """Say whether checking the database takes so little that a start can wait for it."""
    return database.stat().st_size <= CHECK_AT_ONCE_BYTES


def read_marker(folder: Path) -> Marker | None:
    """Say which store was made in a directory; None where none was.

    Raises:
        StoreRefused: the marker cannot be read.
    """
    path = folder / MARKER
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Marker)
    except msgspec.DecodeError as error:
        raise _refused(folder, f"{MARKER} cannot be read ({error})") from error


def write_marker(folder: Path, marker: Marker) -> None:
    """Write the marker so that it survives a power cut: its bytes, then its name."""
    path = folder / MARKER
    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as file:
        file.write(msgspec.json.encode(marker))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(folder: Path, found: str) -> StoreRefused:
    return StoreRefused(
        f"{folder}: {found}. Nothing was changed. Put the database back (or restore a backup); "
        f"only if its messages may be lost, remove {MARKER} to begin anew."
    )
