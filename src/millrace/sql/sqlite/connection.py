"""Opening a database file: the settings that durability rests on, and the schema."""

import logging
from collections.abc import Sequence

import apsw

from millrace.clock import Stamp
from millrace.errors import StoreRefused
from millrace.sql.schemas import Schema
from millrace.sql.sqlite.migrate import migrate
from millrace.sql.sqlite.transaction import SqliteTransaction

BUSY_TIMEOUT_MS = 2_000  # a foreign lock costs this much before the answer is 503
WAL_LIMIT_BYTES = 64 * 1024 * 1024
READER_CACHE_KIB = 8 * 1024

CALLERS_FAULTS = {apsw.SQLITE_ERROR, apsw.SQLITE_AUTH, apsw.SQLITE_TOOBIG, apsw.SQLITE_INTERRUPT}


def _log(code: int, message: str) -> None:
    """Pass on what SQLite complains of; a faulty statement is its caller's, who is told, and its text no line's."""
    if code & 0xFF not in CALLERS_FAULTS:
        logging.getLogger("sqlite").warning("%s (%s)", message, apsw.mapping_result_codes.get(code & 0xFF, code))


apsw.config(apsw.SQLITE_CONFIG_LOG, _log)


def _refuse_quoted_texts(connection: apsw.Connection) -> None:
    """Take "double quotes" for names only; as texts they hide misspelt columns."""
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)


apsw.connection_hooks.append(_refuse_quoted_texts)


def connect(path: str, cache_kib: int = READER_CACHE_KIB) -> apsw.Connection:
    """Open a database file, making it when it is missing, with the settings that durability rests on."""
    connection = apsw.Connection(path)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    for pragma, value in (
        ("journal_mode", "wal"),
        ("synchronous", "full"),
        ("foreign_keys", "on"),
        ("cache_size", -cache_kib),
        ("journal_size_limit", WAL_LIMIT_BYTES),
    ):
        connection.pragma(pragma, value)
    return connection


def prepare(path: str, new_store_id: str | None, schemas: Sequence[Schema] = ()) -> tuple[Stamp | None, str]:
    """Bring a database file to the program's schema; give the newest time it has seen, and the store's id.

    Args:
        path: The file.
        new_store_id: The id for a store that is made here; None where one must already be.
        schemas: Those of the applications.

    Raises:
        StoreRefused: written by a newer program, or no store where one must be.
    """
    connection = connect(path)
    try:
        if new_store_id is None and not connection.pragma("user_version"):
            raise StoreRefused(f"{path} holds no store, although one was made here; restore a backup")
        migrate(connection, schemas)
        tx = SqliteTransaction(connection)
        row = tx.fetch_one("stamp")
        if row is not None:
            tx.apply("set_boot", (row[3],))  # a file that cannot be written should be told now
        else:
            tx.apply("insert_stamp", {"id": new_store_id})
            connection.pragma("wal_checkpoint(truncate)")
            return None, str(new_store_id)
        return Stamp(row[2], row[3], row[4]) if row[2] else None, row[0]
    finally:
        connection.close()
