"""Migrations of a SQLite file, all of them in one transaction.

The engine's own version is the file's `user_version`; each application's stands in the table schema_migrations.
"""

from collections.abc import Sequence

import apsw

from millrace.sql.schemas import ENGINE, Schema, Version, compare, migrations


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
    return compare(lambda schema: _present(connection, schema), schemas, "sqlite")


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
