"""Cleaning: what becomes of messages that nobody receives, in chunks that never hold the writer for long."""

from collections.abc import Sequence
from typing import NamedTuple

from millrace import limits
from millrace.audit import Entry, following, shown_ids
from millrace.sql import audit, queue_state
from millrace.sql.lanes import SEQUENCE_BITS, keys_of_lane
from millrace.sql.ordering import free, hold_keys
from millrace.sql.queue_state import QueueState, load
from millrace.sql.settling import settle_lapsed
from millrace.sql.transaction import Transaction
from millrace.store import Cleared

SINCE_EVER_MS = -1


def bury_lapsed(tx: Transaction, now_ms: int) -> list[Cleared]:
    """Settle last deliveries whose lease has lapsed, in queues that nobody reads, too."""
    if tx.shares:
        _hold_keys_of_lapsed(tx, now_ms)
    rows = tx.fetch("lapsed_last", (now_ms, limits.ROWS_PER_TRANSACTION))
    states: dict[int, QueueState | None] = {}
    for key, lane, kept_since_ms, attempts, failures, size in rows:
        if lane not in states:
            states[lane] = queue_state.find_lane(tx, lane)
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


class Expired(NamedTuple):
    """What one chunk has removed, the key to go on after, and when the first of what it has left expires."""

    cleared: list[Cleared]
    after_key: int | None
    next_at_ms: int | None


def expire(tx: Transaction, queue_id: str, now_ms: int, after_key: int) -> Expired:
    """Remove one chunk of expired messages.

    Arrival orders the table, and nothing is kept from before it was sent, so the scan ends at the first message
    that is too young to have expired.
    """
    state = load(tx, queue_id)
    expired_before_ms = now_ms - state.retention_ms
    hold_keys(tx, state)
    rows = tx.fetch("in_order", (max(after_key, state.first_key), state.end_key, limits.ROWS_PER_TRANSACTION))
    old = [row for row in rows if row[1] <= expired_before_ms]
    ends = [(row[0], expired_before_ms) for row in old if row[2] <= expired_before_ms]
    left = [row[2] for row in old if row[2] > expired_before_ms] + [row[1] for row in rows[len(old) :]]
    expired = tx.apply_many("expire", ends)  # what another server settles at this moment is not among them
    state.add(-len(expired), -sum(size for size, *_ in expired))
    for ordering_key in [key for _, key, due_at_ms in expired if key is not None and due_at_ms is None]:
        free(tx, state, ordering_key, now_ms)
    state.save(tx)
    state.note_cleared("message.expired", len(expired))
    go_on_after = old[-1][0] if len(old) == limits.ROWS_PER_TRANSACTION else None
    return Expired(state.cleared, go_on_after, min(left) + state.retention_ms if left else None)


def sweep(tx: Transaction) -> int:
    """Remove one chunk of a lane that a purge or a delete has let go."""
    tx.hold("sweep")  # a chunk that another server removes at this moment would look like an empty lane
    row = tx.fetch_one("next_dropped_lane")
    if row is None:
        return 0
    first_key, end_key = keys_of_lane(row[0])
    swept = tx.fetch("sweep_lane", (first_key, end_key, limits.ROWS_PER_TRANSACTION))
    if not swept:
        tx.apply("delete_lane", (row[0],))
    return len(swept) + 1


def _hold_keys_of_lapsed(tx: Transaction, now_ms: int) -> None:
    """Hold the ordering keys of the lanes before the rows are locked, as all do."""
    for (lane,) in tx.fetch("lapsed_lanes", (now_ms, limits.ROWS_PER_TRANSACTION)):
        state = queue_state.find_lane(tx, lane)
        if state is not None:
            hold_keys(tx, state)


def discard(
    tx: Transaction, queue_id: str, refs: Sequence[tuple[int, str]], now_ms: int, entry: Entry | None = None
) -> list[bool]:
    """Remove messages by key and id."""
    return _take_out(tx, queue_id, "discard", list(refs), now_ms, entry)


def cancel(
    tx: Transaction, queue_id: str, refs: Sequence[tuple[int, str]], now_ms: int, entry: Entry | None = None
) -> list[bool]:
    """Remove, by key and id, messages that are scheduled."""
    return _take_out(tx, queue_id, "cancel", [(*ref, now_ms) for ref in refs], now_ms, entry)


def take_back(tx: Transaction, queue_id: str, refs: Sequence[tuple[int, str]], now_ms: int) -> list[bool]:
    """Remove, by key and id, messages that nobody has received yet, whether their time has come or not.

    A key may be that of another lane, from which a redrive brought the message.
    """
    first_key = load(tx, queue_id).first_key
    wanted = [(first_key | key & SEQUENCE_BITS, message_id, SINCE_EVER_MS) for key, message_id in refs]
    return _take_out(tx, queue_id, "cancel", wanted, now_ms, None)


def reschedule(
    tx: Transaction, queue_id: str, ref: tuple[int, str], at_ms: int, now_ms: int, entry: Entry | None = None
) -> bool:
    """Give a message that is scheduled another time."""
    state = load(tx, queue_id)
    key, message_id = ref
    bindings = {"at_ms": max(now_ms, at_ms), "key": key, "id": message_id, "now_ms": now_ms}
    if not state.first_key < key < state.end_key or tx.fetch_one("reschedule", bindings) is None:
        return False
    tx.wake(queue_id)
    if entry is not None:
        audit.note(tx, following(entry, f"queue {state.queue.name}", {**shown_ids([message_id]), "at_ms": at_ms}))
    return True


def _take_out(
    tx: Transaction,
    queue_id: str,
    statement: str,
    wanted: Sequence[tuple[int | str, ...]],
    now_ms: int,
    entry: Entry | None,
) -> list[bool]:
    """Run a statement that removes one message, for each that is wanted; its bindings begin with key and id."""
    state = load(tx, queue_id)
    hold_keys(tx, state)
    found = [False] * len(wanted)
    for place in sorted(range(len(wanted)), key=wanted.__getitem__):  # as all do who lock several
        bindings = wanted[place]
        row = tx.fetch_one(statement, bindings) if state.first_key < int(bindings[0]) < state.end_key else None
        if row is None:
            continue
        found[place] = True
        size, ordering_key, due_at_ms = row
        state.add(-1, -size)
        if ordering_key is not None and due_at_ms is None:
            free(tx, state, ordering_key, now_ms)
    state.save(tx)
    removed = [str(bindings[1]) for bindings, was_there in zip(wanted, found, strict=True) if was_there]
    if entry is not None and removed:
        audit.note(tx, following(entry, f"queue {state.queue.name}", shown_ids(removed)))
    return found
