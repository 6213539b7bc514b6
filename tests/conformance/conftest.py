"""The one suite that every store has to pass. A second database joins by a line in `MAKERS`."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from millrace.clock import Clock
from millrace.sql.postgres.preparing import prepare as prepare_postgres
from millrace.sql.sqlite.connection import prepare
from millrace.sql.store import SqlStore
from millrace.sql.stores import postgres_store, sqlite_store
from tests.clusters import emptied_database, template_database

# A commit there need not wait for a disk, which took most of the time; what a crash leaves is tests/acceptance's affair.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class ManualClock:
    """A clock that a test moves."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> int:
        self.now_ms += round(seconds * 1000)
        return self.now_ms


Opener = Callable[[Clock], SqlStore]


@contextmanager
def on_sqlite(folder: Path) -> Iterator[Opener]:
    path = str(folder / "store.db")
    prepare(path, "conformance")
    yield lambda clock: sqlite_store(path, clock)


@contextmanager
def on_postgres(folder: Path) -> Iterator[Opener]:
    with emptied_database(template_database("engine", prepare_postgres)) as url:
        yield lambda clock: postgres_store(url, clock)


MAKERS: dict[str, Callable[[Path], AbstractContextManager[Opener]]] = {"sqlite": on_sqlite, "postgres": on_postgres}


class Place:
    """Where the store of a state machine lies; it may be opened several times, one after the other."""

    def __init__(self, maker: str) -> None:
        self._exits = ExitStack()
        folder = self._exits.enter_context(TemporaryDirectory(prefix="millrace-", dir=MEMORY))
        self.open = self._exits.enter_context(MAKERS[maker](Path(folder)))
        self.remove = self._exits.close


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="millrace-", dir=MEMORY) as made:
        yield Path(made)


@pytest.fixture(params=MAKERS)
def opener(request: pytest.FixtureRequest, folder: Path) -> Iterator[Opener]:
    """Give what opens the one store of the test, once or several times."""
    with MAKERS[request.param](folder) as opener:
        yield opener


@pytest.fixture
async def store(opener: Opener, clock: ManualClock) -> AsyncIterator[Any]:
    made = opener(clock)
    yield made
    await made.close()
