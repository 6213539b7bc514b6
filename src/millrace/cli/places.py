"""Where a store is: in a data directory, or in a PostgreSQL database."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import TypeVar

import msgspec

from millrace.cli.applications import SCHEMAS
from millrace.cli.printing import with_cause
from millrace.clock import Clock, clock_after
from millrace.config import Settings
from millrace.errors import ConfigurationError, StoreUnavailable
from millrace.queue import Queue
from millrace.sql.sqlite.directory import lock_directory, prepare_directory, read_database, read_queues
from millrace.sql.store import SqlStore
from millrace.sql.stores import postgres_store, sqlite_store
from millrace.sql.transaction import Transaction

T = TypeVar("T")

WAIT_SECONDS = 30.0  # for a database that is starting, too
PAUSE_SECONDS = 1.0


class Place(msgspec.Struct, frozen=True):
    """A prepared store: its clock, and how it is opened inside an event loop. `file` is the SQLite database, if it is one."""

    clock: Clock
    open: Callable[[], SqlStore]
    name: str
    file: Path | None = None


def take_place(settings: Settings, stack: ExitStack) -> None:
    """Take a data directory for this server, until the stack ends; a database is there for all.

    Raises:
        StoreRefused: another server has the directory.
    """
    if settings.store is None:
        stack.enter_context(lock_directory(settings.data))


def prepare_place(settings: Settings) -> Place:
    """Bring the store to the program's schema.

    Raises:
        StoreRefused: it is damaged, foreign, or newer than the program.
        StoreUnavailable: the database cannot be reached.
        ConfigurationError: the driver of PostgreSQL is not installed.
    """
    if settings.store is not None:
        return _in_database(settings.store, settings.direct_store)
    prepared = prepare_directory(settings.data, SCHEMAS)
    clock = clock_after(prepared.last)
    file = prepared.database
    return Place(clock, lambda: sqlite_store(str(file), clock, SCHEMAS), str(settings.data), file)


def wait_for_place(settings: Settings) -> Place:
    """Do the same as `prepare_place`, and wait half a minute for a database that is not there yet."""
    until, told = monotonic() + WAIT_SECONDS, False
    while True:
        try:
            return prepare_place(settings)
        except StoreUnavailable as error:
            if settings.store is None or monotonic() >= until:
                raise
            if not told:
                print(f"millrace: {with_cause(error, '; waiting for it')}", file=sys.stderr, flush=True)
            told = True
            time.sleep(PAUSE_SECONDS)


def queues_in(settings: Settings) -> list[Queue]:
    """Give the queues of the account as they are, without changing anything; none where there is no store yet."""
    if settings.store is None:
        return read_queues(settings.data, settings.account_id)
    with _driver():
        from millrace.sql.postgres.preparing import read_queues as read_queues_of
    return read_queues_of(settings.store, settings.account_id)


def reader_of(settings: Settings) -> Callable[[Callable[[Transaction], T]], T]:
    """Give what runs a function on the store as it is, without changing or locking anything."""
    if settings.store is None:
        return lambda fn: read_database(settings.data, fn)
    with _driver():
        from millrace.sql.postgres.preparing import read_database as read_database_of
    url = settings.store
    return lambda fn: read_database_of(url, fn)


def _in_database(url: str, direct_url: str | None) -> Place:
    with _driver():
        from millrace.sql.postgres.clock import clock_of
        from millrace.sql.postgres.connection import shown
        from millrace.sql.postgres.preparing import prepare
    prepare(direct_url or url, SCHEMAS)
    clock = clock_of(direct_url or url)
    return Place(clock, lambda: postgres_store(url, clock, SCHEMAS, direct_url), shown(url))


@contextmanager
def _driver() -> Iterator[None]:
    """Tell of the driver, which is an extra, where an import finds that it is not installed."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"the driver of PostgreSQL is missing ({error.name}); install Millrace with its extra: pip install '.[postgres]'"
        ) from error
