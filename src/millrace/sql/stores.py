"""Opening a store on one of the databases."""

from collections.abc import Sequence
from typing import Any

from millrace.clock import Clock
from millrace.sql.schemas import Schema
from millrace.sql.sqlite.database import SqliteDatabase
from millrace.sql.store import SqlStore


def sqlite_store(path: str, clock: Clock, schemas: Sequence[Schema] = (), **chances: Any) -> SqlStore:
    """Open the store in a prepared SQLite file; `chances` are the receipts and the jitter of `SqlStore`.

    Raises:
        StoreUnavailable: the file cannot be used.
    """
    return SqlStore(SqliteDatabase(path, clock, tuple(schema.package for schema in schemas)), clock, **chances)


def postgres_store(
    url: str, clock: Clock, schemas: Sequence[Schema] = (), direct_url: str | None = None, **chances: Any
) -> SqlStore:
    """Open the store in a prepared PostgreSQL database; `direct_url` leads past a pooler of connections."""
    from millrace.sql.postgres.database import PostgresDatabase  # noqa: PLC0415 - the driver is an extra

    packages = tuple(schema.package for schema in schemas)
    return SqlStore(
        PostgresDatabase(url, clock, packages, direct_url, getattr(clock, "note", _unnoted)), clock, **chances
    )


def _unnoted(now_ms: int) -> None:
    """Leave the time to a clock that keeps its own, as a test's does."""
