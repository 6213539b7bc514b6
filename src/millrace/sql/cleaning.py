"""Cleaning: what becomes of messages that nobody receives, in chunks that never hold the writer for long."""

from collections.abc import Sequence

from millrace import limits
from millrace.sql import queues
from millrace.sql.queues import QueueState, load
from millrace.sql.settling import move, settle_lapsed
from millrace.sql.transaction import Transaction
from millrace.store import Cleared


def bury_lapsed(tx: Transaction, now_ms: int) -> list[Cleared]:
    """Settle last deliveries whose lease has lapsed, in queues that nobody reads, too."""
    rows = tx.fetch("lapsed_last", (now_ms, limits.ROWS_PER_TRANSACTION))
    states: dict[int, QueueState | None] = {}
    for key, lane, kept_since_ms, attempts, failures, size in rows:
        if lane not in states:
            states[lane] = queues.find_lane(tx, lane)
        state = states[lane]
        if state is None:  # purged or deleted; the sweep will come by
            tx.apply("remove", (key,))
            continue
        settle_lapsed(tx, state, key, size, kept_since_ms, attempts, failures, now_ms)
    cleared: list[Cleared] = []
    for state in states.values():
        if state is not None:
            state.save(tx)
            cleared += state.cleared
    return cleared


def expire(tx: Transaction, queue_id: str, now_ms: int, after_key: int) -> tuple[list[Cleared], int | None]:
    """Remove one chunk of expired messages; give them, and the key to go on after.

    Arrival orders the table, and nothing is kept from before it was sent, so the scan ends at the first message
    that is too young to have expired.
    """
    state = load(tx, queue_id)
    expired_before_ms = now_ms - state.retention_ms
    rows = tx.fetch("in_order", (max(after_key, state.first_key), state.end_key, limits.ROWS_PER_TRANSACTION))
    old = [row for row in rows if row[1] <= expired_before_ms]
    expired = [row for row in old if row[2] <= expired_before_ms]
    tx.apply_many("remove", [(row[0],) for row in expired])
    state.add(-len(expired), -sum(row[3] for row in expired))
    state.save(tx)
    state.note_cleared("message.expired", len(expired))
    return state.cleared, old[-1][0] if len(old) == limits.ROWS_PER_TRANSACTION else None


def sweep(tx: Transaction) -> int:
    """Remove one chunk of a lane that a purge or a delete has let go."""
    row = tx.fetch_one("next_dropped_lane")
    if row is None:
        return 0
    first_key, end_key = queues.keys_of_lane(row[0])
    swept = tx.fetch("sweep_lane", (first_key, end_key, limits.ROWS_PER_TRANSACTION))
    if len(swept) < limits.ROWS_PER_TRANSACTION:
        tx.apply("delete_lane", (row[0],))
    return len(swept) + 1


def redrive(tx: Transaction, queue_id: str, now_ms: int, after_key: int) -> tuple[int, int | None]:
    """Move one chunk of buried messages back to where they came from."""
    state = load(tx, queue_id)
    bindings = {
        "after_key": max(after_key, state.first_key),
        "end_key": state.end_key,
        "now_ms": now_ms,
        "limit": limits.ROWS_PER_TRANSACTION,
    }
    rows = tx.fetch("buried", bindings)
    origins: dict[str, QueueState | None] = {}
    moved = 0
    for key, origin_queue_id, size in rows:
        if origin_queue_id not in origins:
            origins[origin_queue_id] = queues.find(tx, origin_queue_id)
        origin = origins[origin_queue_id]
        if origin is not None:
            move(tx, state, origin, key, size, now_ms, None, None)
            moved += 1
    for origin in origins.values():
        if origin is not None:
            origin.save(tx)
    state.save(tx)
    return moved, rows[-1][0] if len(rows) == limits.ROWS_PER_TRANSACTION else None


def discard(tx: Transaction, queue_id: str, refs: Sequence[tuple[int, str]]) -> list[bool]:
    """Remove messages by key and id."""
    state = load(tx, queue_id)
    found = []
    for key, message_id in refs:
        row = tx.fetch_one("discard", (key, message_id)) if state.first_key < key < state.end_key else None
        if row is not None:
            state.add(-1, -row[0])
        found.append(row is not None)
    state.save(tx)
    return found
