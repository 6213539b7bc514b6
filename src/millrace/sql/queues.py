"""The queue verbs, as functions of an open transaction."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import msgspec

from millrace import ids, limits
from millrace.audit import Entry, entry_of, entry_of_change, entry_of_creation, following
from millrace.errors import MillraceError, QueueNameTaken, QueueNotFound
from millrace.message import NORMAL
from millrace.queue import Queue
from millrace.settlement import Policy
from millrace.sql import audit
from millrace.sql.lanes import MAX_LANES, keys_of_lane
from millrace.sql.transaction import Row, RunAgain, Transaction
from millrace.store import Cleared

NO_RETENTION_MS = 1 << 62
NEVER_MS = 1 << 62  # when a message becomes visible that waits behind another one of its ordering key

FOLD_CHANGES = 64  # where changes of a backlog are rows: as many as a look at it may cost
FOLD_AGAIN = 16  # while a transaction of others is open, folding has to wait for it; so often it is tried

# Held by all who add, change or remove queues, before anything else: names, lanes, settings, the audit trail, and the
# row that counts such changes.
QUEUES = "all queues"

RANKED, ORDERED = 1, 2  # features of a lane: it has had messages of more than one priority, or with an ordering key

_decode = lru_cache(maxsize=4096)(msgspec.json.Decoder(Queue).decode)  # the same text, the same immutable value
_encode = msgspec.json.Encoder().encode


class QueueState:
    """A queue as one transaction sees it: its value, its lane, and its backlog as it changes."""

    __slots__ = (
        "_bytes",
        "_count",
        "_new_features",
        "_unfolded",
        "backlog_bytes",
        "backlog_count",
        "cleared",
        "end_key",
        "features",
        "first_key",
        "lane",
        "policy",
        "queue",
    )

    def __init__(self, row: Row) -> None:
        value, self.lane, self.backlog_count, self.backlog_bytes, self.features, self._unfolded = row
        self.queue = _decode(value)
        self.policy: Policy | None = self.queue.consumer.policy if self.queue.consumer else None
        self.first_key, self.end_key = keys_of_lane(self.lane)
        self._count = self._bytes = 0
        self._new_features = False
        self.cleared: list[Cleared] = []

    @property
    def retry_delay_ms(self) -> int:
        """Milliseconds that a lapsed message waits before it is ready."""
        return round(self.policy.retry_delay_seconds * 1000) if self.policy else 0

    @property
    def head_start_ms(self) -> int:
        """Milliseconds by which a message goes before those of the next lower priority."""
        consumer = self.queue.consumer
        return (consumer.settings.head_start_seconds if consumer else limits.HEAD_START_SECONDS) * 1000

    @property
    def retention_ms(self) -> int:
        """Milliseconds that a message is kept."""
        seconds = self.queue.settings.message_retention_period
        return NO_RETENTION_MS if seconds is None else seconds * 1000

    def note_cleared(self, event: str, count: int = 1) -> None:
        """Note that messages leave without an outcome."""
        if count:
            self.cleared.append(Cleared(self.queue.account_id, self.queue.name, event, count))

    def add(self, count: int, size: int) -> None:
        """Note a change of the backlog by messages and bytes."""
        self._count += count
        self._bytes += size
        self.backlog_count += count
        self.backlog_bytes += size

    def take_in(self, priority: int, ordering_key: str | None) -> None:
        """Note that a message comes into the lane, for those who look for messages there."""
        features = (RANKED if priority != NORMAL else 0) | (ORDERED if ordering_key is not None else 0)
        if features & ~self.features:
            self.features |= features
            self._new_features = True

    def save(self, tx: Transaction) -> None:
        """Write what was noted."""
        save_each(tx, [self])

    def take_change(self) -> tuple[int, int, int] | None:
        """Give the noted change of the backlog by messages and bytes, with the lane; once."""
        if not self._count and not self._bytes:
            return None
        change = self._count, self._bytes, self.lane
        self._count = self._bytes = 0
        return change

    def tidy(self, tx: Transaction) -> None:
        """Write new features of the lane; fold its changes where they are rows and many."""
        if self._new_features:
            tx.apply("set_features", (self.features, self.lane))
            self._new_features = False
        if self._unfolded >= FOLD_CHANGES and not self._unfolded % FOLD_AGAIN and tx.fetch("hold_fold", (self.lane,)):
            tx.apply("fold_backlog", (self.lane,))
            self._unfolded = 0


def save_each(tx: Transaction, states: Sequence[QueueState]) -> None:
    """Write what was noted of several queues, in one statement where there is one for that."""
    changes = [change for state in states if (change := state.take_change()) is not None]
    if len(changes) == 1:
        tx.apply("add_backlog", changes[0])
    elif changes:
        tx.apply_many("add_backlog", changes)
    for state in states:
        state.tidy(tx)


def unknown(queue_id: str) -> QueueNotFound:
    """Make the one answer for queues that are missing and for those of other accounts."""
    return QueueNotFound(f"Queue {queue_id[:64]!r} does not exist.")


def find(tx: Transaction, queue_id: str) -> QueueState | None:
    """Load a queue for a message verb, or None."""
    row = tx.fetch_one("queue_state", (queue_id,))
    return QueueState(row) if row else None


def find_lane(tx: Transaction, lane: int) -> QueueState | None:
    """Load the queue that uses a lane, or None when the lane was let go."""
    row = tx.fetch_one("queue_of_lane", (lane,))
    return find(tx, _decode(row[0]).id) if row else None


def find_each(tx: Transaction, queue_ids: Iterable[str]) -> dict[str, QueueState | None]:
    """Load queues into which messages are about to go, so that none of their lanes is let go meanwhile."""
    wanted = sorted(set(queue_ids))
    tx.share(f"queue {queue_id}" for queue_id in wanted)
    found = tx.fetch_each("queue_state", [(queue_id,) for queue_id in wanted])
    return {queue_id: QueueState(rows[0]) if rows else None for queue_id, rows in zip(wanted, found, strict=True)}


def load(tx: Transaction, queue_id: str) -> QueueState:
    """Load a queue for a message verb.

    Raises:
        QueueNotFound: no such queue.
    """
    state = find(tx, queue_id)
    if state is None:
        raise unknown(queue_id)
    return state


def named(tx: Transaction, account_id: str, name: str) -> Queue | None:
    """Give the account's queue of that name."""
    row = tx.fetch_one("queue_named", (account_id, name))
    return _decode(row[0]) if row else None


def called(tx: Transaction, name: str) -> list[Queue]:
    """Give all accounts' queues of that name."""
    return [_decode(row[0]) for row in tx.fetch("queues_called", (name,))]


def pushed(tx: Transaction) -> list[Queue]:
    """Give all accounts' queues that are pushed to a URL."""
    return [_decode(row[0]) for row in tx.fetch("pushed_queues", ())]


def redriving(tx: Transaction) -> list[Queue]:
    """Give all accounts' dead-letter queues that give their messages back."""
    return [_decode(row[0]) for row in tx.fetch("redriving_queues")]


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
    return [_decode(row[0]) for row in tx.fetch("queues", {"account_id": account_id})]


def oldest_of_all(tx: Transaction) -> list[tuple[Queue, int]]:
    """Give the queues that hold messages, each with the time its oldest one was sent."""
    rows = tx.fetch("queues_with_backlog")
    oldest = tx.oldest_each([lane for _, lane in rows])
    return [
        (_decode(value), sent_at_ms)
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
