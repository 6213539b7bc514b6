"""A workflow on a real store, run delivery by delivery while the clock of the test moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.handlers import as_call
from millrace.handlers.workflow import WorkflowFunction, workflow_handler
from millrace.platform import Platform, QueueNeed, ensure_queues
from millrace.resources.outbound import Outbound
from millrace.sql.sqlite.connection import prepare
from millrace.sql.stores import sqlite_store
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock
from millrace.testing.delivering import Line
from millrace.workflows import instances
from millrace.workflows.instances import Created, Instance
from millrace.workflows.journal import StoredJournal
from millrace.workflows.queues import CONSUMER, SETTINGS, queue_of

ACCOUNT, NAME = "acc", "orders"


class Stage:
    """One workflow of one account."""

    def __init__(self, platform: Platform, function: WorkflowFunction, clock: ManualClock) -> None:
        self.platform, self.clock = platform, clock
        self.journal = StoredJournal(platform, ACCOUNT, NAME)
        call = as_call(workflow_handler(function, self.journal))
        self.line = Line(platform, ACCOUNT, queue_of(NAME), call, None)

    async def create(self, id: str | None = None, params: Any = None) -> Created:
        return await self.platform.write(lambda work: instances.create(work, ACCOUNT, NAME, id=id, params=params))

    async def look(self, id: str) -> Instance:
        return await self.platform.read(lambda work: instances.look(work, ACCOUNT, NAME, id))

    async def message_id(self) -> str:
        """Give the id of the message that waits."""
        queue = await self.platform.catalog.queue_named(ACCOUNT, queue_of(NAME))
        (message,) = await self.platform.store.peek(queue.id, 1, self.clock())
        return message.id

    async def deliver(self) -> Instance | None:
        """Have the runner get what is ready; give the instance "one" as it is then, or None when nothing was."""
        return await self.look("one") if await self.line.deliver() else None

    async def run(self, params: Any = None) -> Instance:
        """Create the instance "one" and give it its first delivery."""
        await self.create("one", params)
        await self.line.deliver()
        return await self.look("one")


@asynccontextmanager
async def staged(function: WorkflowFunction, folder: Path) -> AsyncIterator[Stage]:
    clock = ManualClock()
    prepare(str(folder / "store.db"), "test")
    store, telemetry = sqlite_store(str(folder / "store.db"), clock), Telemetry()
    broker, catalog = Broker(store, clock, telemetry), Catalog(store, clock)
    platform = Platform(store, catalog, broker, telemetry, clock, Outbound())
    await ensure_queues(platform, ACCOUNT, (QueueNeed(name=queue_of(NAME), settings=SETTINGS, consumer=CONSUMER),))
    try:
        yield Stage(platform, function, clock)
    finally:
        await store.close()
