"""Figures of the job queue over HTTP, beside a push to a plain queue of the same server: another durable call."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from bench.door import KEY, ROUNDS, start_server
from bench.table import Table

DEEP = 10_000
PAIRS = 300
CROWD, CLIENTS, TENS = 1_000, 8, 10
FILLERS = 64
QUEUES = "/client/v4/accounts/local/queues"


async def measure(folder: Path, table: Table) -> None:
    """Measure with a server of its own."""
    with start_server(folder / "jobs") as (address, _):
        lines = [Line(address) for _ in range(FILLERS)]
        await asyncio.gather(*(line.connect() for line in lines))
        await _crowd(table, lines[:CLIENTS])
        await _enqueue(lines, DEEP)
        await _one_by_one(table, lines[0])
        for line in lines:
            line.close()


async def _crowd(table: Table, lines: list["Line"]) -> None:
    """Enqueue jobs one by one, then pull and acknowledge them in tens; beside as many calls of the plain push."""
    queue_id = (await lines[0].ask(QUEUES, {"queue_name": "plain"}))["result"]["queue_id"]
    enqueued, settled = [], []
    for _ in range(ROUNDS):
        plain = await _rate(lines, CROWD, lambda line: line.ask(f"{QUEUES}/{queue_id}/messages", {"body": "plain"}))
        enqueued.append((await _enqueue(lines, CROWD), plain))
        settled.append((TENS * await _rate(lines, CROWD // TENS, _pull_and_ack), TENS * plain / 2))
    table.ratio(f"/jobs/enqueue, {CLIENTS} clients (floor: push)", enqueued, 0.3)
    table.ratio(f"/jobs/pull + ack in tens, {CLIENTS} clients (floor: two pushes)", settled, 0.15)
    table.rate(f"jobs pulled and acknowledged so, of {CROWD:,}", median(rate for rate, _ in settled), 1_000)


async def _one_by_one(table: Table, line: "Line") -> None:
    took_ms = []
    for _ in range(PAIRS):
        began = perf_counter()
        await _pull_and_ack(line, 1)
        took_ms.append(1000 * (perf_counter() - began))
    table.typical(f"/jobs/pull + /jobs/ack of one job, among {DEEP:,}", sorted(took_ms), p50_ms=5)


async def _enqueue(lines: list["Line"], jobs: int) -> float:
    async def enqueue(line: Line) -> None:
        await line.ask("/jobs/enqueue", {"runId": f"run-{line.number}", "tenantId": "bench", "r2Key": "in/bench.txt"})

    return await _rate(lines, jobs, enqueue)


async def _pull_and_ack(line: "Line", jobs: int = TENS) -> None:
    pulled = (await line.ask("/jobs/pull", {"max": jobs}))["jobs"]
    assert len(pulled) == jobs, len(pulled)
    ids, leases = [job["id"] for job in pulled], [job["leaseId"] for job in pulled]
    await line.ask("/jobs/ack", {"ids": ids, "leaseIds": leases, "status": "done"})


async def _rate(lines: list["Line"], calls: int, call: Callable[["Line"], Awaitable[Any]]) -> float:
    """Let each line call until there were so many calls; give calls a second."""
    left = calls

    async def keep_calling(line: Line) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call(line)

    began = perf_counter()
    await asyncio.gather(*(keep_calling(line) for line in lines))
    return calls / (perf_counter() - began)


class Line(asyncio.Protocol):
    """A connection on which one call follows the other, with as little work as Python allows."""

    number = 0  # of calls, on all lines

    def __init__(self, address: str) -> None:
        self._place = urlsplit(address)
        self._received = b""

    async def connect(self) -> None:
        """Connect."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, self._place.hostname, self._place.port)

    async def ask(self, path: str, body: object) -> Any:
        """Post a body of JSON and give the answer's."""
        Line.number += 1
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(content)}"
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(head.encode() + b"\r\n\r\n" + content)
        return json.loads(await self._answer)

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._received = b""
        if head.startswith(b"HTTP/1.1 20"):
            self._answer.set_result(body)
        else:
            self._answer.set_exception(RuntimeError(f"{head[:15]!r}: {body[:500]!r}"))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()
