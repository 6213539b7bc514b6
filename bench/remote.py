"""Figures of consumers elsewhere: batches over HTTP beside the consumer in the server, and pulls that wait."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from bench.door import KEY, ROUNDS, cpu_seconds, start_server
from bench.store import Rig
from bench.table import Table
from millrace.batch import MessageBatch
from millrace.client.async_calls import AsyncCalls
from millrace.client.asynchronous import AsyncClient
from millrace.client.feed import RemoteFeed
from millrace.client.retries import NONE
from millrace.handlers import as_call
from millrace.runtime.consumer import QueueConsumer
from millrace.telemetry import Telemetry

ROWS = 30_000
BODY = {"test": "data", "padding": "x" * 150}
WAITED_FOR = 300  # messages, one at a time, while so many pulls wait
IDLE_SECONDS = 22  # one whole wait
PULL = b'{"batch_size": 1, "wait_seconds": 20}'


async def measure(folder: Path, table: Table) -> None:
    """Measure with a server of its own."""
    with start_server(folder / "remote") as (address, process):
        async with AsyncClient(address, KEY) as client:
            await _beside_in_process(folder, table, address, client)
            await _latency(table, address, client, process.pid)
            await _waiters(table, address, client, process.pid)


def measure_import(table: Table) -> None:
    """Measure how long `import millrace` takes, beside a Python that imports nothing."""
    took = []
    for _ in range(7):
        with_it, without = _seconds_of("import millrace"), _seconds_of("pass")
        took.append(1000 * (with_it - without))
    table.line(f"{'import millrace':<58} {sorted(took)[3]:.0f} ms (wanted 100)")


async def _beside_in_process(folder: Path, table: Table, address: str, client: AsyncClient) -> None:
    """Drain the same number of messages over HTTP and in the process, in turn."""
    await _make_queue(client, "drained", batch_size=100)
    rig = await Rig.set_up(folder / "in-process")
    rates = []
    for _ in range(ROUNDS):
        await rig.send(ROWS, per_send=100, callers=8)
        in_process = await rig.consume(ROWS)
        await client.send_batch("drained", [{"body": BODY} for _ in range(ROWS)])
        rates.append((await _drain(address, "drained", ROWS), in_process))
    await rig.store.close()
    table.ratio("consumer over HTTP, batches of 100 (floor: in process)", rates, 0.4)


async def _drain(address: str, queue: str, rows: int) -> float:
    done, seen = asyncio.Event(), 0

    async def handle(batch: MessageBatch) -> None:
        nonlocal seen
        seen += len(batch.messages)
        if seen >= rows:
            done.set()

    async with _consuming(address, queue, handle):
        began = perf_counter()
        await done.wait()
        return rows / (perf_counter() - began)


async def _latency(table: Table, address: str, client: AsyncClient, server: int) -> None:
    """Send at 50 a second with a window of nothing; from the send's first byte to the handler of a remote consumer."""
    queue_id = await _make_queue(client, "quick", batch_size=10)
    producer = _Connection(address, f"/client/v4/accounts/local/queues/{queue_id}/messages")
    await producer.connect()
    took: list[float] = []
    done = asyncio.Event()

    async def handle(batch: MessageBatch) -> None:
        now = perf_counter()
        took.extend((now - float(str(message.body))) * 1000 for message in batch.messages)
        if len(took) >= WAITED_FOR:
            done.set()

    async with _consuming(address, "quick", handle):
        await asyncio.sleep(0.5)
        for _ in range(WAITED_FOR):
            producer.post(f'{{"body": {perf_counter()}}}'.encode())
            await asyncio.sleep(1 / 50)
        await done.wait()
        before, began = cpu_seconds(server), time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        idle = 100 * (cpu_seconds(server) - before) / (time.monotonic() - began)
    producer.close()
    table.line(f"{'idle server with a consumer over HTTP':<58} {idle:.2f} % of a core (wanted 0.5)")
    table.times("send to handler over HTTP at 50/s, window 0", sorted(took), p50_ms=5, p99_ms=25)


async def _waiters(table: Table, address: str, client: AsyncClient, server: int) -> None:
    """Compare what 100 and 1,000 waiting pulls cost: per message that one of them gets, and while nothing comes."""
    queue_id = str((await client.create_queue("waited-for"))["queue_id"])
    await client.create_consumer("waited-for", type="http_pull", visibility_timeout_ms=3_600_000)
    for count in (100, 1_000):
        path = f"/client/v4/accounts/local/queues/{queue_id}/messages/pull"
        pulls = [_Connection(address, path, on_answer=PULL) for _ in range(count)]
        for pull in pulls:
            await pull.connect()
            pull.post(PULL)
        await asyncio.sleep(1)
        before = cpu_seconds(server)
        for _ in range(WAITED_FOR):
            await client.send("waited-for", 1)
            await asyncio.sleep(0.005)
        spent_ms = 1000 * (cpu_seconds(server) - before) / WAITED_FOR
        before, began = cpu_seconds(server), time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        idle = 100 * (cpu_seconds(server) - before) / (time.monotonic() - began)
        table.line(
            f"{f'{count:,} waiting pulls':<58} {spent_ms:.2f} ms of CPU a message, {idle:.2f} % of a core while idle"
        )
        for pull in pulls:
            pull.close()
        await asyncio.sleep(1)


class _Connection(asyncio.Protocol):
    """A connection that posts to one route, with as little work as Python allows; answers come in one piece."""

    def __init__(self, address: str, path: str, on_answer: bytes | None = None) -> None:
        self._place, self._on_answer = urlsplit(address), on_answer
        self._head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"

    async def connect(self) -> None:
        """Connect."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, self._place.hostname, self._place.port)

    def post(self, body: bytes) -> None:
        """Post a body."""
        self._transport.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def data_received(self, data: bytes) -> None:
        """Post again, where that is wanted."""
        if self._on_answer is not None:
            self.post(self._on_answer)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


@asynccontextmanager
async def _consuming(address: str, queue: str, handle: object) -> AsyncIterator[None]:
    calls = AsyncCalls(address, KEY, None, retries=NONE, timeout_seconds=30, chance=random.random)
    consumer = QueueConsumer(RemoteFeed(calls, queue), as_call(handle), Telemetry())  # type: ignore[arg-type]
    running = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        consumer.stop()
        await running
        await calls.close()


async def _make_queue(client: AsyncClient, name: str, batch_size: int) -> str:
    queue = await client.create_queue(name)
    await client.create_consumer(name, type="worker", script_name="bench", batch_size=batch_size, max_wait_time_ms=0)
    return str(queue["queue_id"])


def _seconds_of(program: str) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own program
    return perf_counter() - began
