"""A network between consumer and server that fails at every point of a call."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NamedTuple

import pytest

from millrace.batch import MessageBatch
from millrace.client import feed
from millrace.client.async_calls import AsyncCalls
from millrace.client.retries import NONE
from millrace.handlers import as_call
from millrace.runtime import consumer
from millrace.telemetry import Telemetry
from tests.acceptance.wire_cutter import POINTS, STALL, WireCutter
from tests.http.wire import a_name, backlog, push_text
from tests.support import KEY, Server
from tests.unit.receiver import answer

LEASE_MS = 1000
TEXTS = [f"message {number}" for number in range(10)]


class Delivery(NamedTuple):
    """What the handler got, and when."""

    text: str
    attempts: int
    at: float


class Rig:
    """A consumer behind a proxy, and what it noted."""

    def __init__(self, server: Server, cutter: WireCutter, name: str) -> None:
        self.server, self.cutter, self.name = server, cutter, name
        self.queue = server.create_queue(
            name, consumer={"type": "http_pull", "settings": {"batch_size": 10, "visibility_timeout_ms": LEASE_MS}}
        )
        self.deliveries: list[Delivery] = []
        self.events: list[str] = []
        self.handler_seconds = 0.0

    async def handle(self, batch: MessageBatch) -> None:
        self.deliveries += [Delivery(message.body, message.attempts, monotonic()) for message in batch.messages]
        await asyncio.sleep(self.handler_seconds)

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        """Consume the queue, as `millrace consume` does."""
        telemetry = Telemetry()
        telemetry.subscribe(lambda name, _: self.events.append(name), "handler.lease_lost", "server.unreachable")
        calls = AsyncCalls(self.cutter.url, KEY, None, retries=NONE, timeout_seconds=5, chance=random.random)
        consuming = consumer.QueueConsumer(feed.RemoteFeed(calls, self.name), as_call(self.handle), telemetry)
        running = asyncio.create_task(consuming.run())
        try:
            yield
        finally:
            consuming.stop()
            await running
            await calls.close()

    async def until_empty(self) -> None:
        async with asyncio.timeout(15):
            while await asyncio.to_thread(backlog, self.server, self.queue) != EMPTY:  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.02)

    def attempts(self) -> set[int]:
        return {delivery.attempts for delivery in self.deliveries}


EMPTY: Any = {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}


@pytest.fixture
async def rig(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A consumer of a queue with ten messages, with pauses that suit its short lease."""
    monkeypatch.setattr(consumer, "PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(feed, "GRACE_SECONDS", 0.05)
    async with WireCutter(server.url).serve() as cutter:
        made = Rig(server, cutter, a_name())
        push_text(server, made.queue, *TEXTS)
        yield made


@pytest.mark.parametrize("point", POINTS)
async def test_a_pull_that_is_cut_loses_nothing_and_leaves_the_lease_its_time(rig: Rig, point: str) -> None:
    rig.cutter.cut("pull", [point])

    async with rig.consuming():
        await rig.until_empty()

    assert rig.cutter.made == [("pull", point)]
    assert sorted(delivery.text for delivery in rig.deliveries) == sorted(TEXTS)
    assert rig.attempts() == {2 if point in ("before the answer", "in the answer") else 1}


@pytest.mark.parametrize("point", [*POINTS, STALL])
async def test_an_ack_that_is_cut_is_made_again_and_nothing_comes_twice(rig: Rig, point: str) -> None:
    rig.cutter.cut("ack", [point])

    async with rig.consuming():
        await rig.until_empty()

    assert rig.cutter.made == [("ack", point)]
    assert sorted(delivery.text for delivery in rig.deliveries) == sorted(TEXTS)
    assert rig.events == []


async def test_extensions_that_are_cut_are_made_again_before_the_lease_is_over(rig: Rig) -> None:
    rig.cutter.cut("extend", ["before the request", "before the answer"])
    rig.handler_seconds = 1.2

    async with rig.consuming():
        await rig.until_empty()

    assert len(rig.cutter.made) == 2
    assert rig.attempts() == {1}
    assert set(rig.events) == {"server.unreachable"}


async def test_a_network_that_fails_again_and_again_delivers_at_least_once_and_never_within_a_lease(rig: Rig) -> None:
    rig.cutter.cut("pull", ["in the answer", "before the request"])
    rig.cutter.cut("ack", ["in the request", "before the answer"])

    async with rig.consuming():
        await rig.until_empty()

    assert {delivery.text for delivery in rig.deliveries} == set(TEXTS)
    assert all(later - sooner > LEASE_MS / 1000 * 0.9 for sooner, later in _repeats(rig.deliveries))


@pytest.mark.parametrize(
    "instead",
    [
        answer(200, {"success": True, "result": {"message_backlog_count": 0, "messages": []}}),
        answer(429, {"success": False, "errors": [{"code": 971, "message": "slow down"}]}, Retry_After="5"),
    ],
)
async def test_a_server_that_holds_no_pull_or_asks_for_a_pause_is_not_asked_at_once(rig: Rig, instead: bytes) -> None:
    rig.cutter.instead["pull"] = instead

    async with rig.consuming():
        await asyncio.sleep(0.5)

    assert rig.cutter.made == [("pull", "instead")]


def _repeats(deliveries: list[Delivery]) -> list[tuple[float, float]]:
    """Give the times of any two deliveries of one message."""
    return [(a.at, b.at) for i, a in enumerate(deliveries) for b in deliveries[i + 1 :] if a.text == b.text]
