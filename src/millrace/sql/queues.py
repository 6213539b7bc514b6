"""The queue verbs, as functions of an open transaction."""

from collections.abc import Callable

import msgspec

from millrace import ids
from millrace.audit import Entry, entry_of, entry_of_change, entry_of_creation, following
from millrace.errors import MillraceError, QueueNameTaken
from millrace.queue import Queue
from millrace.sql import audit
from millrace.sql.lanes import MAX_LANES
from millrace.sql.queue_state import QueueState, decode_queue, find_each, load, unknown
from millrace.sql.transaction import RunAgain, Transaction

# Held by all who add, change or remove queues, before anything else: names, lanes, settings, the audit trail, and the
# row that counts such changes.
QUEUES = "all queues"

_encode = msgspec.json.Encoder().encode


def named(tx: Transaction, account_id: str, name: str) -> Queue | None:
    """Give the account's queue of that name."""
    row = tx.fetch_one("queue_named", (account_id, name))
    return decode_queue(row[0]) if row else None


def called(tx: Transaction, name: str) -> list[Queue]:
    """Give all accounts' queues of that name."""
    return [decode_queue(row[0]) for row in tx.fetch("queues_called", (name,))]


def pushed(tx: Transaction) -> list[Queue]:
    """Give all accounts' queues that are pushed to a URL."""
    return [decode_queue(row[0]) for row in tx.fetch("pushed_queues", ())]


def redriving(tx: Transaction) -> list[Queue]:
    """Give all accounts' dead-letter queues that give their messages back."""
    return [decode_queue(row[0]) for row in tx.fetch("redriving_queues")]


def owned(tx: Transaction, account_id: str, queue_id: str) -> Queue:
    """Give a queue of the account.

    Raises:
        QueueNotFound: the account has none of that id.
    """
    queue = load(tx, queue_id).queue
    if queue.account_id != account_id:
        raise unknown(queue_id)
    return queue


def all_of(tx: Transaction, account_id: str) -> list[Queue]:
    """Give the queues of an account, oldest first."""
    return [decode_queue(row[0]) for row in tx.fetch("queues", {"account_id": account_id})]


def oldest_of_all(tx: Transaction) -> list[tuple[Queue, int]]:
    """Give the queues that hold messages, each with the time its oldest one was sent."""
    rows = tx.fetch("queues_with_backlog")
    oldest = tx.oldest_each([lane for _, lane in rows])
    return [
        (decode_queue(value), sent_at_ms)
        for (value, _), sent_at_ms in zip(rows, oldest, strict=True)
        if sent_at_ms is not None
    ]


def create(tx: Transaction, queue: Queue, entry: Entry | None = None) -> Queue:
    """Add a queue and the dead-letter queue its consumer names."""
    tx.hold(QUEUES)
    _refuse_taken(tx, queue)
    tx.apply("insert_queue", {**_columns(queue), "lane": _new_lane(tx)})
    audit.note(tx, entry and entry_of_creation(entry, queue))
    _ensure_dead_letters(tx, queue, entry)
    return queue


def update(
    tx: Transaction, account_id: str, queue_id: str, change: Callable[[Queue], Queue], entry: Entry | None = None
) -> Queue:
    """Replace a queue by a changed value of itself."""
    tx.hold(QUEUES)
    before = owned(tx, account_id, queue_id)
    after = change(before)
    if after.name != before.name:
        _refuse_taken(tx, after)
    tx.apply(
        "update_queue",
        {"id": after.id, "name": after.name, "modified_at_ms": after.modified_at_ms, "value": _text(after)},
    )
    audit.note(tx, entry and entry_of_change(entry, before, after))
    _ensure_dead_letters(tx, after, entry)
    tx.wake(queue_id)
    return after


def delete(tx: Transaction, account_id: str, queue_id: str, entry: Entry | None = None) -> None:
    """Remove a queue and let go of its lane."""
    owned(tx, account_id, queue_id)
    state = _take_lane(tx, queue_id)
    tx.apply("delete_queue", (queue_id,))
    audit.note(tx, entry and _of_backlog(entry, state))
    tx.apply("delete_rate_bucket", (queue_id,))
    tx.apply("drop_lane", (state.lane,))
    tx.wake(queue_id)


def purge(tx: Transaction, queue_id: str, now_ms: int, entry: Entry | None = None) -> Queue:
    """Give the queue a fresh lane and let go of the one its messages lie in."""
    state = _take_lane(tx, queue_id)
    queue = msgspec.structs.replace(state.queue, purge_started_at_ms=now_ms)
    tx.apply("set_lane", (_new_lane(tx), queue_id))
    tx.apply("drop_lane", (state.lane,))
    tx.apply(
        "update_queue",
        {"id": queue_id, "name": queue.name, "modified_at_ms": queue.modified_at_ms, "value": _text(queue)},
    )
    audit.note(tx, entry and _of_backlog(entry, state))
    return queue


def ensure(
    tx: Transaction, account_id: str, name: str, jurisdiction: str | None, now_ms: int, entry: Entry | None = None
) -> QueueState:
    """Give the account's queue of that name, created when it is missing: by the server, if no entry says by whom."""
    queue = named(tx, account_id, name)
    if queue is None:
        made = entry or entry_of(account_id, now_ms, "queue.created", "")
        queue = create(tx, _fresh(account_id, name, jurisdiction, now_ms), made)
    return _into(tx, queue.id)


def _into(tx: Transaction, queue_id: str) -> QueueState:
    state = find_each(tx, [queue_id])[queue_id]
    if state is None:
        raise RunAgain("a queue that messages were to go into was deleted")
    return state


def _take_lane(tx: Transaction, queue_id: str) -> QueueState:
    """Load a queue whose lane is let go: nothing is on its way into it, nor comes any more."""
    tx.hold(QUEUES)
    tx.hold_shared(f"queue {queue_id}")
    return load(tx, queue_id)


def _ensure_dead_letters(tx: Transaction, queue: Queue, entry: Entry | None) -> None:
    if queue.consumer is not None and queue.consumer.dead_letter_queue is not None:
        made = entry and msgspec.structs.replace(entry, act="queue.created")
        name = queue.consumer.dead_letter_queue
        ensure(tx, queue.account_id, name, queue.jurisdiction, queue.modified_at_ms, made)


def _of_backlog(entry: Entry, state: QueueState) -> Entry:
    """Complete the entry of an act that ends all messages of a queue."""
    return following(
        entry, f"queue {state.queue.name}", {"messages": state.backlog_count, "bytes": state.backlog_bytes}
    )


def _fresh(account_id: str, name: str, jurisdiction: str | None, now_ms: int) -> Queue:
    return Queue(
        id=ids.new_id(),
        account_id=account_id,
        name=name,
        created_at_ms=now_ms,
        modified_at_ms=now_ms,
        jurisdiction=jurisdiction,
    )


def _refuse_taken(tx: Transaction, queue: Queue) -> None:
    if named(tx, queue.account_id, queue.name) is not None:
        raise QueueNameTaken(f"Queue name '{queue.name}' is already taken. Please use a different name and try again.")


def _new_lane(tx: Transaction) -> int:
    lane = int(tx.fetch("next_lane")[0][0])
    if lane >= MAX_LANES:
        lane = int(tx.fetch("free_lane")[0][0])
    if lane >= MAX_LANES:
        raise MillraceError(f"the store holds {MAX_LANES - 1} queues, as many as it can")
    tx.apply("insert_lane", (lane,))
    return lane


def _columns(queue: Queue) -> dict[str, object]:
    return {
        "id": queue.id,
        "account_id": queue.account_id,
        "name": queue.name,
        "created_at_ms": queue.created_at_ms,
        "modified_at_ms": queue.modified_at_ms,
        "value": _text(queue),
    }


def _text(queue: Queue) -> str:
    return _encode(queue).decode()
