"""A queue as one transaction sees it: its value, its lane, its backlog; loaded, changed and saved."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from millrace import limits
from millrace.errors import QueueNotFound
from millrace.message import NORMAL
from millrace.queue import Queue
from millrace.settlement import Policy
from millrace.sql.lanes import keys_of_lane
from millrace.sql.transaction import Row, Transaction
from millrace.store import Cleared

NO_RETENTION_MS = 1 << 62
NEVER_MS = 1 << 62  # when a message becomes visible that waits behind another one of its ordering key

FOLD_CHANGES = 64  # where changes of a backlog are rows: as many as a look at it may cost
FOLD_AGAIN = 16  # while a transaction of others is open, folding has to wait for it; so often it is tried

RANKED, ORDERED = 1, 2  # features of a lane: it has had messages of more than one priority, or with an ordering key

decode_queue = lru_cache(maxsize=4096)(msgspec.json.Decoder(Queue).decode)  # the same text, the same immutable value


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
        self.queue = decode_queue(value)
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
    return find(tx, decode_queue(row[0]).id) if row else None


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
