"""Receiving and looking, as functions of an open transaction."""

from collections.abc import Sequence

import msgspec

from millrace import limits
from millrace.errors import DeliveryPaused
from millrace.message import HIGH, LOW, NORMAL, Backlog, Lease, Message
from millrace.settlement import is_last_delivery
from millrace.sql import limiting
from millrace.sql.queue_state import NEVER_MS, RANKED, QueueState, load
from millrace.sql.settling import settle_lapsed
from millrace.sql.transaction import Row, Transaction
from millrace.store import IsReady, Received

PRIORITY = 13  # where a ready row has it


def receive(
    tx: Transaction, queue_id: str, limit: int, lease_ms: int, receipt: int, now_ms: int, is_ready: IsReady | None
) -> Received:
    """Lease ready messages; bury and expire what stands in their way."""
    state = load(tx, queue_id)
    if state.queue.settings.delivery_paused:
        raise DeliveryPaused(f"Delivery of queue '{state.queue.name}' is paused (queue_delivery_paused).")
    rate = limiting.find(tx, state, now_ms)
    if rate is not None and not rate.may_take:
        next_due_at_ms = _next_due_later(tx, state, rate.next_at_ms, now_ms)
        return Received(messages=[], backlog=backlog_of(tx, state), next_due_at_ms=next_due_at_ms)
    if is_ready is not None and tx.shares:  # what is locked and then declined would be hidden from other servers
        seen = _glance(tx, state, limit, now_ms)
        if not seen or not is_ready(len(seen), min(seen)[0], any(priority == HIGH for _, priority in seen)):
            return _nothing(tx, state, min(seen)[0] if seen else None, now_ms)
    rows = _ready(tx, state, limit, now_ms)
    if rows is None:
        return Received(messages=[], cleared=state.cleared, unfinished=True)
    if not rows or (
        is_ready is not None and not is_ready(len(rows), _ready_since(state, rows), _is_urgent(state, rows))
    ):
        return _nothing(tx, state, _ready_since(state, rows) if rows else None, now_ms)
    if rate is not None:
        rows = limiting.take(tx, state, rate, rows)
    _lease(tx, state, rows, receipt, now_ms + lease_ms)
    deliver = _delivered_with_features if state.features else _delivered
    delivered = [deliver(row, receipt) for row in rows]
    return Received(messages=delivered, backlog=backlog_of(tx, state), cleared=state.cleared)


def peek(tx: Transaction, queue_id: str, limit: int, now_ms: int, after_key: int) -> list[Message]:
    """Show messages in order of arrival."""
    state = load(tx, queue_id)
    rows = tx.fetch(
        "peek",
        {
            "after_key": max(after_key, state.first_key),
            "end_key": state.end_key,
            "expired_before_ms": now_ms - state.retention_ms,
            "limit": limit,
        },
    )
    return [_peeked(row) for row in rows]


def backlog(tx: Transaction, queue_id: str) -> Backlog:
    """Read the running counts and the oldest row."""
    return backlog_of(tx, load(tx, queue_id))


def backlog_of(tx: Transaction, state: QueueState) -> Backlog:
    """Give the running counts and the time of the oldest row."""
    return backlogs_of(tx, [state])[0]


def backlogs_of(tx: Transaction, states: Sequence[QueueState]) -> list[Backlog]:
    """Give the same of several queues."""
    oldest = tx.oldest_each([state.lane for state in states])
    return [
        Backlog(state.backlog_count, state.backlog_bytes, sent_at_ms or 0)
        for state, sent_at_ms in zip(states, oldest, strict=True)
    ]


def backlogs(tx: Transaction, account_id: str) -> dict[str, Backlog]:
    """Read the running counts and the oldest row of each queue."""
    rows = tx.fetch("backlogs", {"account_id": account_id})
    oldest = tx.oldest_each([lane for _, lane, *_ in rows])
    return {
        name: Backlog(count, size, (sent_at_ms or 0) if count else 0)
        for (name, _, count, size), sent_at_ms in zip(rows, oldest, strict=True)
    }


def _nothing(tx: Transaction, state: QueueState, ready_since_ms: int | None, now_ms: int) -> Received:
    return Received(
        messages=[],
        backlog=backlog_of(tx, state),
        ready_since_ms=ready_since_ms,
        next_due_at_ms=_next_due(tx, state, now_ms),
        cleared=state.cleared,
    )


def _glance(tx: Transaction, state: QueueState, limit: int, now_ms: int) -> list[Row]:
    levels = _levels(state) if state.features else (NORMAL,)
    return [row for level in levels for row in tx.glance(state.lane, level, now_ms, limit)][:limit]


def _ready(tx: Transaction, state: QueueState, limit: int, now_ms: int) -> Sequence[Row] | None:
    """Give what may be delivered, without what stood in its way; None when there was more of that than fits one go."""
    touched = 0
    while touched < limits.ROWS_PER_TRANSACTION:
        rows = _visible(tx, state, limit, now_ms)
        cleared = _clear(tx, state, rows, now_ms)
        if not cleared:
            return rows
        touched += cleared
    return None


def _visible(tx: Transaction, state: QueueState, limit: int, now_ms: int) -> Sequence[Row]:
    """Give the first rows whose time has come: each priority has its head start, and ties go by arrival."""
    if not state.features:
        return tx.ready(state.lane, NORMAL, now_ms, limit, ranked=False)
    rows = [row for level in _levels(state) for row in tx.ready(state.lane, level, now_ms, limit, ranked=True)]
    head_start_ms = state.head_start_ms
    rows.sort(key=lambda row: (row[1] - row[PRIORITY] * head_start_ms, row[0]))
    return rows[:limit]


def _levels(state: QueueState) -> tuple[int, ...]:
    return (LOW, NORMAL, HIGH) if state.features & RANKED else (NORMAL,)


def _ready_since(state: QueueState, rows: Sequence[Row]) -> int:
    return min(row[1] for row in rows) if state.features & RANKED else int(rows[0][1])


def _is_urgent(state: QueueState, rows: Sequence[Row]) -> bool:
    return bool(state.features & RANKED) and any(row[PRIORITY] == HIGH for row in rows)


def _clear(tx: Transaction, state: QueueState, rows: Sequence[Row], now_ms: int) -> int:
    """Expire and bury among ready rows what may not be delivered; give how many that were."""
    expired_before_ms = now_ms - state.retention_ms
    cleared = 0
    for key, _, kept_since_ms, size, receipt, attempts, failures, *_ in rows:
        has_lapsed_for_good = receipt is not None and is_last_delivery(attempts, state.policy)
        if has_lapsed_for_good or kept_since_ms <= expired_before_ms:
            settle_lapsed(tx, state, key, size, kept_since_ms, attempts, failures, now_ms)
            cleared += 1
    if cleared:
        state.save(tx)
    return cleared


def _lease(tx: Transaction, state: QueueState, rows: Sequence[Row], receipt: int, until_ms: int) -> None:
    policy = state.policy
    last = [row[0] for row in rows if is_last_delivery(row[5] + 1, policy)]
    if last:
        tx.apply("lease", (until_ms, until_ms, receipt, True, tx.array(last)))
    if len(last) < len(rows):
        others = [row[0] for row in rows if not last or row[0] not in last]
        tx.apply("lease", (until_ms + state.retry_delay_ms, until_ms, receipt, False, tx.array(others)))


def _delivered(row: Row, receipt: int) -> Message:
    return Message(
        lease=Lease(row[0], receipt),
        attempts=row[5] + 1,
        failures=row[6],
        sent_at_ms=row[7],
        id=row[8],
        content_type=row[9],
        source=row[10],
        headers=_headers(row[11]),
        body=row[12],
    )


def _delivered_with_features(row: Row, receipt: int) -> Message:
    message = _delivered(row, receipt)
    message.priority, message.ordering_key = row[PRIORITY:]
    return message


def _peeked(row: Row) -> Message:
    return Message(
        lease=Lease(row[0], 0),
        attempts=row[3],
        failures=row[4],
        sent_at_ms=row[5],
        id=row[6],
        content_type=row[7],
        source=row[8],
        headers=_headers(row[9]),
        origin_queue_id=row[10],
        reason=row[11],
        body=row[12],
        priority=row[13],
        ordering_key=row[14],
    )


def _next_due(tx: Transaction, state: QueueState, now_ms: int) -> int | None:
    """Give when the next message of any priority becomes visible; those that wait for others never do by themselves."""
    times = [tx.next_due(state.lane, level, now_ms) for level in _levels(state)]
    return min((at_ms for at_ms in times if at_ms is not None and at_ms < NEVER_MS), default=None)


def _next_due_later(tx: Transaction, state: QueueState, at_ms: int, now_ms: int) -> int | None:
    """Give when there is something to take that may not be taken before `at_ms`; None while there is nothing."""
    due_at_ms = now_ms if _visible(tx, state, 1, now_ms) else _next_due(tx, state, now_ms)
    return None if due_at_ms is None else max(due_at_ms, at_ms)


def _headers(text: str | None) -> dict[str, str] | None:
    return msgspec.json.decode(text, type=dict[str, str]) if text else None
