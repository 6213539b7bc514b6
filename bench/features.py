"""What each opt-in feature costs the queue that uses it, beside a plain queue in the same run."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from bench.floor import BODY
from bench.store import ROUNDS, Rig
from bench.table import Table
from millrace.clock import wall_ms
from millrace.consumer import Consumer, ConsumerSettings, RateLimit
from millrace.ids import new_id
from millrace.message import Features, Stamped
from millrace.queue import Forward, Queue, QueueSettings
from millrace.settlement import Ack
from millrace.store import Store

ROWS, PER_SEND, CALLERS = 10_000, 100, 4
WANTED = 0.25  # a forward writes two rows for one, and an order is kept key by key
KEYS = 1_000
NEVER_REACHED = 1_000_000  # messages a second: what is measured is the bucket
HEADERS = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tenant": "acme"}

Asked = Callable[[int], Mapping[str, Any]]


class Feature(NamedTuple):
    """What messages ask for, by their number, and the settings of their queue and consumer."""

    name: str
    asked: Asked = lambda number: {}
    queue: QueueSettings = QueueSettings()
    consumer: Mapping[str, Any] = {}


FEATURES = (
    Feature("two headers", lambda number: {"headers": HEADERS}),
    Feature("three priorities", lambda number: {"features": Features(priority=number % 3)}),
    Feature(f"ordering keys, {KEYS:,}", lambda number: {"features": Features(ordering_key=f"key-{number % KEYS}")}),
    Feature("deduplication keys", lambda number: {"features": Features(dedupe_key=new_id())}),
    Feature("a rate limit", consumer={"rate_limit": RateLimit(NEVER_REACHED, 1)}),
    Feature("a forward, kept here too", queue=QueueSettings(forwards=(Forward(queue="copies"),))),
    Feature("a send time that has come", lambda number: {"is_timed": True, "features": Features(wall_ms())}),
)


async def measure(folder: Path, table: Table) -> None:
    """Send to and drain a queue of each kind, in turn with a plain one."""
    rig = await Rig.set_up(folder / "features")
    await rig.store.create_queue(_queue(Feature("copies"), "copies"))
    for feature in FEATURES:
        rates = []
        for _ in range(ROUNDS):
            plain = await _through(rig.store, Feature("plain"))
            rates.append((await _through(rig.store, feature), plain))
        table.ratio(f"queue with {feature.name} (floor: plain)", rates, WANTED)
    await rig.store.close()


async def _through(store: Store, feature: Feature) -> float:
    """Send messages to a new queue and drain it; messages a second."""
    queue = await store.create_queue(_queue(feature, new_id()))
    batches = [_stamped(feature.asked, first) for first in range(0, ROWS, PER_SEND)]
    began = perf_counter()
    for first in range(0, len(batches), CALLERS):
        await asyncio.gather(*(store.send(queue.id, batch) for batch in batches[first : first + CALLERS]))
    await _drain(store, queue.id)
    return ROWS / (perf_counter() - began)


async def _drain(store: Store, queue_id: str) -> None:
    left = ROWS
    while left > 0:
        received = await store.receive(queue_id, PER_SEND, 60_000, wall_ms())
        await store.settle(queue_id, [(message.lease, Ack()) for message in received.messages], wall_ms())
        left -= len(received.messages)


def _queue(feature: Feature, name: str) -> Queue:
    settings = ConsumerSettings(batch_size=PER_SEND, max_wait_time_ms=0, **feature.consumer)
    consumer = Consumer(id=new_id(), type="worker", created_at_ms=0, settings=settings)
    return Queue(
        id=new_id(),
        account_id="bench",
        name=name,
        created_at_ms=0,
        modified_at_ms=0,
        settings=feature.queue,
        consumer=consumer,
    )


def _stamped(asked: Asked, first: int) -> list[Stamped]:
    now_ms = wall_ms()
    return [
        Stamped(
            id=new_id(),
            body=BODY,
            content_type="json",
            sent_at_ms=now_ms,
            visible_at_ms=now_ms,
            source="http",
            **asked(number),
        )
        for number in range(first, first + PER_SEND)
    ]
