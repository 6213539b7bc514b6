"""Where the tests of applications keep their data: in a SQLite file, or in a PostgreSQL database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apsw
import psycopg

from millrace.clock import Clock
from millrace.sql.postgres.preparing import prepare as prepare_postgres
from millrace.sql.schemas import Schema
from millrace.sql.sqlite.connection import prepare
from millrace.sql.store import SqlStore
from millrace.sql.stores import postgres_store, sqlite_store
from tests.clusters import emptied_database, template_database

DATABASES = ("sqlite", "postgres")

Opener = Callable[[Clock], SqlStore]


@contextmanager
def prepared(database: str, folder: Path, schema: Schema) -> Iterator[Opener]:
    """Give what opens a store with the tables of an application; on PostgreSQL twice, when a test wants two servers."""
    if database == "sqlite":
        path = str(folder / "store.db")
        prepare(path, schema.name, (schema,))
        yield partial(sqlite_store, path, schemas=(schema,))
        return
    template = template_database(f"app_{schema.name}", partial(prepare_postgres, schemas=(schema,)))
    with emptied_database(template) as url:
        yield partial(postgres_store, url, schemas=(schema,))


def change(location: str, statement: str, *values: object) -> None:
    """Change rows by hand, past the program; `?` stands for a value."""
    if "://" in location:
        with psycopg.connect(location) as connection:
            connection.execute(statement.replace("?", "%s"), values)
    else:
        file = apsw.Connection(location)
        file.execute(statement, values)
        file.close()
