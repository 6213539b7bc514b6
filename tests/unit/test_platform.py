"""What applications are given before the door opens."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.consumer import Consumer
from millrace.platform import Platform, QueueNeed, ensure_queues
from millrace.queue import QueueSettings
from millrace.resources.outbound import Outbound
from millrace.sql.audit import page
from millrace.sql.sqlite.connection import prepare
from millrace.sql.stores import sqlite_store
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock

ACCOUNT = "acc"
NEED = QueueNeed(
    name="work",
    settings=QueueSettings(message_retention_period=None),
    consumer={"type": "http_pull", "settings": {"max_retries": 4}, "dead_letter_queue": "dead"},
)


OWN = "apps/letters"


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    path, clock = str(tmp_path / "store.db"), ManualClock()
    prepare(path, "platform")
    store, telemetry = sqlite_store(path, clock), Telemetry()
    yield Platform(store, Catalog(store, clock), Broker(store, clock, telemetry), telemetry, clock, Outbound(()))
    await store.close()


def following(base_seconds: int, *, batch_size: int = 5) -> QueueNeed:
    """Make a need whose backoff is a setting of the server."""
    settings = {"batch_size": batch_size, "backoff": {"kind": "exponential", "base_seconds": base_seconds}}
    consumer = {"type": "worker", "script_name": "letters", "applied_by": OWN, "settings": settings}
    return QueueNeed(name="work", consumer=consumer, follows=("backoff",))


async def consumer_of(platform: Platform) -> Consumer:
    consumer = (await platform.catalog.queue_named(ACCOUNT, "work")).consumer
    assert consumer is not None
    return consumer


async def base_seconds_of(platform: Platform) -> float:
    backoff = (await consumer_of(platform)).settings.backoff
    assert backoff is not None
    assert backoff.base_seconds is not None
    return backoff.base_seconds


async def acts(platform: Platform) -> list[tuple[str, str]]:
    noted = await platform.store.read(lambda work: page(work, ACCOUNT, 10))
    return [(entry.act, entry.object) for _, entry, _ in reversed(noted)]


async def test_a_queue_is_made_with_its_consumer_at_once_and_left_alone_afterwards(platform: Platform) -> None:
    """Were they two transactions, a start that is killed between them would leave a queue without its consumer."""
    for _ in range(2):
        await ensure_queues(platform, ACCOUNT, (NEED,))

    queue = await platform.catalog.queue_named(ACCOUNT, "work")
    assert queue.consumer is not None
    assert (queue.consumer.settings.max_retries, queue.settings.message_retention_period) == (4, None)
    assert await acts(platform) == [("queue.created", "queue work"), ("queue.created", "queue dead")]


async def test_a_setting_that_follows_the_server_is_changed_and_noted_and_the_others_stay(platform: Platform) -> None:
    await ensure_queues(platform, ACCOUNT, (following(60),))
    before = await consumer_of(platform)

    for _ in range(2):
        await ensure_queues(platform, ACCOUNT, (following(30, batch_size=7),))

    after = await consumer_of(platform)
    assert await base_seconds_of(platform) == 30
    assert (after.id, after.settings.batch_size, after.applied_by) == (before.id, 5, OWN)
    assert await acts(platform) == [("queue.created", "queue work"), ("consumer.changed", "queue work")]


async def test_a_consumer_that_a_file_has_attached_follows_nothing(platform: Platform) -> None:
    need = following(60)
    await ensure_queues(platform, ACCOUNT, (need,))
    queue = await platform.catalog.queue_named(ACCOUNT, "work")
    await platform.catalog.set_consumer(ACCOUNT, queue.id, {**(need.consumer or {}), "applied_by": "shop"})

    await ensure_queues(platform, ACCOUNT, (following(30),))

    assert await base_seconds_of(platform) == 60


async def test_a_queue_whose_consumer_was_detached_follows_nothing(platform: Platform) -> None:
    await ensure_queues(platform, ACCOUNT, (following(60),))
    queue = await platform.catalog.queue_named(ACCOUNT, "work")
    await platform.catalog.detach(ACCOUNT, queue.id, (await consumer_of(platform)).id)

    await ensure_queues(platform, ACCOUNT, (following(30),))

    assert (await platform.catalog.queue_named(ACCOUNT, "work")).consumer is None
