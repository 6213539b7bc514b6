"""`millrace bench`: synthetic load on a server, in a queue of its own that is gone afterwards."""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from math import ceil
from time import perf_counter

import msgspec

from millrace.cli.printing import print_json, print_table
from millrace.client.asynchronous import AsyncClient
from millrace.client.retries import NONE
from millrace.errors import MillraceError, ServerFailed

BODY = {"test": "data", "padding": "x" * 150}
EVENT = {"payload": BODY, "metadata": {"sent_by": "millrace bench"}}
WAIT_SECONDS = 1
LOST_SECONDS = 30
LEASE_MS = 600_000

Call = Callable[[], Awaitable[int | None]]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a phase showed; times are those of single calls, as this client saw them."""

    phase: str
    messages: int
    calls: int
    seconds: float
    messages_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and its figures."""

    queue: str
    clients: int
    batch: int
    phases: list[Figures]


def run(arguments: argparse.Namespace) -> int:
    """Send, take and settle messages, and post events when that is asked for; print the figures."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the queue is deleted first
    report = asyncio.run(_measure(arguments))
    if arguments.json:
        print_json(report)
    else:
        heads = ("phase", "messages", "a second", "calls", "p50 ms", "p95 ms", "p99 ms")
        print_table(heads, [_row(phase) for phase in report.phases])
    return 0


async def _measure(arguments: argparse.Namespace) -> Report:
    name = arguments.queue or f"millrace-bench-{secrets.token_hex(4)}"
    messages, clients, batch = arguments.messages, arguments.clients, arguments.batch
    async with (
        AsyncClient.from_env(os.environ, url=arguments.url, token=arguments.token, retries=NONE) as client,
        _queue_for_a_while(client, name),
    ):
        phases = [
            await _load("send", clients, _sends(client, name, messages, batch)),
            await _load("receive + ack", clients, _takes(client, name, messages, batch)),
        ]
        if arguments.events:
            phases.append(await _load("events", clients, _events(client, arguments.events)))
    return Report(queue=name, clients=clients, batch=batch, phases=phases)


@asynccontextmanager
async def _queue_for_a_while(client: AsyncClient, name: str) -> AsyncIterator[None]:
    """Make a queue, and delete it in the end. One that is there already is refused, so nobody's messages are taken."""
    await client.create_queue(name)
    try:
        await client.create_consumer(name, type="http_pull", visibility_timeout_ms=LEASE_MS)
        yield
    finally:
        try:
            await client.delete_queue(name)
        except MillraceError as error:
            print(f"millrace: queue {name!r} could not be deleted: {error}", file=sys.stderr)


async def _load(phase: str, clients: int, call: Call) -> Figures:
    """Let so many clients call, each again and again, until a call says None."""
    took_ms: list[float] = []
    messages, began = 0, perf_counter()
    ended = began

    async def keep_calling() -> None:
        nonlocal messages, ended
        called = perf_counter()
        while (moved := await call()) is not None:
            now = perf_counter()
            if moved:
                took_ms.append(1000 * (now - called))
                messages, ended = messages + moved, now
            called = now

    calling = [asyncio.create_task(keep_calling()) for _ in range(clients)]
    try:
        await asyncio.gather(*calling)
    finally:
        for task in calling:
            task.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
    return figures_of(phase, messages, ended - began, took_ms)


def _sends(client: AsyncClient, queue: str, messages: int, batch: int) -> Call:
    left = messages

    async def send() -> int | None:
        nonlocal left
        size = min(batch, left)
        if not size:
            return None
        left -= size
        await client.send_batch(queue, [{"body": BODY}] * size)
        return size

    return send


def _takes(client: AsyncClient, queue: str, messages: int, batch: int) -> Call:
    left, latest = messages, perf_counter()

    async def take() -> int | None:
        nonlocal left, latest
        if left <= 0:
            return None
        taken = await client.receive(queue, batch, wait_seconds=WAIT_SECONDS)
        if taken:
            left, latest = left - len(taken), perf_counter()
            await client.settle(queue, acks=taken)
        elif left > 0 and perf_counter() - latest > LOST_SECONDS:
            raise ServerFailed(f"{left} of {messages} messages did not come within {LOST_SECONDS} s")
        return len(taken)

    return take


def _events(client: AsyncClient, events: int) -> Call:
    left = events

    async def post() -> int | None:
        nonlocal left
        if not left:
            return None
        left -= 1
        await client.ask("POST", "/events", EVENT)
        return 1

    return post


def figures_of(phase: str, messages: int, seconds: float, took_ms: Sequence[float]) -> Figures:
    """Sum a phase up: what it moved in how long, and how long its calls took."""
    ordered = sorted(took_ms)
    p50_ms, p95_ms, p99_ms = (round(percentile(ordered, percent), 2) for percent in (50, 95, 99))
    return Figures(
        phase=phase,
        messages=messages,
        calls=len(ordered),
        seconds=round(seconds, 3),
        messages_per_second=round(messages / seconds, 1) if seconds else 0.0,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
    )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Give the smallest value that so many percent of all do not exceed."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def _row(figures: Figures) -> tuple[str, ...]:
    times = (f"{ms:.1f}" for ms in (figures.p50_ms, figures.p95_ms, figures.p99_ms))
    rate = f"{figures.messages_per_second:,.0f}"
    return figures.phase, f"{figures.messages:,}", rate, f"{figures.calls:,}", *times
