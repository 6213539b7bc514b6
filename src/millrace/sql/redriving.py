"""Redriving: buried messages go back to where they came from, in chunks that never hold the writer for long."""

from millrace import limits
from millrace.audit import Entry, following
from millrace.redriving import ALL, DeadLetter, RedriveFilter
from millrace.sql import audit, queue_state
from millrace.sql.lanes import SEQUENCE_BITS
from millrace.sql.ordering import hold_keys
from millrace.sql.queue_state import QueueState, load
from millrace.sql.settling import Move, move
from millrace.sql.transaction import Row, Transaction


def redrive(
    tx: Transaction,
    queue_id: str,
    now_ms: int,
    after_key: int,
    wanted: RedriveFilter,
    spacing_ms: float,
    first: int,
    entry: Entry | None = None,
) -> tuple[int, int | None]:
    """Move those of one chunk that are wanted; give how many, and the key to go on after."""
    state = load(tx, queue_id)
    hold_keys(tx, state)
    rows = tx.fetch("buried", (max(after_key, state.first_key), state.end_key, limits.ROWS_PER_TRANSACTION))
    origins = _origins(tx, rows)
    chosen = [row for row in rows if _is_wanted(row, origins, wanted, now_ms)][: wanted.limit]
    for number, (key, origin_queue_id, size, *_) in enumerate(chosen, first):
        visible_at_ms = now_ms + round(number * spacing_ms)
        move(tx, state, origins[origin_queue_id], key, size, Move(now_ms, visible_at_ms, redrives=1))
    for each in (*origins.values(), state):
        each.save(tx)
    if entry is not None and chosen:
        audit.note(tx, following(entry, f"queue {state.queue.name}", {"messages": len(chosen)}))
    is_over = len(rows) < limits.ROWS_PER_TRANSACTION or len(chosen) == wanted.limit
    return len(chosen), None if is_over else rows[-1][0]


def redrive_one(tx: Transaction, queue_id: str, ref: tuple[int, str], now_ms: int) -> bool:
    """Move one dead letter back to where it came from, and say whether it was there and nobody holds it.

    Its key may be that of the place where it lay before: of the numbers of a message only the lane changes.
    """
    state = load(tx, queue_id)
    hold_keys(tx, state)
    key, message_id = ref
    row = tx.fetch_one("buried_one", (state.first_key | key & SEQUENCE_BITS, message_id))
    if row is None:
        return False
    origins = _origins(tx, [row])
    if not _is_wanted(row, origins, ALL, now_ms):
        return False
    origin = origins[row[1]]
    move(tx, state, origin, row[0], row[2], Move(now_ms, now_ms, redrives=1))
    for each in (origin, state):
        each.save(tx)
    return True


def _origins(tx: Transaction, rows: list[Row]) -> dict[str, QueueState]:
    """Give, by id, the queues that the messages come from and that are still there."""
    found = queue_state.find_each(tx, {row[1] for row in rows} - {None})
    return {queue_id: state for queue_id, state in found.items() if state is not None}


def _is_wanted(row: Row, origins: dict[str, QueueState], wanted: RedriveFilter, now_ms: int) -> bool:
    _, origin_queue_id, _, message_id, sent_at_ms, kept_since_ms, redrives, reason, receipt, visible_at_ms = row
    origin = origins.get(origin_queue_id)
    if origin is None or (receipt is not None and visible_at_ms > now_ms):
        return False
    letter = DeadLetter(message_id, origin.queue.name, reason or "", sent_at_ms, kept_since_ms, redrives)
    return wanted.takes(letter)
