"""The contract of the vault. Each sentence of a docstring is a promise with a test in tests/conformance/."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import msgspec

from millrace.audit import Entry
from millrace.idempotency import Once
from millrace.message import Backlog, Lease, Message, Stamped
from millrace.placing import Stored
from millrace.queue import Queue
from millrace.redriving import ALL, RedriveFilter
from millrace.settlement import Outcome, Settlement

T = TypeVar("T")

IsReady = Callable[[int, int, bool], bool]


class Cleared(msgspec.Struct, frozen=True):
    """Messages that left a queue without an outcome; `event` is message.buried, .dropped or .expired."""

    account_id: str
    queue: str
    event: str
    count: int


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What a receive took, with the backlog it left; or, when it took nothing, when to look again."""

    messages: list[Message]
    backlog: Backlog | None = None
    ready_since_ms: int | None = None
    next_due_at_ms: int | None = None
    cleared: list[Cleared] = []
    unfinished: bool = False


class Store(Protocol):
    """Queues and their messages, durably. `shares` says whether other processes write to it at the same time.

    Every verb answers after its commit: what it says has happened is on disk. A verb that raises has changed
    nothing. `StoreUnavailable` can come from any of them. Where an `entry` is given, the verb completes it by what it
    found and writes it into the audit trail in the same transaction, if anything was changed.
    """

    shares: bool

    async def send(self, queue_id: str, messages: Sequence[Stamped], once: Once | None = None) -> Stored:
        """Store all messages or none, and give the queue's backlog with them in it.

        - A queue's `max_backlog_messages` and `max_backlog_bytes` are never exceeded by a send.
        - With `once`, a repeat within 24 h (same queue, key and content) stores nothing and gives `Repeated`.
        - Concurrent repeats are stored once.
        - The key guards after its messages were settled or purged, too, and a full queue answers a repeat.
        - A send that was refused leaves its keys free.
        - A message whose `dedupe_key` the queue was sent within its `deduplication_seconds` is not stored, whatever it
          holds; the others of the send are. Its place has the first one's id. This, too, counts after settlement and
          purge, and in a full queue.
        - Of messages with the same `ordering_key` one at a time can be received: the first that came, until it is gone.
        - Each of the queue's `forwards` whose headers a message has gets a copy: same id, the target's own delay unless
          the sender gave one. A missing target is created, one that is full refuses the whole send, and a copy is
          forwarded no further. With `forward_only` the queue itself keeps none that a forward took.

        Raises:
            QueueNotFound: no such queue.
            BacklogFull: the messages would exceed a limit of the queue, or of one that it forwards to.
            IdempotencyKeyReused: within 24 h the queue was sent something else with this key.
        """
        ...

    async def receive(
        self, queue_id: str, limit: int, lease_ms: int, now_ms: int, is_ready: IsReady | None = None
    ) -> Received:
        """Take up to `limit` ready messages under a new lease of `lease_ms`.

        - Ready is what is visible and within retention; oldest first by the time it became ready, ties by arrival.
        - Each priority above low is a head start of the consumer's `head_start_seconds` in this order, no more: what has
          waited longer goes first all the same.
        - While a message is not gone, none that came after it with the same ordering key is ready. A lapsed or retried
          one keeps its place.
        - A consumer with a rate limit gets no more than that allows, from whoever receives; when that is nothing,
          `next_due_at_ms` is when it may take the next.
        - Concurrent receivers get disjoint messages. Each delivery has a new receipt and counts one attempt.
        - A lease that lapses makes its message ready again, after the consumer's retry delay.
        - A lapsed message that has no delivery left is buried instead, and its place filled.
        - A paused queue gives nothing.
        - `is_ready(count, ready_since_ms, is_urgent)`, when given, may decline what was found; then nothing is leased.
          Urgent is a find with a message of high priority in it.
        - When nothing was taken, `ready_since_ms` tells since when something is ready and `next_due_at_ms` when
          the next message becomes visible. `unfinished` asks to call again: much was cleaned up first.

        Raises:
            QueueNotFound: no such queue.
            DeliveryPaused: the queue is paused.
        """
        ...

    async def settle(
        self, queue_id: str, outcomes: Sequence[tuple[Lease, Outcome]], now_ms: int
    ) -> list[Settlement | None]:
        """Apply outcomes in one transaction and give each one's settlement, None for a stale lease.

        - An ack counts as long as the message was not delivered again, even after its lease has lapsed.
        - Any other outcome counts only within its lease.
        - A stale lease, one of another queue and one that never was change nothing.
        - What is buried keeps id, body and time; its attempts begin anew; a missing dead-letter queue is created.

        Raises:
            QueueNotFound: no such queue.
        """
        ...

    async def extend(self, queue_id: str, leases: Sequence[Lease], until_ms: int) -> set[Lease]:
        """Move the end of leases and give those that were still current."""
        ...

    async def peek(self, queue_id: str, limit: int, now_ms: int, after_key: int = 0) -> list[Message]:
        """Show messages in any state, oldest first, without leasing or counting anything."""
        ...

    async def backlog(self, queue_id: str) -> Backlog:
        """Count what is not yet settled, exactly, without reading the messages."""
        ...

    async def discard(
        self, queue_id: str, refs: Sequence[tuple[int, str]], now_ms: int, entry: Entry | None = None
    ) -> list[bool]:
        """Remove messages by (key, id) for good, and say which were there."""
        ...

    async def cancel(
        self, queue_id: str, refs: Sequence[tuple[int, str]], now_ms: int, entry: Entry | None = None
    ) -> list[bool]:
        """Remove messages by (key, id) that are scheduled, and say which were.

        Scheduled is what is due in the future or waits behind another of its ordering key, and was never delivered.
        """
        ...

    async def reschedule(
        self, queue_id: str, ref: tuple[int, str], at_ms: int, now_ms: int, entry: Entry | None = None
    ) -> bool:
        """Let a message that is scheduled be due at another time, and say whether it was; retention counts from then."""
        ...

    async def purge(self, queue_id: str, now_ms: int, entry: Entry | None = None) -> Queue:
        """Remove every message of the queue at once, at any depth, and give the queue."""
        ...

    async def redrive(
        self,
        queue_id: str,
        now_ms: int,
        after_key: int = 0,
        wanted: RedriveFilter = ALL,
        spacing_ms: float = 0,
        first: int = 0,
        entry: Entry | None = None,
    ) -> tuple[int, int | None]:
        """Move buried messages that are wanted back to the queues they came from, as new, in chunks.

        Give how many were moved and the key to go on after, None at the end. Messages under a lease and those
        whose queue is gone stay. Each is due `spacing_ms` after the one before; the first of them is number `first`,
        due at `now_ms` if that is 0.
        """
        ...

    async def create_queue(self, queue: Queue, entry: Entry | None = None) -> Queue:
        """Add a queue; a dead-letter queue that its consumer names and that is missing is created with it.

        Raises:
            QueueNameTaken: the account has a queue of that name.
        """
        ...

    async def queue(self, account_id: str, queue_id: str) -> Queue:
        """Give a queue of this account.

        Raises:
            QueueNotFound: the account has no queue of this id, whoever else has.
        """
        ...

    async def queue_named(self, account_id: str, name: str) -> Queue | None:
        """Give the account's queue of exactly that name."""
        ...

    async def queues(self, account_id: str) -> list[Queue]:
        """Give the account's queues, oldest first."""
        ...

    async def pushed_queues(self) -> list[Queue]:
        """Give the queues of all accounts whose consumer is of type http_push."""
        ...

    async def redriving_queues(self) -> list[Queue]:
        """Give the queues of all accounts that have `auto_redrive` set."""
        ...

    async def update_queue(
        self, account_id: str, queue_id: str, change: Callable[[Queue], Queue], entry: Entry | None = None
    ) -> Queue:
        """Replace a queue by `change(queue)`; a dead-letter queue that is missing is created with it.

        Raises:
            QueueNotFound: no such queue.
            QueueNameTaken: the new name is another queue's.
        """
        ...

    async def delete_queue(self, account_id: str, queue_id: str, entry: Entry | None = None) -> None:
        """Remove a queue with its messages and leases at once, at any depth; its name is free.

        Raises:
            QueueNotFound: no such queue.
        """
        ...

    async def bury_lapsed(self, now_ms: int) -> list[Cleared]:
        """Settle messages whose last delivery lapsed, also of queues that nobody reads, in chunks; give them."""
        ...

    async def expire(self, now_ms: int) -> tuple[list[Cleared], int]:
        """Remove messages past their retention; give them, and when to come again at the latest."""
        ...

    async def sweep(self) -> int:
        """Remove a chunk of purged and deleted messages from the disk; give how many rows."""
        ...

    async def expire_idempotency_keys(self, now_ms: int) -> int:
        """Remove a chunk of the keys whose 24 h are over; give how many."""
        ...

    async def backlogs(self, account_id: str) -> dict[str, Backlog]:
        """Count the backlog of each of the account's queues, by name."""
        ...

    async def check(self) -> None:
        """Write something small durably.

        Raises:
            StoreUnavailable: it cannot be written now.
        """
        ...

    async def foreign_version(self) -> int:
        """Give a number that differs from the last one once another process has changed the store."""
        ...

    def chosen(self) -> bool | None:
        """Say whether of all servers on the store this one was chosen to lead; None where nobody chooses."""
        ...

    def look_again_seconds(self) -> float:
        """Give how long whoever watches waits for the event at most, and then looks himself: it may have been lost."""
        ...

    def watch(self, queue_id: str) -> AbstractContextManager[asyncio.Event]:
        """Give an event that is set whenever something in the queue may have become ready."""
        ...

    async def write(self, fn: Callable[[Any], T]) -> T:
        """Run a plain function in a transaction of its own that commits with its neighbours."""
        ...

    async def read(self, fn: Callable[[Any], T]) -> T:
        """Run a plain function that only reads."""
        ...
