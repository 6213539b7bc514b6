"""Schema versions: numbered files, forward only, one transaction in all."""

from importlib.resources import files

import apsw

from millrace.errors import StoreRefused


def migrations() -> list[tuple[int, str]]:
    """Give the migrations of SQLite as (version, script), in order."""
    folder = files("millrace.sql").joinpath("migrations", "sqlite")
    scripts = sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name.split("_")[0]), script) for name, script in scripts]


def migrate(connection: apsw.Connection) -> bool:
    """Bring the schema to the program's version and say whether anything was done.

    Raises:
        StoreRefused: the database was written by a newer program.
    """
    newest = migrations()[-1][0]
    present = _version(connection)
    if present > newest:
        raise StoreRefused(
            f"the database has schema version {present}, this program knows up to {newest}; "
            "start it with the newer Millrace that wrote it, or restore a backup made before"
        )
    if present == newest:
        return False
    connection.transaction_mode = "IMMEDIATE"  # a second program that starts at this moment waits its turn
    with connection:
        for version, script in migrations():
            if version > _version(connection):
                connection.execute(script)
                connection.pragma("user_version", version)
    return True


def _version(connection: apsw.Connection) -> int:
    return int(str(connection.pragma("user_version")))
