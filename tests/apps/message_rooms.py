"""The messaging application without its doors, on a clock that the tests move, with a provider that keeps what it gets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from millrace.access.cipher import Cipher
from millrace.apps.messaging import rows
from millrace.apps.messaging.app import SCHEMA
from millrace.apps.messaging.consumer import Delivery, Process
from millrace.apps.messaging.jobs import Job, Letter, read_job
from millrace.apps.messaging.letters import hand_to
from millrace.apps.messaging.providers.contract import Handed
from millrace.apps.messaging.queueing import By, Queued, Rules, queue_jobs
from millrace.apps.messaging.queues import DEAD_LETTERS, QUEUE, needs
from millrace.apps.messaging.rows import Row
from millrace.apps.messaging.sealing import Seals
from millrace.bindings import Env
from millrace.broker import Broker
from millrace.bucket import Rate
from millrace.catalog import Catalog
from millrace.handlers import as_call
from millrace.message import Message, Outgoing
from millrace.platform import Platform, ensure_queues
from millrace.resources.outbound import Outbound
from millrace.runtime.reaper import Reaper
from millrace.sql.store import SqlStore
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock
from millrace.testing.delivering import Line
from tests.apps.databases import prepared

ACCOUNT = "local"
CONTENT = "the content that nobody may see"
BASE_SECONDS = 60
Answer = Exception | asyncio.Event | Callable[[], object]


class Recorder:
    """A provider that keeps the ids of what it is asked to send, and answers as it is told, else takes the message.

    `answers[id]` is a list, one entry for each attempt: an error to raise, an event to wait for, or a function to
    call; the last one counts for all further attempts.
    """

    name = "recorder"

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.taken: list[str] = []
        self.answers: dict[str, list[Answer]] = {}
        self.asked = asyncio.Event()

    async def send(self, account_id: str, letter: Letter, *, has_turn: bool = False) -> Handed:
        self.tried.append(letter.message_id)
        self.asked.set()
        told = self.answers.get(letter.message_id, [])
        answer = (told.pop(0) if len(told) > 1 else told[0]) if told else None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        elif answer is not None:
            answer()
        self.taken.append(letter.message_id)
        return Handed(provider=self.name, provider_id=f"taken-{len(self.taken)}")

    async def aclose(self) -> None:
        pass


class Rooms:
    """What the tests of messages say again and again."""

    def __init__(self, platform: Platform, clock: ManualClock, rules: Rules, provider: Recorder) -> None:
        self.platform, self.clock, self.rules, self.provider = platform, clock, rules, provider
        self.events: list[tuple[str, dict[str, Any]]] = []
        platform.telemetry.subscribe(lambda name, fields: self.events.append((name, fields)), *JOB_EVENTS)
        send = hand_to(provider)
        self.processes: dict[str, Process] = {"email_send": send, "sms_send": send}
        self.delivery = Delivery(platform, rules, self.processes)
        self.line = Line(platform, ACCOUNT, QUEUE, as_call(self.delivery), Env({"ACCOUNT_ID": ACCOUNT}))
        self.sweep = Reaper(platform.store, clock, platform.telemetry).sweep  # what a server does in the background

    def on_cipher(self, key: bytes | None) -> "Rooms":
        """Give the rooms of a server on the same store that has this master key."""
        rules = self.rules._replace(seals=Seals(None if key is None else Cipher(key)))
        return Rooms(self.platform, self.clock, rules, self.provider)

    def again(self, store: Any = None) -> "Rooms":
        """Give the rooms of the same server, started again."""
        platform = self.platform if store is None else self.platform._replace(store=store)
        return Rooms(platform, self.clock, self.rules, self.provider)

    async def queue(self, *given: Any) -> list[Queued]:
        """Queue jobs, all or none."""
        jobs: list[Job] = [read_job(one) for one in given]
        by = By("key-1", "request-1")
        return await self.platform.write(lambda work: queue_jobs(work, ACCOUNT, jobs, self.rules, by))

    async def send(self, body: object, content_type: str = "json", **more: Any) -> str:
        """Send a message straight into the queue and give its id."""
        found = await self.platform.catalog.queue_named(ACCOUNT, QUEUE)
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        outgoing = Outgoing(body=raw, content_type=content_type, **more)
        return (await self.platform.broker.send(found, outgoing, max_bytes=200_000)).id

    async def deliver(self) -> None:
        """Give the handler what is due, until there is nothing more."""
        while await self.line.deliver():
            pass

    async def run(self, hours: float = 24) -> list[float]:
        """Deliver and move the clock on, until nothing is left; give the seconds between the deliveries."""
        until_ms, gaps = self.clock() + hours * 3_600_000, []
        await self.deliver()
        while (due_at_ms := await self.line.next_due_ms()) is not None and due_at_ms <= until_ms:
            gaps.append((due_at_ms - self.clock()) / 1000)
            self.clock.now_ms = due_at_ms
            await self.deliver()
        return gaps

    async def row(self, message_id: str) -> Row:
        return await self.platform.read(lambda work: rows.find(work, ACCOUNT, message_id))

    async def story(self, message_id: str) -> list[str]:
        """Give the statuses of a job, oldest first."""
        changes = await self.platform.read(lambda work: rows.history(work, ACCOUNT, message_id))
        return [change.status for change in changes]

    async def messages(self, queue: str = QUEUE) -> list[Message]:
        found = await self.platform.catalog.queue_named(ACCOUNT, queue)
        return await self.platform.store.peek(found.id, 100, self.clock())

    async def dead(self) -> list[str | None]:
        """Give the reasons of the dead letters."""
        return [message.reason for message in await self.messages(DEAD_LETTERS)]

    def ends(self) -> list[tuple[str, str | None]]:
        """Give outcome and reason of each attempt so far."""
        return [(fields["outcome"], fields["reason"]) for name, fields in self.events if name == "job.ended"]


JOB_EVENTS = ("job.begun", "job.ended", "message.failed")


def email(message_id: str = "msg-1", **more: Any) -> dict[str, Any]:
    given = {"recipient": "ada@example.com", "subject": "Hello", "content": CONTENT, "priority": "high"}
    return {"type": "email_send", "messageId": message_id, **given, **more}


def sms(message_id: str = "sms-1", **more: Any) -> dict[str, Any]:
    given = {"recipient": "+15005550006", "content": CONTENT, "priority": "high"}
    return {"type": "sms_send", "messageId": message_id, **given, **more}


def export(export_id: str = "export-1", **more: Any) -> dict[str, Any]:
    given = {"filters": {"startDate": "2026-01-01"}, "userId": "user-1", "format": "csv"}
    return {"type": "export_generation", "exportId": export_id, **given, **more}


def cleanup(target: str = "message_queue", older_than: str = "2026-01-31", **more: Any) -> dict[str, Any]:
    return {"type": "cleanup", "target": target, "olderThan": older_than, **more}


@asynccontextmanager
async def open_rooms(folder: Path, database: str = "sqlite", **more: Any) -> AsyncIterator[Rooms]:
    """Open the rooms of one server."""
    async with open_servers(folder, database, 1, **more) as (rooms,):
        yield rooms


@asynccontextmanager
async def open_servers(
    folder: Path,
    database: str = "postgres",
    servers: int = 2,
    *,
    key: bytes | None = None,
    recipient_rate: Rate | None = None,
) -> AsyncIterator[list[Rooms]]:
    """Open the rooms of several servers on one database, which hand messages to one provider."""
    clock, provider = ManualClock(), Recorder()
    rules = Rules(Seals(None if key is None else Cipher(key)), recipient_rate)
    with prepared(database, folder, SCHEMA) as opener:
        stores = [opener(clock) for _ in range(servers)]
        try:
            rooms = [Rooms(_platform(store, clock), clock, rules, provider) for store in stores]
            await ensure_queues(rooms[0].platform, ACCOUNT, needs(BASE_SECONDS))
            yield rooms
        finally:
            for store in stores:
                await store.close()


def _platform(store: SqlStore, clock: ManualClock) -> Platform:
    telemetry = Telemetry()
    catalog, broker = Catalog(store, clock), Broker(store, clock, telemetry)
    return Platform(store, catalog, broker, telemetry, clock, Outbound())
