"""Figures of the store and of the consumer in its own process."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter

from bench.floor import BODY, raw_inserts_per_second
from bench.table import Table
from millrace.batch import MessageBatch
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.clock import wall_ms
from millrace.consumer import Consumer, ConsumerSettings
from millrace.handlers import as_call
from millrace.ids import new_id
from millrace.message import Stamped
from millrace.queue import Queue
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.feed import QueueFeed
from millrace.settlement import Ack
from millrace.sql.sqlite.connection import prepare
from millrace.sql.store import SqlStore
from millrace.sql.stores import sqlite_store
from millrace.telemetry import Telemetry

ROUNDS = 3
DEEP = 1_000_000
NO_SLOWER = 0.8  # of the empty queue measured in the same run: depth and many queues must cost nothing


class Rig:
    """A fresh store with one queue."""

    def __init__(self, store: SqlStore, queue: Queue) -> None:
        self.store, self.queue = store, queue

    @classmethod
    async def set_up(cls, folder: Path, queues: int = 1) -> "Rig":
        """Make a store with so many queues."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        path = str(folder / "bench.db")
        prepare(path, "bench")
        return await cls.over(sqlite_store(path, wall_ms), queues)

    @classmethod
    async def over(cls, store: SqlStore, queues: int = 1) -> "Rig":
        """Make so many queues in an empty store."""
        made = [await store.create_queue(_queue(number)) for number in range(queues)]
        return cls(store, made[-1])

    async def beside(self) -> "Rig":
        """Make a further queue in the same store."""
        return type(self)(self.store, await self.store.create_queue(_queue(-1)))

    async def send(self, rows: int, *, per_send: int, callers: int) -> float:
        """Send from several callers at once and give messages a second."""
        left = rows

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= per_send
                await self.store.send(self.queue.id, _stamped(per_send))

        began = perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return rows / (perf_counter() - began)

    async def drain(self, rows: int, workers: int) -> float:
        """Receive and acknowledge in batches of 100, settling one batch while receiving the next."""
        left = rows

        async def worker() -> None:
            nonlocal left
            held: list[tuple[object, Ack]] = []
            while left > 0:
                left -= 100
                receiving = self.store.receive(self.queue.id, 100, 60_000, wall_ms())
                received, _ = await asyncio.gather(receiving, self._settle(held))
                held = [(message.lease, Ack()) for message in received.messages]
            await self._settle(held)

        began = perf_counter()
        await asyncio.gather(*(worker() for _ in range(workers)))
        return rows / (perf_counter() - began)

    async def take(self, limit: int) -> int:
        """Receive and acknowledge once; give how many messages that were."""
        received = await self.store.receive(self.queue.id, limit, 60_000, wall_ms())
        await self._settle([(message.lease, Ack()) for message in received.messages])
        return len(received.messages)

    async def _settle(self, held: list) -> None:  # type: ignore[type-arg]
        if held:
            await self.store.settle(self.queue.id, held, wall_ms())

    async def consume(self, rows: int) -> float:
        """Let the consumer hand everything to a handler that does nothing; messages a second."""
        done, seen = asyncio.Event(), 0

        async def handle(batch: MessageBatch) -> None:
            nonlocal seen
            seen += len(batch.messages)
            if seen >= rows:
                done.set()

        consumer = _consumer(self, handle)
        began = perf_counter()
        running = asyncio.create_task(consumer.run())
        await done.wait()
        rate = rows / (perf_counter() - began)
        consumer.stop()
        await running
        return rate

    async def latencies(self, messages: int, per_second: float) -> list[float]:
        """Send at a steady pace with a window of nothing; milliseconds from send to handler, sorted."""
        sent: dict[str, float] = {}
        took: list[float] = []
        done = asyncio.Event()

        async def handle(batch: MessageBatch) -> None:
            now = perf_counter()
            took.extend((now - sent[message.id]) * 1000 for message in batch.messages)
            if len(took) >= messages:
                done.set()

        consumer = _consumer(self, handle)
        running = asyncio.create_task(consumer.run())
        await asyncio.sleep(0.2)
        for _ in range(messages):
            (message,) = _stamped(1)
            sent[message.id] = perf_counter()
            await self.store.send(self.queue.id, [message])
            await asyncio.sleep(1 / per_second)
        await done.wait()
        consumer.stop()
        await running
        return sorted(took)


async def measure(folder: Path, table: Table) -> None:
    """Measure everything that needs no HTTP."""
    rig = await Rig.set_up(folder / "store")
    send = await _sends(rig, folder, table)
    drain = await _drains(rig, folder, table, send)
    await _latency(rig, table)
    await rig.store.close()
    await _many_queues(folder, table, send, drain)


async def _sends(rig: Rig, folder: Path, table: Table) -> float:
    """Measure sends to an empty queue; give the ratio that a deep one is held against."""
    batches = await _beside(
        table, "send, batches of 100, 8 in flight", folder, 100, lambda: rig.send(60_000, per_send=100, callers=8), 0.5
    )
    await _beside(
        table,
        "send one by one, 1 caller (floor: one row a commit)",
        folder,
        1,
        lambda: rig.send(3_000, per_send=1, callers=1),
        0.6,
    )
    await _beside(
        table, "send one by one, 32 callers", folder, 100, lambda: rig.send(40_000, per_send=1, callers=32), 0.2
    )
    await _beside(
        table, "send one by one, 256 callers", folder, 100, lambda: rig.send(60_000, per_send=1, callers=256), 0.3
    )
    await rig.drain(3 * 163_000, 4)
    return batches


async def _drains(rig: Rig, folder: Path, table: Table, send: float) -> float:
    """Measure the way out at depth 0 and a million; give the ratio that many queues are held against."""

    async def from_empty(workers: int) -> float:
        await rig.send(60_000, per_send=100, callers=8)
        return await rig.drain(60_000, workers)

    async def consumed() -> float:
        await rig.send(60_000, per_send=100, callers=8)
        return await rig.consume(60_000)

    empty = {}
    for workers in (1, 2):
        name = f"receive + settle by 100, depth 0, {workers} in flight"
        empty[workers] = await _beside(table, name, folder, 100, partial(from_empty, workers), 0.3)
    await _beside(table, "consumer end to end, depth 0", folder, 100, consumed, 0.22)
    await _deep(rig, folder, table, send, empty)
    return empty[2]


async def _deep(rig: Rig, folder: Path, table: Table, send: float, empty: Mapping[int, float]) -> None:
    """Measure the same beside a million messages, against what an empty queue gave."""
    await rig.send(DEEP, per_send=100, callers=8)
    for workers in (1, 2):
        name = f"receive + settle by 100, depth 1,000,000, {workers} in flight"
        drain = partial(rig.drain, 60_000, workers)
        await _beside(table, name, folder, 100, drain, NO_SLOWER * empty[workers])
    sent = partial(rig.send, 60_000, per_send=100, callers=8)
    await _beside(table, "send, batches of 100, depth 1,000,000", folder, 100, sent, NO_SLOWER * send)
    await rig.store.purge(rig.queue.id, wall_ms())
    while await rig.store.sweep():
        pass


async def _latency(rig: Rig, table: Table) -> None:
    took = await rig.latencies(250, 50)
    table.times("send to handler at 50/s, window 0", took, p50_ms=2, p99_ms=10)


async def _many_queues(folder: Path, table: Table, send: float, drain: float) -> None:
    rig = await Rig.set_up(folder / "many", queues=10_000)
    await _beside(
        table,
        "send, batches of 100, among 10,000 queues",
        folder,
        100,
        lambda: rig.send(60_000, per_send=100, callers=8),
        NO_SLOWER * send,
    )
    name = "receive + settle by 100, among 10,000 queues, 2 in flight"
    await _beside(table, name, folder, 100, lambda: rig.drain(60_000, 2), NO_SLOWER * drain)
    await rig.store.close()


async def _beside(
    table: Table, name: str, folder: Path, per_transaction: int, run: Callable[[], Awaitable[float]], wanted: float
) -> float:
    """Measure in turn with the floor and give the median of the ratios."""
    rows = 60_000 if per_transaction > 1 else 3_000
    rates = []
    for _ in range(ROUNDS):
        floor = await asyncio.to_thread(raw_inserts_per_second, folder, rows, per_transaction)
        rates.append((await run(), floor))
    return table.ratio(name, rates, wanted)


def _consumer(rig: Rig, handle: Callable[[MessageBatch], Awaitable[None]]) -> QueueConsumer:
    catalog, telemetry = Catalog(rig.store, wall_ms), Telemetry()
    broker = Broker(rig.store, wall_ms, telemetry)
    feed = QueueFeed(rig.store, catalog, broker, wall_ms, account_id="bench", queue=rig.queue.name)
    return QueueConsumer(feed, as_call(handle), telemetry)


def _queue(number: int) -> Queue:
    settings = ConsumerSettings(batch_size=100, max_wait_time_ms=0)
    consumer = Consumer(id=new_id(), type="worker", created_at_ms=0, settings=settings)
    return Queue(
        id=new_id(),
        account_id="bench",
        name=f"queue-{number}",
        created_at_ms=number,
        modified_at_ms=0,
        consumer=consumer,
    )


def _stamped(count: int) -> list[Stamped]:
    now_ms = wall_ms()
    return [
        Stamped(id=new_id(), body=BODY, content_type="json", sent_at_ms=now_ms, visible_at_ms=now_ms, source="http")
        for _ in range(count)
    ]
