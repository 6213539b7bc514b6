"""A move from place to place: what may be moved, where to, and how the target becomes a store."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw

from millrace.clock import Clock
from millrace.errors import StoreRefused
from millrace.ids import new_id
from millrace.moving import sqlite
from millrace.moving.copying import Copied, Watch, already_copied, copy
from millrace.moving.places import Place
from millrace.moving.side import Side
from millrace.moving.sqlite import known_tables
from millrace.moving.standing import check_versions, is_data_directory, postgres_side
from millrace.sql.schemas import Schema
from millrace.sql.sqlite.connection import prepare
from millrace.sql.sqlite.directory import DATABASE, MARKER, Marker, lock_directory, read_marker, write_marker

UNFINISHED = ".copying"


def move(source: Place, target: Place, schemas: Sequence[Schema], clock: Clock, watch: Watch) -> Copied:
    """Copy a store that no server uses into an empty place, or go on with that.

    Raises:
        StoreRefused: the source is at work, old or missing; the target is taken, or not the same in the end.
        StoreUnavailable: one of them cannot be used now.
    """
    check_versions(source, schemas)
    with ExitStack() as stack:
        keep_servers_away(source, stack)
        side = stack.enter_context(reading(source))
        if target.kind == "sqlite":
            keep_servers_away(target, stack)
            return copy_to_file(side, target.path, schemas, clock, watch)
        return _copy_to_database(side, target, schemas, clock, watch)


@contextmanager
def reading(place: Place) -> Iterator[Side]:
    """Open a store for one consistent look at it; a server may be at work on it.

    Raises:
        StoreUnavailable: it cannot be read now.
    """
    opened = sqlite.reading(place.path) if place.kind == "sqlite" else postgres_side().reading(place.location)
    with opened as side:
        yield side


def copy_to_file(source: Side, path: Path, schemas: Sequence[Schema], clock: Clock, watch: Watch) -> Copied:
    """Copy into a file beside the path, which gets its name when it is whole.

    Raises:
        StoreRefused: the path is taken by something else than this very copy.
    """
    unfinished = unfinished_of(path)
    if path.exists():
        with sqlite.reading(path) as found:
            copied = already_copied(source, found)
        unfinished.unlink(missing_ok=True)  # what a kill at the very end has left
        return copied
    check_marker(path, source.store_id())
    with sqlite.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        prepare(str(unfinished), new_id(), schemas)
    with sqlite.writing(unfinished) as target:
        copied = copy(source, target, known_tables(schemas), clock, watch)
    seal(unfinished)
    put_in_place(unfinished, path)
    mark(path, source.store_id())
    return copied


def unfinished_of(path: Path) -> Path:
    """Give the name that a file has until it is whole."""
    return path.with_name(path.name + UNFINISHED)


def seal(path: Path) -> None:
    """Bring everything into the one file, and the file to the disk."""
    with sqlite.explained(path):
        connection = apsw.Connection(str(path))
        try:
            connection.pragma("journal_mode", "delete")
        finally:
            connection.close()
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put_in_place(unfinished: Path, path: Path) -> None:
    """Give a whole file its name, which must be free, so that it survives a power cut.

    Raises:
        StoreRefused: the name is taken.
    """
    try:
        os.link(unfinished, path)  # which a rename would overwrite
    except FileExistsError:
        raise StoreRefused(f"{path} exists already; nothing was changed. Name another file") from None
    unfinished.unlink()
    _sync_folder(path.parent)


def mark(path: Path, store_id: str) -> None:
    """Tell a data directory which store it holds now, so that a server accepts it."""
    if path.name == DATABASE:
        write_marker(path.parent, Marker(store_id))


def _copy_to_database(source: Side, place: Place, schemas: Sequence[Schema], clock: Clock, watch: Watch) -> Copied:
    module = postgres_side()
    from millrace.sql.postgres import preparing  # noqa: PLC0415 - the driver is an extra

    with module.writing(place.location) as target:
        target.keep_others_away()
        if not target.tx.fetch("has_table", {"name": "moving"}):
            preparing.prepare(place.location, schemas)
        _refuse_servers(target, place)
        copied: Copied = copy(source, target, known_tables(schemas), clock, watch)
        return copied


def keep_servers_away(place: Place, stack: ExitStack) -> None:
    """Let no server use a place meanwhile, and refuse it when one does."""
    if place.kind == "postgres":
        _refuse_servers(stack.enter_context(postgres_side().writing(place.location)), place)
    elif place.path.name == DATABASE and (is_data_directory(place.path.parent) or not place.path.exists()):
        stack.enter_context(lock_directory(place.path.parent))


def _refuse_servers(side: Side, place: Place) -> None:
    [(count,)] = side.tx.fetch("servers_at_work")
    if count:
        raise StoreRefused(
            f"{place}: {count} {'server was' if count == 1 else 'servers were'} at work on it in the last 10 s; stop "
            f"{'it' if count == 1 else 'them'} first"
        )


def check_marker(path: Path, store_id: str) -> None:
    """Refuse a data directory that was another store's.

    Raises:
        StoreRefused: its marker names one.
    """
    marker = read_marker(path.parent) if path.name == DATABASE else None
    if marker is not None and marker.store_id != store_id:
        raise StoreRefused(
            f"{path.parent}: {MARKER} names another store; name an empty directory, or remove {MARKER} if that one is given up"
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
