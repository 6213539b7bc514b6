"""Events and their subscriptions without doors, on a clock that the tests move."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from millrace.apps.events import subscriptions
from millrace.apps.events.app import SCHEMA
from millrace.apps.events.delivery import WORKFLOW, process_event, start_workflows
from millrace.apps.events.queues import DEAD_LETTERS, NEEDS, QUEUE
from millrace.bindings import Env
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.handlers import as_call
from millrace.handlers.workflow import workflow_handler
from millrace.message import Message, Outgoing
from millrace.platform import Platform, QueueNeed, ensure_queues
from millrace.resources.outbound import Outbound
from millrace.runtime.reaper import Reaper
from millrace.sql.store import SqlStore
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock
from millrace.testing.delivering import Line
from millrace.workflows import instances
from millrace.workflows.instances import Instance
from millrace.workflows.journal import StoredJournal
from millrace.workflows.queues import CONSUMER, SETTINGS, queue_of
from tests.apps.databases import change, prepared

ACCOUNT = "local"


class Rooms:
    """What the tests of deliveries say again and again."""

    def __init__(self, platform: Platform, clock: ManualClock) -> None:
        self.platform, self.clock = platform, clock
        env = Env({"ACCOUNT_ID": ACCOUNT})
        run = workflow_handler(process_event(platform), StoredJournal(platform, ACCOUNT, WORKFLOW))
        self.events = Line(platform, ACCOUNT, QUEUE, as_call(start_workflows(platform)), env)
        self.sweep = Reaper(platform.store, clock, platform.telemetry).sweep  # what a server does in the background
        self.runs = Line(platform, ACCOUNT, queue_of(WORKFLOW), as_call(run), env)

    async def subscribe(self, wanted: Mapping[str, Any] | None = None) -> subscriptions.Subscription:
        url = "https://example.com/hook"
        return await self.platform.write(lambda work: subscriptions.create(work, ACCOUNT, url, None, wanted or {}))

    async def send(self, body: object, queue: str = QUEUE, **more: Any) -> str:
        """Send a message and give its id."""
        found = await self.platform.catalog.queue_named(ACCOUNT, queue)
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return (await self.platform.broker.send(found, Outgoing(body=raw, **more), max_bytes=200_000)).id

    async def deliver(self) -> None:
        """Give events and instances their handlers, until nothing is ready."""
        while await self.events.deliver() or await self.runs.deliver():
            pass

    async def messages(self, queue: str) -> list[Message]:
        found = await self.platform.catalog.queue_named(ACCOUNT, queue)
        return await self.platform.store.peek(found.id, 100, self.clock())

    async def bodies(self, subscription: subscriptions.Subscription) -> list[bytes]:
        """Give what waits for a subscription."""
        return [message.body for message in await self.messages(subscription.queue.name)]

    async def redrive_by_itself(self, *, after_seconds: int) -> None:
        """Let event-dlq give its messages back."""
        dead = await self.platform.catalog.queue_named(ACCOUNT, DEAD_LETTERS)
        settings = {"auto_redrive": {"after_seconds": after_seconds}}
        await self.platform.catalog.change(ACCOUNT, dead.id, settings=settings)
        await self.sweep()

    async def look(self, event_id: str) -> Instance:
        return await self.platform.read(lambda work: instances.look(work, ACCOUNT, WORKFLOW, event_id))

    async def forget_steps(self, event_id: str, *names: str) -> None:
        """Set an instance back, as if its process had died before these steps were on disk."""
        message_id = await self.send({"id": event_id}, queue_of(WORKFLOW))
        location = self.platform.store.location
        for name in names:
            change(location, "delete from workflow_steps where instance_id = ? and name = ?", event_id, name)
        reset = "update workflow_instances set ended_at_ms = null, message_id = ? where id = ?"
        change(location, reset, message_id, event_id)


@asynccontextmanager
async def open_rooms(folder: Path, database: str = "sqlite") -> AsyncIterator[Rooms]:
    """Open the rooms of one server."""
    async with open_servers(folder, database, 1) as (rooms,):
        yield rooms


@asynccontextmanager
async def open_servers(folder: Path, database: str = "postgres", servers: int = 2) -> AsyncIterator[list[Rooms]]:
    """Open the rooms of several servers on one database; all of them begin by making the queues."""
    clock = ManualClock()
    with prepared(database, folder, SCHEMA) as opener:
        stores = [opener(clock) for _ in range(servers)]
        try:
            rooms = [_rooms(store, clock) for store in stores]
            await asyncio.gather(*[_make_queues(one.platform) for one in rooms])
            yield rooms
        finally:
            for store in stores:
                await store.close()


def _rooms(store: SqlStore, clock: ManualClock) -> Rooms:
    telemetry = Telemetry()
    catalog, broker = Catalog(store, clock), Broker(store, clock, telemetry)
    return Rooms(Platform(store, catalog, broker, telemetry, clock, Outbound()), clock)


async def _make_queues(platform: Platform) -> None:
    runs = QueueNeed(name=queue_of(WORKFLOW), settings=SETTINGS, consumer=CONSUMER)
    await ensure_queues(platform, ACCOUNT, (*NEEDS, runs))
