"""What applications are given before the door opens."""

from pathlib import Path

from millrace.broker import Broker
from millrace.catalog import Catalog
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


async def test_a_queue_is_made_with_its_consumer_at_once_and_left_alone_afterwards(tmp_path: Path) -> None:
    """Were they two transactions, a start that is killed between them would leave a queue without its consumer."""
    path, clock = str(tmp_path / "store.db"), ManualClock()
    prepare(path, "platform")
    store = sqlite_store(path, clock)
    catalog, telemetry = Catalog(store, clock), Telemetry()
    platform = Platform(store, catalog, Broker(store, clock, telemetry), telemetry, clock, Outbound(()))

    for _ in range(2):
        await ensure_queues(platform, ACCOUNT, (NEED,))

    queue = await catalog.queue_named(ACCOUNT, "work")
    assert queue.consumer is not None
    assert (queue.consumer.settings.max_retries, queue.settings.message_retention_period) == (4, None)
    noted = await store.read(lambda tx: page(tx, ACCOUNT, 10))
    assert [(entry.act, entry.object) for _, entry, _ in reversed(noted)] == [
        ("queue.created", "queue work"),
        ("queue.created", "queue dead"),
    ]
    await store.close()
