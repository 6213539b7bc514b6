"""The one suite that every store has to pass. A second database joins by a line in `MAKERS`."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from millrace.clock import Clock
from millrace.sql.connection import prepare
from millrace.sql.store import SqlStore


class ManualClock:
    """A clock that a test moves."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> int:
        self.now_ms += round(seconds * 1000)
        return self.now_ms


def make_sqlite(folder: Path, clock: Clock) -> SqlStore:
    path = str(folder / "store.db")
    prepare(path, "conformance")
    return SqlStore(path, clock)


MAKERS: dict[str, Callable[[Path, Clock], Any]] = {"sqlite": make_sqlite}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=MAKERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Any]:
    made = MAKERS[request.param](tmp_path, clock)
    yield made
    await made.close()
