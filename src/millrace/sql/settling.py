"""Settling: outcomes become what `decide` makes of them, guarded by the receipt."""

from collections.abc import Sequence

import msgspec

from millrace.backoff import Chance
from millrace.message import Lease
from millrace.settlement import Ack, Buried, Outcome, Released, Removed, Settlement, decide, decide_lapse
from millrace.sql import queues
from millrace.sql.lanes import LANE_SHIFT
from millrace.sql.ordering import free, free_next, hold_keys, order_of, place
from millrace.sql.queue_state import ORDERED, QueueState, load
from millrace.sql.transaction import Transaction

REMOVED = Removed()


def settle(
    tx: Transaction, queue_id: str, outcomes: Sequence[tuple[Lease, Outcome]], now_ms: int, chance: Chance
) -> list[Settlement | None]:
    """Apply outcomes: acks as one statement, the others one by one through `decide`."""
    state = load(tx, queue_id)
    hold_keys(tx, state)
    if tx.shares and len(outcomes) > 1:
        _lock(tx, state, outcomes)
    acks = [lease for lease, outcome in outcomes if type(outcome) is Ack]
    acknowledged = _acknowledge(tx, state, acks, now_ms)
    settlements: list[Settlement | None] = []
    for lease, outcome in outcomes:
        if type(outcome) is Ack:
            settlements.append(REMOVED if lease in acknowledged else None)
            acknowledged.discard(lease)
        else:
            settlements.append(_settle_one(tx, state, lease, outcome, now_ms, chance()))
    state.save(tx)
    return settlements


def extend(tx: Transaction, queue_id: str, leases: Sequence[Lease], until_ms: int) -> set[Lease]:
    """Move the end of the leases that are still current."""
    state = load(tx, queue_id)
    delayed_ms = until_ms + state.retry_delay_ms
    rows = [(until_ms, delayed_ms, lease.key, lease.receipt) for lease in leases if _within(state, lease)]
    rows.sort(key=lambda row: row[2])  # as all do who lock several
    return {Lease(key, receipt) for key, receipt in tx.apply_many("extend", rows)}


def apply_settlement(
    tx: Transaction, state: QueueState, key: int, size: int, settlement: Settlement, now_ms: int
) -> None:
    """Do to a row what was decided about it."""
    match settlement:
        case Released(visible_at_ms=visible_at_ms, attempts=attempts, failures=failures):
            tx.apply("release", (visible_at_ms, attempts, failures, key))
            tx.wake(state.queue.id)
        case Removed():
            order = order_of(tx, state, key)
            tx.apply("remove", (key,))
            state.add(-1, -size)
            free_next(tx, state, order, now_ms)
        case Buried(queue_name=queue_name, reason=reason):
            dead_letters = queues.ensure(tx, state.queue.account_id, queue_name, state.queue.jurisdiction, now_ms)
            move(tx, state, dead_letters, key, size, Move(now_ms, now_ms, state.queue.id, reason))
            dead_letters.save(tx)


def settle_lapsed(
    tx: Transaction,
    state: QueueState,
    key: int,
    size: int,
    kept_since_ms: int,
    attempts: int,
    failures: int,
    now_ms: int,
) -> None:
    """Treat a lapsed lease as what it is: a delivery that nobody spoke for, unless retention has run out."""
    if kept_since_ms <= now_ms - state.retention_ms:
        apply_settlement(tx, state, key, size, Removed("expired"), now_ms)
        state.note_cleared("message.expired")
        return
    settlement = decide_lapse(attempts, failures, state.policy, now_ms)
    apply_settlement(tx, state, key, size, settlement, now_ms)
    if not isinstance(settlement, Released):
        state.note_cleared("message.buried" if isinstance(settlement, Buried) else "message.dropped")


class Move(msgspec.Struct, frozen=True):
    """What a message gets on its way into another lane; a redrive counts, a burial leaves origin and reason."""

    now_ms: int
    visible_at_ms: int
    origin_queue_id: str | None = None
    reason: str | None = None
    redrives: int = 0


def move(tx: Transaction, source: QueueState, target: QueueState, key: int, size: int, move: Move) -> None:
    """Put a row into another lane, under the same number, so that arrival still orders it there."""
    sequence = key & ((1 << LANE_SHIFT) - 1)
    order = order_of(tx, source, key)
    visible_at_ms, due_at_ms = place(tx, target, order, move.visible_at_ms)
    bindings = {
        "new_key": target.lane << LANE_SHIFT | sequence,
        "lane": target.lane,
        "visible_at_ms": visible_at_ms,
        "due_at_ms": due_at_ms,
        "kept_since_ms": move.visible_at_ms,
        "redrives": move.redrives,
        "origin_queue_id": move.origin_queue_id,
        "reason": move.reason,
        "key": key,
    }
    tx.apply("move", bindings)
    free_next(tx, source, order, move.now_ms)
    source.add(-1, -size)
    target.add(1, size)
    tx.wake(target.queue.id)


def _lock(tx: Transaction, state: QueueState, outcomes: Sequence[tuple[Lease, Outcome]]) -> None:
    """Lock the rows in the order of their keys, unless one statement does so: whoever settles the same ones waits."""
    if len({lease.receipt for lease, _ in outcomes}) > 1 or any(type(outcome) is not Ack for _, outcome in outcomes):
        tx.apply("lock_rows", (tx.array(sorted(lease.key for lease, _ in outcomes if _within(state, lease))),))


def _acknowledge(tx: Transaction, state: QueueState, leases: Sequence[Lease], now_ms: int) -> set[Lease]:
    """Remove what is still current, receipt by receipt (a batch has one), and give those leases."""
    by_receipt: dict[int, set[int]] = {}
    for lease in leases:
        if _within(state, lease):
            by_receipt.setdefault(lease.receipt, set()).add(lease.key)
    acknowledged: set[Lease] = set()
    for receipt, keys in by_receipt.items():
        current, size, orders = tx.remove_leased([*keys], receipt, ordered=bool(state.features & ORDERED))
        state.add(-len(current), -size)
        for ordering_key in orders:
            free(tx, state, ordering_key, now_ms)
        acknowledged |= {Lease(key, receipt) for key in current}
    return acknowledged


def _settle_one(
    tx: Transaction, state: QueueState, lease: Lease, outcome: Outcome, now_ms: int, chance: float
) -> Settlement | None:
    row = tx.fetch_one("delivery", (lease.key, lease.receipt)) if _within(state, lease) else None
    if row is None:
        return None
    attempts, failures, lease_ends_at_ms, size = row
    if lease_ends_at_ms <= now_ms:
        return None
    settlement = decide(attempts, failures, outcome, state.policy, now_ms, chance)
    apply_settlement(tx, state, lease.key, size, settlement, now_ms)
    return settlement


def _within(state: QueueState, lease: Lease) -> bool:
    return state.first_key < lease.key < state.end_key
