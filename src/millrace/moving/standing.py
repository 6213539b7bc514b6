"""Where the schema of a store stands, and whether a server is at work on it."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import apsw

from millrace.errors import ConfigurationError, StoreRefused
from millrace.moving.places import Place
from millrace.moving.sqlite import explained
from millrace.sql.schemas import ENGINE, Schema, Version, migrations
from millrace.sql.sqlite.connection import prepare
from millrace.sql.sqlite.directory import DATABASE, LOCK, MARKER, prepare_directory
from millrace.sql.sqlite.migrate import versions


def postgres_side() -> ModuleType:
    """Give the module of that side, whose driver is an extra.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        from millrace.moving import postgres  # noqa: PLC0415 - only where it is needed
    except ImportError as error:
        raise ConfigurationError(
            f"the driver of PostgreSQL is missing ({error.name}); install Millrace with its extra: pip install '.[postgres]'"
        ) from error
    return postgres


def versions_in(place: Place, schemas: Sequence[Schema]) -> list[Version]:
    """Say where each part of a store stands, without changing anything; a missing one is at 0.

    Raises:
        StoreRefused: a newer program wrote it.
        StoreUnavailable: it cannot be read now.
    """
    if place.kind == "postgres":
        postgres_side()
        from millrace.sql.postgres import preparing  # noqa: PLC0415 - the driver is an extra

        return preparing.versions(place.location, schemas)
    if not place.path.exists():
        return versions(apsw.Connection(":memory:"), schemas)
    with explained(place.path):
        connection = apsw.Connection(place.location, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return versions(connection, schemas)
        finally:
            connection.close()


def check_versions(place: Place, schemas: Sequence[Schema]) -> None:
    """Refuse a place without a store of exactly this program's schema.

    Raises:
        StoreRefused: there is none, or it is older or newer.
        StoreUnavailable: it cannot be read now.
    """
    if place.kind == "sqlite":
        check_is_store(place)
    found = versions_in(place, schemas)
    if not found[0].present:
        raise StoreRefused(f"{place} holds no store of Millrace")
    for version in found:
        if version.pending:
            raise StoreRefused(
                f"{place} has schema version {version.present} of {version.name}, this program's is {version.newest}; "
                "run millrace db migrate there first"
            )


def script_for(place: Place, schemas: Sequence[Schema]) -> str:
    """Give what bringing the schema up would run now, as one script; empty when there is nothing to do."""
    if place.kind == "postgres":
        postgres_side()
        from millrace.sql.postgres import preparing  # noqa: PLC0415 - the driver is an extra

        return preparing.script(place.location, schemas)
    parts = []
    for version, schema in zip(versions_in(place, schemas), (ENGINE, *schemas), strict=True):
        for number, name, text in migrations(schema):
            if name in version.pending:
                note = f"pragma user_version = {number};"
                if schema is not ENGINE:
                    note = f"insert or replace into schema_migrations values ('{version.name}', {number});"  # noqa: S608
                parts.append(f"-- {version.name}: {name}\n{text.strip()}\n\n{note}\n")
    return "begin immediate;\n\n" + "\n".join(parts) + "\ncommit;\n" if parts else ""


def bring_up(place: Place, schemas: Sequence[Schema]) -> list[str]:
    """Bring a store to this program's schema, made when it is missing; give the names of what was applied.

    Raises:
        StoreRefused: a newer program wrote it, or it is none that can be brought up.
        StoreUnavailable: it cannot be used now.
    """
    if place.kind == "postgres":
        postgres_side()
        from millrace.sql.postgres import preparing  # noqa: PLC0415 - the driver is an extra

        return preparing.prepare(place.location, schemas)
    if place.path.name == DATABASE:
        pending = versions_in(place, schemas)
        prepare_directory(place.path.parent, schemas)
    else:
        check_is_store(place)
        pending = versions_in(place, schemas)
        prepare(str(place.path), None, schemas)
    return [name for version in pending for name in version.pending]


def check_is_store(place: Place) -> None:
    """Refuse a file that is none.

    Raises:
        StoreRefused: it is missing.
    """
    if not place.path.is_file():
        raise StoreRefused(f"{place}: there is no such file; name the database of a data directory, or a backup")


def is_data_directory(folder: Path) -> bool:
    """Say whether a server has been at work on a folder."""
    return (folder / MARKER).exists() or (folder / LOCK).exists()
