"""Schema versions: numbered files for each database, forward only. How they are applied is each database's affair."""

from collections.abc import Callable, Sequence
from importlib.resources import files

import msgspec

from millrace.errors import StoreRefused


class Schema(msgspec.Struct, frozen=True):
    """A part of the database: numbered files in its package's `migrations/<dialect>`, and statements in `queries`."""

    name: str
    package: str


class Version(msgspec.Struct, frozen=True):
    """Where a part of the database stands, and where this program would bring it; `pending` are file names."""

    name: str
    present: int
    newest: int
    pending: tuple[str, ...]


ENGINE = Schema("millrace", "millrace.sql")


def migrations(schema: Schema = ENGINE, dialect: str = "sqlite") -> list[tuple[int, str, str]]:
    """Give the migrations of a schema as (version, file name, script), in order."""
    folder = files(schema.package).joinpath("migrations", dialect)
    scripts = sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name.split("_")[0]), name, script) for name, script in scripts]


def compare(present_of: Callable[[Schema], int], schemas: Sequence[Schema], dialect: str) -> list[Version]:
    """Say where each part of the database stands, the engine's first; `present_of` tells the version of one.

    Raises:
        StoreRefused: the database was written by a newer program.
    """
    found = []
    for schema in (ENGINE, *schemas):
        known, present = migrations(schema, dialect), present_of(schema)
        newest = known[-1][0]
        if present > newest:
            raise StoreRefused(
                f"the database has schema version {present} of {schema.name}, this program knows up to {newest}; "
                "start it with the newer Millrace that wrote it, or restore a backup made before"
            )
        pending = tuple(name for version, name, _ in known if version > present)
        found.append(Version(schema.name, present, newest, pending))
    return found
