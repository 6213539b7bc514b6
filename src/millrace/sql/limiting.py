"""Rate limits, as functions of an open transaction: the bucket of a queue's consumer is taken from where it leases."""

from collections.abc import Sequence

import msgspec

from millrace import bucket
from millrace.bucket import Bucket, Rate
from millrace.sql.queue_state import QueueState
from millrace.sql.transaction import Row, Transaction


class Allowance(msgspec.Struct, frozen=True):
    """What the consumer may take now: so many messages, and when the next one."""

    rate: Rate
    bucket: Bucket
    may_take: int
    next_at_ms: int


def find(tx: Transaction, state: QueueState, now_ms: int) -> Allowance | None:
    """Give what the consumer may take; None where it has no rate limit."""
    consumer = state.queue.consumer
    limit = consumer.settings.rate_limit if consumer is not None else None
    if limit is None:
        return None
    tx.hold(f"rate {state.queue.id}")
    rate = Rate(limit.messages, limit.per_seconds)
    row = tx.fetch_one("rate_bucket", (state.queue.id,))
    filled = bucket.fill(Bucket(*row) if row else None, rate, now_ms)
    return Allowance(rate, filled, bucket.whole(filled), bucket.next_at_ms(filled, rate))


def take(tx: Transaction, state: QueueState, allowance: Allowance, rows: Sequence[Row]) -> Sequence[Row]:
    """Give as many of the rows as may be taken, and take them off the bucket."""
    rows = rows[: allowance.may_take]
    left = allowance.bucket.tokens - len(rows)
    tx.apply("set_rate_bucket", (state.queue.id, left, allowance.bucket.at_ms))
    return rows
