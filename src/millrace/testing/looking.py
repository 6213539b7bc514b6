"""A look at the messages in a queue, which changes nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from millrace.catalog import Catalog
from millrace.message import Message, decode_body
from millrace.queue import Queue
from millrace.sql import messages
from millrace.sql.queue_state import load
from millrace.sql.transaction import Transaction
from millrace.store import Store

ALL = 1 << 31
LAST_TIME_MS = round(datetime(9999, 12, 31, tzinfo=UTC).timestamp() * 1000)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A message in a queue.

    `attempts` counts the deliveries so far. `ready_at` is when the next may be, a time gone by if it is ready now.
    A dead letter has the queue that it came from as `origin`, and the `reason` why.
    """

    id: str
    body: Any
    attempts: int
    ready_at: datetime
    sent_at: datetime
    content_type: str
    headers: dict[str, str]
    origin: str | None
    reason: str | None


async def look(store: Store, catalog: Catalog, queue: Queue, now_ms: int) -> list[Waiting]:
    """Give all messages of the queue, oldest first."""

    def read(tx: Transaction) -> tuple[list[Message], dict[int, int]]:
        return messages.peek(tx, queue.id, ALL, now_ms, 0), _ready_times(tx, queue.id)

    found, ready_at_ms = await store.read(read)
    names = {queue.id: queue.name for queue in await catalog.queues(queue.account_id)}
    return [_waiting(message, ready_at_ms[message.lease.key], names) for message in found]


def _ready_times(tx: Transaction, queue_id: str) -> dict[int, int]:
    """Give the time at which each message is ready, by its key; a peek does not tell."""
    state = load(tx, queue_id)
    bounds = {"after_key": state.first_key, "end_key": state.end_key, "expired_before_ms": 0}
    return {key: visible_at_ms for key, visible_at_ms, *_ in tx.fetch("peek", {**bounds, "limit": ALL})}


def _waiting(message: Message, ready_at_ms: int, names: Mapping[str, str]) -> Waiting:
    return Waiting(
        id=message.id,
        body=decode_body(message.body, message.content_type),
        attempts=message.attempts,
        ready_at=_time(ready_at_ms),
        sent_at=_time(message.sent_at_ms),
        content_type=message.content_type,
        headers=message.headers or {},
        origin=names.get(message.origin_queue_id or ""),
        reason=message.reason,
    )


def _time(at_ms: int) -> datetime:
    """Give the time, or the last day that Python knows: what is scheduled may be due after the year 9999."""
    return datetime.fromtimestamp(min(at_ms, LAST_TIME_MS) / 1000, UTC)
