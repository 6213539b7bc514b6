"""The rules of a message's way: checked and stamped on its way in, leased, settled, moved. Its store keeps it."""

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from millrace import limits
from millrace.audit import Entry, entry_of
from millrace.clock import Clock
from millrace.errors import BatchCountWrong, BatchTooLarge, InvalidBatchDelay, InvalidMessage, InvalidRequest
from millrace.idempotency import Once, make_once
from millrace.ids import NewId, new_id
from millrace.message import Backlog, Lease, Message, Outgoing, Stamped, check_time
from millrace.placing import Stored
from millrace.queue import Queue
from millrace.redriving import ALL, RedriveFilter
from millrace.reporting import tell_cleared, tell_count, tell_sent, tell_settled
from millrace.settlement import Ack, Outcome, Settlement
from millrace.stamping import checked_delay, stamp
from millrace.store import IsReady, Received, Store
from millrace.telemetry import Telemetry
from millrace.terms import check_range

T = TypeVar("T")


class Sent(NamedTuple):
    """A message that was sent, the key of its row, and the queue's backlog after it.

    The key is 0 where the queue keeps no row of it: of a repeat, whose id is the first one's, and of what went to
    other queues only.
    """

    id: str
    key: int
    backlog: Backlog

    @property
    def ref(self) -> str | None:
        """Name the message to cancel, reschedule or discard it, if there is a row of it."""
        return f"{self.key:016x}{self.id}" if self.key else None


class Broker:
    """Sends, receives and settles messages of queues that the caller has looked up."""

    def __init__(self, store: Store, clock: Clock, telemetry: Telemetry, new_id: NewId = new_id) -> None:
        self._store, self._clock, self._telemetry, self._new_id = store, clock, telemetry, new_id

    async def send(
        self,
        queue: Queue,
        message: Outgoing,
        *,
        max_bytes: int = limits.MESSAGE_BYTES,
        idempotency_key: str | None = None,
    ) -> Sent:
        """Store one message durably.

        A repeat with the same `idempotency_key` within 24 h, or the same deduplication key within the queue's window,
        stores nothing and gives the id of the first time.

        Raises:
            InvalidMessage: see `stamp`, or the key is none.
            MessageTooLarge: more than `max_bytes`.
            BacklogFull: the queue's own limit, or that of one that it forwards to.
            IdempotencyKeyReused: the key stands for another message.
        """
        stamped = stamp(queue, [message], self._clock(), max_bytes=max_bytes, new_id=self._new_id)
        once = None if idempotency_key is None else make_once(idempotency_key, [message], None)
        stored = await self._store_messages(queue, stamped, once)
        return Sent(stored.first_id, stored.first_key, stored)

    async def send_batch(
        self,
        queue: Queue,
        messages: Sequence[Outgoing],
        *,
        delay_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> Backlog:
        """Store 1 to 100 messages durably, all or none.

        A repeat with the same `idempotency_key` within 24 h stores nothing. Messages whose deduplication key the queue
        was sent within its window are left out.

        Raises:
            BatchCountWrong, BatchTooLarge, InvalidBatchDelay: of the whole.
            InvalidMessage, MessageTooLarge: of one of them, or the key is none.
            BacklogFull: the queue's own limit, or that of one that it forwards to.
            IdempotencyKeyReused: the key stands for other messages.
        """
        if not 1 <= len(messages) <= limits.BATCH_MESSAGES:
            raise BatchCountWrong(f"the batch has {len(messages)} messages; expected 1 to {limits.BATCH_MESSAGES}")
        delay_seconds = checked_delay(delay_seconds, InvalidBatchDelay)
        stamped = stamp(queue, messages, self._clock(), delay_seconds=delay_seconds, new_id=self._new_id)
        size = sum([len(message.body) for message in stamped])
        if size > limits.BATCH_BYTES:
            raise BatchTooLarge(f"batch size of {size} bytes exceeds limit of {limits.BATCH_BYTES} bytes")
        once = None if idempotency_key is None else make_once(idempotency_key, messages, delay_seconds)
        return await self._store_messages(queue, stamped, once)

    async def receive(self, queue: Queue, limit: int, lease_ms: int, is_ready: IsReady | None = None) -> Received:
        """Lease up to `limit` ready messages, once `is_ready(count, ready_since_ms, is_urgent)` agrees."""
        while True:
            received = await self._store.receive(queue.id, limit, lease_ms, self._clock(), is_ready)
            tell_cleared(self._telemetry.emit, received.cleared)
            if not received.unfinished:
                break
        self._tell(queue, "message.received", len(received.messages))
        return received

    async def settle(self, queue: Queue, outcomes: Sequence[tuple[Lease, Outcome]]) -> list[Settlement | None]:
        """Apply outcomes, a thousand a transaction; None stands for a lease that no longer counts.

        Raises:
            InvalidMessage: the delay of a retry is not within 0 to 86,400 s; nothing was applied.
        """
        for _, outcome in outcomes:
            if not isinstance(outcome, Ack) and getattr(outcome, "delay_seconds", None) is not None:
                checked_delay(outcome.delay_seconds, InvalidMessage)  # type: ignore[union-attr]
        settlements: list[Settlement | None] = []
        for chunk in _chunks(outcomes):
            settlements += await self._store.settle(queue.id, chunk, self._clock())
        tell_settled(self._telemetry.emit, queue, settlements)
        return settlements

    async def extend(self, queue: Queue, leases: Sequence[Lease], lease_ms: int) -> set[Lease]:
        """Let leases end `lease_ms` from now; give those that were still current."""
        current: set[Lease] = set()
        for chunk in _chunks(leases):
            current |= await self._store.extend(queue.id, chunk, self._clock() + lease_ms)
        return current

    async def peek(self, queue: Queue, limit: int, after_key: int = 0) -> list[Message]:
        """Show messages in any state, oldest first.

        Raises:
            InvalidRequest: `limit` is not within 1 to 100.
        """
        check_range("batch_size", limit, 1, limits.PEEK_MESSAGES)
        return await self._store.peek(queue.id, limit, self._clock(), after_key)

    async def backlog(self, queue: Queue) -> Backlog:
        """Count what is not yet settled."""
        return await self._store.backlog(queue.id)

    async def discard(self, queue: Queue, refs: Sequence[str]) -> list[bool]:
        """Remove messages named by the `ref` of a peek, and say which were there."""
        found: list[bool] = []
        for chunk in _chunks([_parse_ref(ref) for ref in refs]):
            entry = self._entry(queue, "message.discarded")
            found += await self._store.discard(queue.id, chunk, entry.at_ms, entry)
        return found

    async def cancel(self, queue: Queue, refs: Sequence[str]) -> list[bool]:
        """Remove messages, by the `ref` of a send or a peek, that are scheduled for later, and say which were."""
        found: list[bool] = []
        for chunk in _chunks([_parse_ref(ref) for ref in refs]):
            entry = self._entry(queue, "message.cancelled")
            found += await self._store.cancel(queue.id, chunk, entry.at_ms, entry)
        return found

    async def reschedule(self, queue: Queue, ref: str, at_ms: int) -> bool:
        """Move a message that is scheduled for later to another time, and say whether it was; a time gone by is now.

        Raises:
            InvalidMessage: the time is not within 0 to 2**53 - 1.
        """
        check_time("at_ms", at_ms)
        entry = self._entry(queue, "message.rescheduled")
        return await self._store.reschedule(queue.id, _parse_ref(ref), at_ms, entry.at_ms, entry)

    async def purge(self, queue: Queue) -> Queue:
        """Remove every message of the queue."""
        entry = self._entry(queue, "queue.purged")
        purged = await self._store.purge(queue.id, entry.at_ms, entry)
        self._tell(queue, "queue.purged", 1)
        return purged

    async def redrive(self, queue: Queue, *, wanted: RedriveFilter = ALL, per_second: float | None = None) -> int:
        """Move the buried messages that are wanted back to the queues they came from; give how many.

        With `per_second` they are due one after the other, so many in a second.

        Raises:
            InvalidRequest: `per_second` is below 0.001, or the limit is below 1.
        """
        spacing_ms = 0.0 if per_second is None else 1000 / _checked_rate(per_second)
        if wanted.limit is not None and wanted.limit < 1:
            raise InvalidRequest(f"limit is {wanted.limit}; expected 1 or more")
        moved, after_key, now_ms = 0, 0, self._clock()
        while True:
            left = replace(wanted, limit=wanted.limit - moved) if wanted.limit is not None else wanted
            entry = self._entry(queue, "message.redriven")
            chunk, next_key = await self._store.redrive(queue.id, now_ms, after_key, left, spacing_ms, moved, entry)
            moved += chunk
            if next_key is None:
                self._tell(queue, "message.redriven", moved)
                return moved
            after_key = next_key

    async def _store_messages(self, queue: Queue, stamped: list[Stamped], once: Once | None) -> Stored:
        began = perf_counter()
        stored = await self._store.send(queue.id, stamped, once)
        tell_sent(self._telemetry.emit, queue, stamped, stored, (perf_counter() - began) * 1000)
        return stored

    def _entry(self, queue: Queue, act: str) -> Entry:
        return entry_of(queue.account_id, self._clock(), act, f"queue {queue.name}")

    def _tell(self, queue: Queue, event: str, count: int) -> None:
        tell_count(self._telemetry.emit, queue, event, count)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what one transaction may not hold; give an empty sequence once, so that the queue is looked up."""
    for first in range(0, max(1, len(items)), limits.ROWS_PER_TRANSACTION):
        yield items[first : first + limits.ROWS_PER_TRANSACTION]


def _checked_rate(per_second: float) -> float:
    if not per_second >= limits.REDRIVE_RATE_MIN:
        raise InvalidRequest(f"per_second is {per_second}; expected {limits.REDRIVE_RATE_MIN} or more")
    return per_second


def _parse_ref(ref: str) -> tuple[int, str]:
    """Split a ref into key and id; what is no ref becomes one that no message has."""
    try:
        key = int(ref[:16], 16)
    except ValueError:
        return -1, ""
    return (key, ref[16:]) if 0 <= key < 1 << 63 else (-1, "")
