"""The one suite that every store has to pass. A second database joins by a line in `MAKERS`."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


@contextmanager
def make_sqlite(folder: Path, clock: Clock) -> Iterator[SqlStore]:
    path = str(folder / "store.db")
    prepare(path, "conformance")
    yield sqlite_store(path, clock)


@contextmanager
def make_postgres(folder: Path, clock: Clock) -> Iterator[SqlStore]:
    with emptied_database(template_database("engine", prepare_postgres)) as url:
        yield postgres_store(url, clock)


MAKERS: dict[str, Callable[[Path, Clock], AbstractContextManager[SqlStore]]] = {
    "sqlite": make_sqlite,
    "postgres": make_postgres,
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="millrace-", dir=MEMORY) as made:
        yield Path(made)


@pytest.fixture(params=MAKERS)
async def store(request: pytest.FixtureRequest, folder: Path, clock: ManualClock) -> AsyncIterator[Any]:
    with MAKERS[request.param](folder, clock) as made:
        yield made
        await made.close()
