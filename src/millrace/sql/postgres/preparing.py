"""Bringing a PostgreSQL database to the program's schema: numbered files, forward only, one transaction, under a lock."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg

from millrace.errors import StoreRefused
from millrace.ids import new_id
from millrace.queue import Queue
from millrace.sql import queues
from millrace.sql.postgres.connection import Connection, connect, unavailable
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.session import Session, run_in
from millrace.sql.schemas import ENGINE, Schema, Version, compare, migrations
from millrace.sql.transaction import Transaction

T = TypeVar("T")

LOCK = 7811  # of whoever migrates; our advisory locks all begin with it
MIGRATION_SECONDS = 600


def prepare(url: str, schemas: Sequence[Schema] = (), store_id: str | None = None) -> list[str]:
    """Make or complete the tables, and give the names of the files that were applied.

    Others who start at this moment wait; servers of the version before go on with their work.

    Raises:
        StoreRefused: a newer program wrote the database, or it is none that a store can be made in.
        StoreUnavailable: it cannot be reached now.
    """
    connection, _ = connect(url)
    try:
        with connection, connection.transaction():
            return _migrate(connection, schemas, store_id or new_id())
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreRefused(
            f"the user of the database may not make tables: {str(error).splitlines()[0]}; "
            "grant it CREATE on the schema, or run millrace db migrate as a user who has that"
        ) from error
    except psycopg.Error as error:
        raise unavailable(error) from error


def versions(url: str, schemas: Sequence[Schema] = ()) -> list[Version]:
    """Say where each part of the database stands, without changing anything.

    Raises:
        StoreRefused: a newer program wrote the database.
        StoreUnavailable: it cannot be reached now.
    """
    connection, _ = connect(url)
    with connection:
        present = _present(connection)
        return compare(lambda schema: present.get(schema.name, 0), schemas, "postgres")


def read_queues(url: str, account_id: str) -> list[Queue]:
    """Give the queues of an account without changing anything; none where no store was made yet.

    Raises:
        StoreUnavailable: the database cannot be reached now.
    """
    if not any(version.present for version in versions(url)):
        return []
    return read_database(url, lambda tx: queues.all_of(tx, account_id))


def read_database(url: str, fn: Callable[[Transaction], T]) -> T:
    """Run `fn(tx)` on the database as it is at this moment, without changing or locking anything.

    Raises:
        StoreUnavailable: it cannot be read now.
    """
    session = Session(url, (), Cursors())
    try:
        return run_in(session, fn)
    except psycopg.Error as error:
        raise unavailable(error) from error
    finally:
        session.close()


def script(url: str, schemas: Sequence[Schema] = ()) -> str:
    """Give what `prepare` would run now, as one script for psql."""
    pending = {name for version in versions(url, schemas) for name in version.pending}
    parts = []
    for schema in (ENGINE, *schemas):
        for version, name, text in migrations(schema, "postgres"):
            if name in pending:
                note = f"insert into schema_migrations values ('{schema.name}', {version}) {UPSERT};"  # noqa: S608
                parts.append(f"-- {schema.name}: {name}\n{text.strip()}\n\n{note}\n")
    named = NAMED.replace("$1", f"'{new_id()}'")
    return "begin;\n\n" + "\n".join([*parts, f"{named};\n"]) + "\ncommit;\n" if parts else ""


NAMED = "insert into store (one, id, now_ms) values (1, $1, 0) on conflict do nothing"
UPSERT = "on conflict (name) do update set version = excluded.version"


def _migrate(connection: Connection, schemas: Sequence[Schema], store_id: str) -> list[str]:
    encoding = connection.execute("show server_encoding", prepare=False).fetchone()
    if encoding is None or encoding[0] != "UTF8":
        raise StoreRefused(f"the database's encoding is {encoding and encoding[0]}; make one with encoding 'UTF8'")
    connection.execute(f"set local statement_timeout = '{MIGRATION_SECONDS}s'", prepare=False)
    connection.execute(f"set local lock_timeout = '{MIGRATION_SECONDS}s'", prepare=False)
    connection.execute(f"select pg_advisory_xact_lock({LOCK}, 0)", prepare=False)
    _refuse_half_copies(connection)
    present = _present(connection)
    compare(lambda schema: present.get(schema.name, 0), schemas, "postgres")
    applied = []
    for schema in (ENGINE, *schemas):
        for version, name, text in migrations(schema, "postgres"):
            if version > present.get(schema.name, 0):
                connection.execute(text, prepare=False)
                note = f"insert into schema_migrations values ($1, $2) {UPSERT}"  # noqa: S608
                connection.execute(note, (schema.name, version), prepare=False)
                applied.append(name)
    connection.execute(NAMED, (store_id,), prepare=False)
    return applied


def _refuse_half_copies(connection: Connection) -> None:
    """Keep servers away from what `millrace db copy` has not yet brought over and compared."""
    row = connection.execute("select to_regclass('moving') is not null", prepare=False).fetchone()
    if (
        row
        and row[0]
        and connection.execute("select 1 from moving where name = '' and finished_at_ms is null").fetchall()
    ):
        raise StoreRefused("a copy into this database has not come to its end; give millrace db copy again")


def _present(connection: Connection) -> dict[str, int]:
    row = connection.execute("select to_regclass('schema_migrations') is not null", prepare=False).fetchone()
    if row is None or not row[0]:
        return {}
    rows = connection.execute("select name, version from schema_migrations", prepare=False).fetchall()
    return {str(name): int(version) for name, version in rows}
