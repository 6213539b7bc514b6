"""The message verbs, as functions of an open transaction."""

from collections.abc import Iterable, Sequence

import msgspec

from millrace import limits
from millrace.errors import BacklogFull, DeliveryPaused, MillraceError
from millrace.message import Backlog, Lease, Message, Stamped
from millrace.queue import Queue
from millrace.settlement import (
    Ack,
    Buried,
    Outcome,
    Released,
    Removed,
    Retry,
    Settlement,
    decide,
    is_last_delivery,
)
from millrace.sql import queues
from millrace.sql.queues import LANE_SHIFT, QueueState, load
from millrace.sql.transaction import Row, Transaction
from millrace.store import IsReady, Received

NO_RETENTION_MS = 1 << 62
REMOVED = Removed()


class Sending(msgspec.Struct, frozen=True):
    """One caller's messages for one queue."""

    queue_id: str
    messages: Sequence[Stamped]


def send(tx: Transaction, sendings: Sequence[Sending]) -> list[Backlog | MillraceError]:
    """Store what neighbours in the inbox send, as one statement; refuse those whose queue cannot take it."""
    states: dict[str, QueueState | None] = {}
    refusals: dict[int, MillraceError] = {}
    rows: list[tuple[object, ...]] = []
    for position, sending in enumerate(sendings):
        queue_id = sending.queue_id
        if queue_id not in states:
            states[queue_id] = queues.find(tx, queue_id)
        state = states[queue_id]
        if state is None:
            refusals[position] = queues.unknown(queue_id)
            continue
        added_bytes = sum(len(message.body) for message in sending.messages)
        full = _overflow(state, len(sending.messages), added_bytes)
        if full is not None:
            refusals[position] = full
            continue
        state.add(len(sending.messages), added_bytes)
        sequence = tx.take_sequences(len(sending.messages)) | (state.lane << LANE_SHIFT)
        rows += [_row(sequence + offset, state.lane, message) for offset, message in enumerate(sending.messages)]
    if rows:
        tx.apply_many("insert_message", rows)
    backlogs = {queue_id: _save(tx, queue_id, state) for queue_id, state in states.items() if state is not None}
    return [refusals.get(position) or backlogs[sending.queue_id] for position, sending in enumerate(sendings)]


def receive(
    tx: Transaction, queue_id: str, limit: int, lease_ms: int, receipt: int, now_ms: int, is_ready: IsReady | None
) -> Received:
    """Lease ready messages; bury and expire what stands in their way."""
    state = load(tx, queue_id)
    if state.queue.settings.delivery_paused:
        raise DeliveryPaused(f"Delivery of queue '{state.queue.name}' is paused (queue_delivery_paused).")
    bindings = (state.lane, now_ms, limit)
    rows = tx.fetch("ready", bindings)
    touched = 0
    while touched < limits.ROWS_PER_TRANSACTION:
        cleared = _clear(tx, state, rows, now_ms)
        if not cleared:
            break
        touched += cleared
        rows = tx.fetch("ready", bindings)
    else:
        return Received(messages=[], unfinished=True)
    if not rows:
        return Received(messages=[], backlog=_backlog(tx, state), next_due_at_ms=_next_due(tx, state.lane, now_ms))
    if is_ready is not None and not is_ready(len(rows), rows[0][1]):
        return Received(messages=[], ready_since_ms=rows[0][1], next_due_at_ms=_next_due(tx, state.lane, now_ms))
    _lease(tx, state, rows, receipt, now_ms + lease_ms)
    return Received(messages=[_delivered(row, receipt) for row in rows], backlog=_backlog(tx, state))


def settle(
    tx: Transaction, queue_id: str, outcomes: Sequence[tuple[Lease, Outcome]], now_ms: int
) -> list[Settlement | None]:
    """Apply outcomes: acks as one statement, the others one by one through `decide`."""
    state = load(tx, queue_id)
    acknowledged = _acknowledge(tx, state, [lease for lease, outcome in outcomes if type(outcome) is Ack])
    settlements: list[Settlement | None] = []
    for lease, outcome in outcomes:
        if type(outcome) is Ack:
            settlements.append(REMOVED if lease.key in acknowledged else None)
            acknowledged.discard(lease.key)
        else:
            settlements.append(_settle_one(tx, state, lease, outcome, now_ms))
    state.save(tx)
    return settlements


def extend(tx: Transaction, queue_id: str, leases: Sequence[Lease], until_ms: int) -> set[int]:
    """Move the end of the leases that are still current."""
    state = load(tx, queue_id)
    delayed_ms = until_ms + state.retry_delay_ms
    rows = [(until_ms, delayed_ms, lease.key, lease.receipt) for lease in leases if _within(state, lease)]
    return {row[0] for row in tx.apply_many("extend", rows)}


def peek(tx: Transaction, queue_id: str, limit: int, now_ms: int, after_key: int) -> list[Message]:
    """Show messages in order of arrival."""
    state = load(tx, queue_id)
    rows = tx.fetch(
        "peek",
        {
            "after_key": max(after_key, state.first_key),
            "end_key": state.end_key,
            "expired_before_ms": now_ms - _retention_ms(state.queue),
            "limit": limit,
        },
    )
    return [
        Message(
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
        for row in rows
    ]


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
            _move(tx, state, origin, key, size, now_ms, None, None)
            moved += 1
    for origin in origins.values():
        if origin is not None:
            origin.save(tx)
    state.save(tx)
    return moved, rows[-1][0] if len(rows) == limits.ROWS_PER_TRANSACTION else None


def bury_lapsed(tx: Transaction, now_ms: int) -> int:
    """Settle last deliveries whose lease has lapsed, in queues that nobody reads, too."""
    rows = tx.fetch("lapsed_last", (now_ms, limits.ROWS_PER_TRANSACTION))
    states: dict[int, QueueState | None] = {}
    for key, lane, attempts, failures, size in rows:
        if lane not in states:
            states[lane] = queues.find_lane(tx, lane)
        state = states[lane]
        if state is None:  # purged or deleted; the sweep will come by
            tx.apply("remove", (key,))
            continue
        settlement = decide(attempts, failures, Retry(), state.policy, now_ms)
        _apply(tx, state, key, size, settlement, now_ms)
    for state in states.values():
        if state is not None:
            state.save(tx)
    return len(rows)


def expire(tx: Transaction, queue_id: str, now_ms: int, after_key: int) -> tuple[int, int | None]:
    """Remove one chunk of expired messages; give how many, and the key to go on after.

    Arrival orders the table, and nothing is kept from before it was sent, so the scan ends at the first message
    that is too young to have expired.
    """
    state = load(tx, queue_id)
    expired_before_ms = now_ms - _retention_ms(state.queue)
    rows = tx.fetch("in_order", (max(after_key, state.first_key), state.end_key, limits.ROWS_PER_TRANSACTION))
    old = [row for row in rows if row[1] <= expired_before_ms]
    expired = [row for row in old if row[2] <= expired_before_ms]
    tx.apply_many("remove", [(row[0],) for row in expired])
    state.add(-len(expired), -sum(row[3] for row in expired))
    state.save(tx)
    return len(expired), old[-1][0] if len(old) == limits.ROWS_PER_TRANSACTION else None


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


def _clear(tx: Transaction, state: QueueState, rows: Sequence[Row], now_ms: int) -> int:
    """Expire and bury among ready rows what may not be delivered; give how many that were."""
    expired_before_ms = now_ms - _retention_ms(state.queue)
    cleared = 0
    for key, _, kept_since_ms, size, receipt, attempts, failures, *_ in rows:
        if kept_since_ms <= expired_before_ms:
            _apply(tx, state, key, size, Removed("expired"), now_ms)
        elif receipt is not None and is_last_delivery(attempts, state.policy):
            _apply(tx, state, key, size, decide(attempts, failures, Retry(), state.policy, now_ms), now_ms)
        else:
            continue
        cleared += 1
    if cleared:
        state.save(tx)
    return cleared


def _lease(tx: Transaction, state: QueueState, rows: Sequence[Row], receipt: int, until_ms: int) -> None:
    policy = state.policy
    last = [row[0] for row in rows if is_last_delivery(row[5] + 1, policy)]
    if last:
        tx.apply("lease", (until_ms, receipt, True, _keys(last)))
    if len(last) < len(rows):
        others = [row[0] for row in rows if not last or row[0] not in last]
        tx.apply("lease", (until_ms + state.retry_delay_ms, receipt, False, _keys(others)))


def _acknowledge(tx: Transaction, state: QueueState, leases: Sequence[Lease]) -> set[int]:
    """Remove what is still current, receipt by receipt (a batch has one), and give the keys."""
    by_receipt: dict[int, set[int]] = {}
    for lease in leases:
        if _within(state, lease):
            by_receipt.setdefault(lease.receipt, set()).add(lease.key)
    acknowledged: set[int] = set()
    for receipt, keys in by_receipt.items():
        text = _keys(keys)
        count, size = tx.fetch("current", (text, receipt))[0]
        if not count:
            continue
        current = keys if count == len(keys) else {row[0] for row in tx.fetch("current_keys", (text, receipt))}
        tx.apply("acknowledge", (text, receipt))
        state.add(-count, -size)
        acknowledged |= current
    return acknowledged


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


def _settle_one(tx: Transaction, state: QueueState, lease: Lease, outcome: Outcome, now_ms: int) -> Settlement | None:
    row = tx.fetch_one("delivery", (lease.key, lease.receipt)) if _within(state, lease) else None
    if row is None:
        return None
    attempts, failures, visible_at_ms, is_last, size = row
    lease_ends_at_ms = visible_at_ms - (0 if is_last else state.retry_delay_ms)
    if lease_ends_at_ms <= now_ms:
        return None
    settlement = decide(attempts, failures, outcome, state.policy, now_ms)
    _apply(tx, state, lease.key, size, settlement, now_ms)
    return settlement


def _apply(tx: Transaction, state: QueueState, key: int, size: int, settlement: Settlement, now_ms: int) -> None:
    match settlement:
        case Released(visible_at_ms=visible_at_ms, attempts=attempts, failures=failures):
            tx.apply("release", (visible_at_ms, attempts, failures, key))
            tx.wake(state.queue.id)
        case Removed():
            tx.apply("remove", (key,))
            state.add(-1, -size)
        case Buried(queue_name=queue_name, reason=reason):
            dead_letters = queues.ensure(tx, state.queue.account_id, queue_name, state.queue.jurisdiction, now_ms)
            _move(tx, state, dead_letters, key, size, now_ms, state.queue.id, reason)
            dead_letters.save(tx)


def _move(
    tx: Transaction,
    source: QueueState,
    target: QueueState,
    key: int,
    size: int,
    now_ms: int,
    origin_queue_id: str | None,
    reason: str | None,
) -> None:
    """Put a row into another lane, under the same number, so that arrival still orders it there."""
    sequence = key & ((1 << LANE_SHIFT) - 1)
    new_key = target.lane << LANE_SHIFT | sequence
    tx.apply("move", (new_key, target.lane, now_ms, origin_queue_id, reason, key))
    source.add(-1, -size)
    target.add(1, size)
    tx.wake(target.queue.id)


def _next_due(tx: Transaction, lane: int, now_ms: int) -> int | None:
    return tx.fetch("next_due", (lane, now_ms))[0][0]  # type: ignore[no-any-return]


def _within(state: QueueState, lease: Lease) -> bool:
    return state.first_key < lease.key < state.end_key


def _retention_ms(queue: Queue) -> int:
    seconds = queue.settings.message_retention_period
    return NO_RETENTION_MS if seconds is None else seconds * 1000


def _keys(keys: Iterable[int]) -> str:
    return f"[{','.join(map(str, keys))}]"


def _headers(text: str | None) -> dict[str, str] | None:
    return msgspec.json.decode(text, type=dict[str, str]) if text else None
