"""Backups: a whole store in one SQLite file, made while servers are at work, and put back into an empty place."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import apsw

from millrace.clock import Clock
from millrace.errors import StoreRefused
from millrace.moving import sqlite
from millrace.moving.copying import Copied, Progress, Watch
from millrace.moving.moves import copy_to_file, keep_servers_away, mark, move, put_in_place, reading, seal
from millrace.moving.places import Place
from millrace.moving.sqlite import known_tables
from millrace.moving.standing import check_versions, postgres_side
from millrace.moving.tables import BY_NAME
from millrace.sql.schemas import Schema
from millrace.sql.sqlite.directory import DATABASE, MARKER

UNFINISHED = ".unfinished"
STEP_PAGES = 2_000
SIDE_FILES = ("-wal", "-shm")


def back_up(place: Place, file: Path, schemas: Sequence[Schema], clock: Clock, watch: Watch) -> dict[str, int]:
    """Write the store of this moment into a new file, and give the rows of each table.

    Raises:
        StoreRefused: the file exists, or there is no store of this program's schema.
        StoreUnavailable: the store cannot be read, or the file not be written.
    """
    if file.exists():
        raise StoreRefused(f"{file} exists already; nothing was changed. Name another file")
    check_versions(place, schemas)
    if place.kind == "sqlite":
        return _copy_pages(place.path, file, schemas, watch)
    unfinished = file.with_name(file.name + UNFINISHED)
    _remove(unfinished)
    with reading(place) as source:
        copied = copy_to_file(source, unfinished, schemas, clock, watch)
    put_in_place(unfinished, file)
    return copied.rows


def restore(
    file: Path, place: Place, schemas: Sequence[Schema], clock: Clock, watch: Watch, *, replace: bool = False
) -> Copied:
    """Put a backup into an empty place, or in the place of the store that is there.

    Raises:
        StoreRefused: the backup is damaged or of another program, or the place is taken or in use.
        StoreUnavailable: one of them cannot be used now.
    """
    check_versions(Place("sqlite", str(file)), schemas)
    with sqlite.reading(file) as side:
        damage = side.damage()
    if damage:
        raise StoreRefused(f"{file} is damaged: {damage[0].splitlines()[-1]}; take another backup")
    if place.kind == "postgres":
        if replace:
            _empty(place, schemas)
        return move(Place("sqlite", str(file)), place, schemas, clock, watch)
    with ExitStack() as stack:
        place.path.parent.mkdir(parents=True, exist_ok=True)
        keep_servers_away(place, stack)
        return _restore_file(file, place.path, schemas, replace=replace)


def _copy_pages(database: Path, file: Path, schemas: Sequence[Schema], watch: Watch) -> dict[str, int]:
    """Copy page by page from one snapshot, which a server beside it does not disturb."""
    unfinished = file.with_name(file.name + UNFINISHED)
    _remove(unfinished)
    with sqlite.explained(file):
        source = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        target = apsw.Connection(str(unfinished))
        try:
            source.execute("begin")
            source.execute("select 1 from store").fetchall()  # from here on the snapshot stands
            with target.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(STEP_PAGES)
                    watch(Progress("copying", "pages", copying.page_count - copying.remaining, copying.page_count))
        finally:
            target.close()
            source.close()
    seal(unfinished)
    counts = count_rows(unfinished, schemas)
    put_in_place(unfinished, file)
    return counts


def count_rows(file: Path, schemas: Sequence[Schema]) -> dict[str, int]:
    """Give the rows of each table in a file."""
    with sqlite.reading(file) as side:
        tables = side.tables(set(known_tables(schemas)) - BY_NAME)
        return {name: side.count(table) for name, table in tables.items()}


def _restore_file(file: Path, path: Path, schemas: Sequence[Schema], *, replace: bool) -> Copied:
    if not replace and (path.exists() or _has_marker(path)):
        raise StoreRefused(
            f"{path.parent} holds a store already; nothing was changed. Name an empty place, or add --replace --yes"
        )
    unfinished = path.with_name(path.name + UNFINISHED)
    _remove(unfinished)
    shutil.copyfile(file, unfinished)
    seal(unfinished)
    with sqlite.reading(unfinished) as side:
        store_id = side.store_id()
    counts = count_rows(unfinished, schemas)
    if counts != count_rows(file, schemas):
        raise StoreRefused(f"{file} was changed while it was read; give the command again")
    if path.exists():
        _take_away(path)
    put_in_place(unfinished, path)
    mark(path, store_id)
    return Copied(counts)


def _empty(place: Place, schemas: Sequence[Schema]) -> None:
    with ExitStack() as stack:
        keep_servers_away(place, stack)
        side = stack.enter_context(postgres_side().writing(place.location))
        with side.transaction():
            side.empty([name for name in known_tables(schemas) if name not in BY_NAME])


def _take_away(path: Path) -> None:
    """Remove a database; its marker first, so that a start in between finds nothing, and not the wrong store."""
    if path.name == DATABASE:
        path.with_name(MARKER).unlink(missing_ok=True)
    _remove(path)


def _has_marker(path: Path) -> bool:
    return path.name == DATABASE and path.with_name(MARKER).exists()


def _remove(path: Path) -> None:
    for ending in ("", *SIDE_FILES):
        path.with_name(path.name + ending).unlink(missing_ok=True)
