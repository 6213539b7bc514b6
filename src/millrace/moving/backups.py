"""Backups: a whole store in one SQLite file, made while servers are at work, and put back into an empty place."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import apsw

from millrace.clock import Clock
from millrace.errors import StoreRefused
from millrace.moving import sqlite
from millrace.moving.copying import Copied, Progress, Watch
from millrace.moving.moves import (
    check_marker,
    copy_to_file,
    keep_servers_away,
    mark,
    move,
    put_in_place,
    reading,
    seal,
    unfinished_of,
)
from millrace.moving.places import Place
from millrace.moving.sqlite import known_tables
from millrace.moving.standing import check_versions, postgres_side, versions_in
from millrace.moving.tables import BY_NAME
from millrace.sql.schemas import Schema

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
        counts = _copy_pages(place.path, file, schemas, watch)
        put_in_place(unfinished_of(file), file)
        return counts
    _remove(unfinished_of(file))  # of another moment
    with reading(place) as source:
        return copy_to_file(source, file, schemas, clock, watch).rows


def restore(
    file: Path, place: Place, schemas: Sequence[Schema], clock: Clock, watch: Watch, *, replace: bool = False
) -> Copied:
    """Put a backup into an empty place, or in the place of the store that is there.

    Raises:
        StoreRefused: the backup is damaged or of another program, or the place is taken or in use.
        StoreUnavailable: one of them cannot be used now.
    """
    check_versions(Place("sqlite", str(file)), schemas)
    _check(file)
    if place.kind == "postgres":
        if replace:
            _empty(place, schemas)
        return move(Place("sqlite", str(file)), place, schemas, clock, watch)
    with ExitStack() as stack:
        place.path.parent.mkdir(parents=True, exist_ok=True)
        keep_servers_away(place, stack)
        return _restore_file(file, place.path, schemas, watch, replace=replace)


def _copy_pages(database: Path, path: Path, schemas: Sequence[Schema], watch: Watch) -> dict[str, int]:
    """Copy page by page from one snapshot, which a server beside it does not disturb, into a name not yet final."""
    unfinished = unfinished_of(path)
    _remove(unfinished)
    with sqlite.explained(path):
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
    _check(unfinished)
    return _count_rows(unfinished, schemas)


def _check(file: Path) -> None:
    with sqlite.reading(file) as side:
        damage = side.damage()
    if damage:
        raise StoreRefused(f"{file} is damaged: {damage[0].splitlines()[-1]}; take another backup")


def _count_rows(file: Path, schemas: Sequence[Schema]) -> dict[str, int]:
    with sqlite.reading(file) as side:
        tables = side.tables(set(known_tables(schemas)) - BY_NAME)
        return {name: side.count(table) for name, table in tables.items()}


def _restore_file(file: Path, path: Path, schemas: Sequence[Schema], watch: Watch, *, replace: bool) -> Copied:
    with sqlite.reading(file) as side:
        store_id = side.store_id()
    if not replace:
        check_marker(path, store_id)
        if path.exists():
            raise StoreRefused(
                f"{path} exists already; nothing was changed. Name an empty place, or add --replace --yes"
            )
    counts = _copy_pages(file, path, schemas, watch)
    _remove(path)  # the marker stays: a start in between finds that the store is missing, or another one
    put_in_place(unfinished_of(path), path)
    mark(path, store_id)
    return Copied(counts)


def _empty(place: Place, schemas: Sequence[Schema]) -> None:
    if not versions_in(place, schemas)[0].present:
        return
    with ExitStack() as stack:
        keep_servers_away(place, stack)
        side = stack.enter_context(postgres_side().writing(place.location))
        with side.transaction():
            side.empty([name for name in known_tables(schemas) if name not in BY_NAME])


def _remove(path: Path) -> None:
    for ending in ("", *SIDE_FILES):
        path.with_name(path.name + ending).unlink(missing_ok=True)
