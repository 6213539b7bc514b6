"""The rooms of a server without its doors, on a database that is gone in the end. Ids and receipts are counted."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from millrace.bindings import Env
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.handlers import as_call
from millrace.idempotency import Once
from millrace.ids import NewId
from millrace.message import Stamped
from millrace.placing import Stored, fresh_of
from millrace.platform import Platform
from millrace.resources.outbound import Outbound
from millrace.sql.sqlite.connection import prepare
from millrace.sql.sqlite.database import SqliteDatabase
from millrace.sql.store import SqlStore
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock
from millrace.testing.delivering import Deliveries, Line
from millrace.testing.sent import SentRecord
from millrace.testing.setup import ACCOUNT, Setup, make_env, set_up
from millrace.testing.tally import Tally

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux keeps it in memory: a commit need not wait for a disk
MIDDLE = 0.5  # of the jitter of a backoff, so that delays are the same each time


class Rooms(NamedTuple):
    """What is there while a broker is open."""

    platform: Platform
    env: Env
    deliveries: Deliveries


@asynccontextmanager
async def open_rooms(setup: Setup, clock: ManualClock, record: SentRecord) -> AsyncIterator[Rooms]:
    """Open what the test asks for. The handlers are looked at first, so that a wrong one costs nothing."""
    calls = {queue: as_call(handler) for queue, handler in setup.handlers.items()}
    with TemporaryDirectory(prefix="millrace-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        database = f"{folder}/millrace.db"
        prepare(database, "test")
        store = RecordingStore(database, clock, record)
        try:
            platform = _platform(store, clock)
            await set_up(platform, setup)
            env, tally = make_env(platform, setup), Tally(platform.telemetry)
            watched = {queue: tally.watched(call, setup.handler_seconds) for queue, call in calls.items()}
            lines = {queue: Line(platform, ACCOUNT, queue, call, env) for queue, call in watched.items()}
            yield Rooms(platform, env, Deliveries(platform, clock, lines, tally))
        finally:
            await store.close()


class RecordingStore(SqlStore):
    """The store of a server, which also keeps a record of what was sent."""

    def __init__(self, path: str, clock: ManualClock, record: SentRecord) -> None:
        receipts = count(1)
        super().__init__(SqliteDatabase(path, clock), clock, new_receipt=lambda: next(receipts), chance=lambda: MIDDLE)
        self._record, self._names = record, dict[str, str]()

    async def send(self, queue_id: str, messages_: Sequence[Stamped], once: Once | None = None) -> Stored:
        """Send, and note what was stored."""
        if queue_id not in self._names:
            self._names[queue_id] = (await self.queue(ACCOUNT, queue_id)).name
        backlog = await super().send(queue_id, messages_, once)
        self._record.note(self._names[queue_id], fresh_of(messages_, backlog))
        return backlog


def _platform(store: SqlStore, clock: ManualClock) -> Platform:
    telemetry = Telemetry()
    catalog = Catalog(store, clock, _counted_ids())
    return Platform(store, catalog, Broker(store, clock, telemetry, _counted_ids()), telemetry, clock, Outbound())


def _counted_ids() -> NewId:
    numbers = count(1)
    return lambda: f"{next(numbers):032x}"
