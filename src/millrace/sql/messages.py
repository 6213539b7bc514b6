"""Sending, receiving and looking, as functions of an open transaction."""

from collections.abc import Sequence

import msgspec

from millrace import limits
from millrace.errors import BacklogFull, DeliveryPaused, MillraceError
from millrace.idempotency import Once
from millrace.message import Backlog, Lease, Message, Stamped
from millrace.settlement import is_last_delivery
from millrace.sql import queues
from millrace.sql.idempotency import Ledger
from millrace.sql.queues import LANE_SHIFT, QueueState, load
from millrace.sql.settling import key_list, settle_lapsed
from millrace.sql.transaction import Row, Transaction
from millrace.store import IsReady, Received, Repeated, Stored


class Sending(msgspec.Struct, frozen=True):
    """One caller's messages for one queue."""

    queue_id: str
    messages: Sequence[Stamped]
    once: Once | None = None


def send(tx: Transaction, sendings: Sequence[Sending]) -> list[Backlog | MillraceError]:
    """Store what neighbours in the inbox send, as one statement; refuse those whose queue cannot take it."""
    states: dict[str, QueueState | None] = {}
    ledger = Ledger(tx, [(sending.queue_id, sending.once) for sending in sendings if sending.once is not None])
    rows: list[tuple[object, ...]] = []
    taken: list[str | MillraceError | int] = []
    for sending in sendings:
        queue_id = sending.queue_id
        if queue_id not in states:
            states[queue_id] = queues.find(tx, queue_id)
        state = states[queue_id]
        taken.append(queues.unknown(queue_id) if state is None else _take(tx, state, ledger, sending, rows))
    if rows:
        tx.insert_many("insert_message", rows)
    ledger.save(tx)
    backlogs = {queue_id: _save(tx, queue_id, state) for queue_id, state in states.items() if state is not None}
    return [
        found if isinstance(found, MillraceError) else _answer(backlogs[sending.queue_id], found)
        for sending, found in zip(sendings, taken, strict=True)
    ]


def receive(
    tx: Transaction, queue_id: str, limit: int, lease_ms: int, receipt: int, now_ms: int, is_ready: IsReady | None
) -> Received:
    """Lease ready messages; bury and expire what stands in their way."""
    state = load(tx, queue_id)
    if state.queue.settings.delivery_paused:
        raise DeliveryPaused(f"Delivery of queue '{state.queue.name}' is paused (queue_delivery_paused).")
    rows = _ready(tx, state, limit, now_ms)
    if rows is None:
        return Received(messages=[], cleared=state.cleared, unfinished=True)
    if not rows or (is_ready is not None and not is_ready(len(rows), rows[0][1])):
        return Received(
            messages=[],
            backlog=_backlog(tx, state),
            ready_since_ms=rows[0][1] if rows else None,
            next_due_at_ms=_next_due(tx, state.lane, now_ms),
            cleared=state.cleared,
        )
    _lease(tx, state, rows, receipt, now_ms + lease_ms)
    delivered = [_delivered(row, receipt) for row in rows]
    return Received(messages=delivered, backlog=_backlog(tx, state), cleared=state.cleared)


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
    state = load(tx, queue_id)
    return _backlog(tx, state)


def backlogs(tx: Transaction, account_id: str) -> dict[str, Backlog]:
    """Read the running counts and the oldest row of each queue."""
    found = {}
    for name, lane, count, size in tx.fetch("backlogs", {"account_id": account_id}):
        oldest = tx.fetch_one("oldest", queues.keys_of_lane(lane)) if count else None
        found[name] = Backlog(count, size, oldest[0] if oldest else 0)
    return found


def _take(
    tx: Transaction, state: QueueState, ledger: Ledger, sending: Sending, rows: list[tuple[object, ...]]
) -> str | MillraceError | int:
    """Add the rows of one caller and give the key of the first; or refuse it, or give the id that it repeats."""
    messages, once = sending.messages, sending.once
    if once is not None:
        earlier = ledger.find(sending.queue_id, once, messages[0].sent_at_ms)
        if earlier is not None:
            return earlier
    added_bytes = sum(len(message.body) for message in messages)
    full = _overflow(state, len(messages), added_bytes)
    if full is not None:
        return full
    if once is not None:
        ledger.note(sending.queue_id, once, messages[0])
    state.add(len(messages), added_bytes)
    first_key: int = tx.take_sequences(len(messages)) | (state.lane << LANE_SHIFT)
    rows += [_row(first_key + offset, state.lane, message) for offset, message in enumerate(messages)]
    return first_key


def _answer(backlog: Backlog, found: str | int) -> Backlog:
    if isinstance(found, int):
        return Stored(backlog.count, backlog.bytes, backlog.oldest_sent_at_ms, found)
    return Repeated(backlog.count, backlog.bytes, backlog.oldest_sent_at_ms, found)


def _overflow(state: QueueState, count: int, added_bytes: int) -> BacklogFull | None:
    settings = state.queue.settings
    for limit, present, added, unit in (
        (settings.max_backlog_messages, state.backlog_count, count, "messages"),
        (settings.max_backlog_bytes, state.backlog_bytes, added_bytes, "bytes"),
    ):
        if limit is not None and present + added > limit:
            return BacklogFull(
                f"Queue '{state.queue.name}' is full: {present} + {added} {unit} exceed its limit of {limit}."
            )
    return None


def _row(key: int, lane: int, message: Stamped) -> tuple[object, ...]:
    headers = msgspec.json.encode(message.headers).decode() if message.headers else None
    return (
        key,
        lane,
        message.visible_at_ms,
        message.sent_at_ms,
        message.sent_at_ms,
        message.id,
        message.content_type,
        message.source,
        headers,
        message.body,
    )


def _save(tx: Transaction, queue_id: str, state: QueueState) -> Backlog:
    state.save(tx)
    tx.wake(queue_id)
    return _backlog(tx, state)


def _backlog(tx: Transaction, state: QueueState) -> Backlog:
    row = tx.fetch_one("oldest", (state.first_key, state.end_key))
    return Backlog(state.backlog_count, state.backlog_bytes, row[0] if row else 0)


def _ready(tx: Transaction, state: QueueState, limit: int, now_ms: int) -> Sequence[Row] | None:
    """Give what may be delivered, without what stood in its way; None when there was more of that than fits one go."""
    touched = 0
    while touched < limits.ROWS_PER_TRANSACTION:
        rows = tx.fetch("ready", (state.lane, now_ms, limit))
        cleared = _clear(tx, state, rows, now_ms)
        if not cleared:
            return rows
        touched += cleared
    return None


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
        tx.apply("lease", (until_ms, until_ms, receipt, True, key_list(last)))
    if len(last) < len(rows):
        others = [row[0] for row in rows if not last or row[0] not in last]
        tx.apply("lease", (until_ms + state.retry_delay_ms, until_ms, receipt, False, key_list(others)))


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
    )


def _next_due(tx: Transaction, lane: int, now_ms: int) -> int | None:
    return tx.fetch("next_due", (lane, now_ms))[0][0]  # type: ignore[no-any-return]


def _headers(text: str | None) -> dict[str, str] | None:
    return msgspec.json.decode(text, type=dict[str, str]) if text else None
