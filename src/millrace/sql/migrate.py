"""Schema versions: numbered files, forward only, one transaction in all.

The engine's own version is the file's `user_version`; each application's stands in the table schema_migrations.
"""

from collections.abc import Sequence
from importlib.resources import files

import apsw
import msgspec

from millrace.errors import StoreRefused


class Schema(msgspec.Struct, frozen=True):
    """An application's part of the database: numbered files in its package's `migrations/sqlite`, and `queries`."""

    name: str
    package: str


class Version(msgspec.Struct, frozen=True):
    """Where a part of the database stands, and where this program would bring it; `pending` are file names."""

    name: str
    present: int
    newest: int
    pending: tuple[str, ...]


ENGINE = Schema("millrace", "millrace.sql")


def migrations(schema: Schema = ENGINE) -> list[tuple[int, str, str]]:
    """Give the migrations of a schema as (version, file name, script), in order."""
    folder = files(schema.package).joinpath("migrations", "sqlite")
    scripts = sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name.split("_")[0]), name, script) for name, script in scripts]


def migrate(connection: apsw.Connection, schemas: Sequence[Schema] = ()) -> bool:
    """Bring the database to the program's version and say whether anything was done.

    Raises:
        StoreRefused: the database was written by a newer program.
    """
    if not any(version.pending for version in versions(connection, schemas)):
        return False
    connection.transaction_mode = "IMMEDIATE"  # a second program that starts at this moment waits its turn
    with connection:
        for schema in (ENGINE, *schemas):
            for version, _, script in migrations(schema):
                if version > _present(connection, schema):
                    connection.execute(script)
                    _note(connection, schema, version)
    return True


def versions(connection: apsw.Connection, schemas: Sequence[Schema] = ()) -> list[Version]:
    """Say where each part of the database stands.

    Raises:
        StoreRefused: the database was written by a newer program.
    """
    found = []
    for schema in (ENGINE, *schemas):
        known, present = migrations(schema), _present(connection, schema)
        newest = known[-1][0]
        if present > newest:
            raise StoreRefused(
                f"the database has schema version {present} of {schema.name}, this program knows up to {newest}; "
                "start it with the newer Millrace that wrote it, or restore a backup made before"
            )
        pending = tuple(name for version, name, _ in known if version > present)
        found.append(Version(schema.name, present, newest, pending))
    return found


def _present(connection: apsw.Connection, schema: Schema) -> int:
    if schema is ENGINE:
        return int(str(connection.pragma("user_version")))
    if not connection.execute("select 1 from sqlite_schema where name = 'schema_migrations'").fetchall():
        return 0
    rows = connection.execute("select version from schema_migrations where name = ?", (schema.name,)).fetchall()
    return int(str(rows[0][0])) if rows else 0


def _note(connection: apsw.Connection, schema: Schema, version: int) -> None:
    if schema is ENGINE:
        connection.pragma("user_version", version)
    else:
        connection.execute("insert or replace into schema_migrations values (?, ?)", (schema.name, version))
