"""The rules of a message's way: checked and stamped on its way in, leased, settled, moved. Its store keeps it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from millrace import limits
from millrace.audit import Entry, entry_of
from millrace.batch import check_delay_seconds
from millrace.clock import Clock
from millrace.errors import (
    BatchCountWrong,
    BatchTooLarge,
    InvalidBatchDelay,
    InvalidInput,
    InvalidMessage,
    InvalidRequest,
    MessageTooLarge,
    PullNotEnabled,
)
from millrace.idempotency import Once, content_key, make_once
from millrace.ids import NewId, new_id
from millrace.message import Backlog, Lease, Message, Outgoing, Stamped, check_features, check_time, is_plain
from millrace.queue import Queue
from millrace.settlement import Ack, Buried, Outcome, Released, Removed, Settlement
from millrace.store import ALL, Cleared, IsReady, Placed, Received, RedriveFilter, Repeated, Store, Stored
from millrace.telemetry import Telemetry

T = TypeVar("T")


class Sent(NamedTuple):
    """A message that was sent, the queue's backlog after it, and the `ref` to cancel, reschedule or discard it by.

    The ref is None where the queue keeps no row of it: of a repeat, whose id is the first one's, and of what went to
    other queues only.
    """

    id: str
    ref: str | None
    backlog: Backlog


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
        now_ms = self._clock()
        stamped = stamp(queue, message, None, now_ms, max_bytes, self._new_id)
        once = None if idempotency_key is None else make_once(idempotency_key, [message], None)
        backlog = await self._store_messages(queue, [stamped], once)
        (place,) = places_of([stamped], backlog)
        return Sent(place.id, f"{place.key:016x}{place.id}" if place.key else None, backlog)

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
        delay_seconds = _checked_delay(delay_seconds, InvalidBatchDelay)
        now_ms = self._clock()
        stamped = [
            stamp(queue, message, delay_seconds, now_ms, limits.MESSAGE_BYTES, self._new_id) for message in messages
        ]
        size = sum(len(message.body) for message in stamped)
        if size > limits.BATCH_BYTES:
            raise BatchTooLarge(f"batch size of {size} bytes exceeds limit of {limits.BATCH_BYTES} bytes")
        once = None if idempotency_key is None else make_once(idempotency_key, messages, delay_seconds)
        return await self._store_messages(queue, stamped, once)

    async def receive(self, queue: Queue, limit: int, lease_ms: int, is_ready: IsReady | None = None) -> Received:
        """Lease up to `limit` ready messages, once `is_ready(count, ready_since_ms, is_urgent)` agrees."""
        while True:
            received = await self._store.receive(queue.id, limit, lease_ms, self._clock(), is_ready)
            report_cleared(self._telemetry, received.cleared)
            if not received.unfinished:
                break
        if received.messages:
            self._emit(queue, "message.received", len(received.messages))
        return received

    async def settle(self, queue: Queue, outcomes: Sequence[tuple[Lease, Outcome]]) -> list[Settlement | None]:
        """Apply outcomes, a thousand a transaction; None stands for a lease that no longer counts.

        Raises:
            InvalidMessage: the delay of a retry is not within 0 to 86,400 s; nothing was applied.
        """
        for _, outcome in outcomes:
            if not isinstance(outcome, Ack) and getattr(outcome, "delay_seconds", None) is not None:
                _checked_delay(outcome.delay_seconds, InvalidMessage)  # type: ignore[union-attr]
        settlements: list[Settlement | None] = []
        for chunk in _chunks(outcomes):
            settlements += await self._store.settle(queue.id, chunk, self._clock())
        self._report(queue, settlements)
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
        _check_range("batch_size", limit, 1, limits.PEEK_MESSAGES)
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
        self._emit(queue, "queue.purged", 1)
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
                if moved:
                    self._emit(queue, "message.redriven", moved)
                return moved
            after_key = next_key

    async def _store_messages(self, queue: Queue, stamped: list[Stamped], once: Once | None) -> Backlog:
        began = perf_counter()
        backlog = await self._store.send(queue.id, stamped, once)
        for name, fields in sent_events(queue, stamped, backlog, (perf_counter() - began) * 1000):
            self._telemetry.emit(name, **fields)
        return backlog

    def _report(self, queue: Queue, settlements: Sequence[Settlement | None]) -> None:
        counts = {
            "message.acked": 0,
            "message.released": 0,
            "message.buried": 0,
            "message.dropped": 0,
            "lease.stale": 0,
        }
        for settlement in settlements:
            match settlement:
                case Removed(reason=None):
                    counts["message.acked"] += 1
                case Removed():
                    counts["message.dropped"] += 1
                case Released():
                    counts["message.released"] += 1
                case Buried():
                    counts["message.buried"] += 1
                case None:
                    counts["lease.stale"] += 1
        for name, count in counts.items():
            if count:
                self._emit(queue, name, count)

    def _entry(self, queue: Queue, act: str) -> Entry:
        return entry_of(queue.account_id, self._clock(), act, f"queue {queue.name}")

    def _emit(self, queue: Queue, name: str, count: int) -> None:
        self._telemetry.emit(name, account_id=queue.account_id, queue=queue.name, count=count)


def stamp(
    queue: Queue, message: Outgoing, batch_delay: float | None, now_ms: int, max_bytes: int, new_id: NewId = new_id
) -> Stamped:
    """Check a message on its way into a queue and give it its id and its times.

    Raises:
        InvalidMessage: the delay is not within 0 to 86,400 s, the time not within 0 to 2**53 - 1, or there are both;
            or a priority, key or header that is none.
        MessageTooLarge: more than `max_bytes`.
    """
    if len(message.body) > max_bytes:
        raise MessageTooLarge(f"message size of {len(message.body)} bytes exceeds limit of {max_bytes} bytes")
    delay = message.delay_seconds
    if delay is None:
        delay = queue.settings.delivery_delay if batch_delay is None else batch_delay
    else:
        _checked_delay(delay, InvalidMessage)
    stamped = Stamped(
        id=new_id(),
        body=message.body,
        content_type=message.content_type,
        sent_at_ms=now_ms,
        visible_at_ms=now_ms + round(delay * 1000),
        source=message.source,
        headers=message.headers,
        is_timed=message.delay_seconds is not None or batch_delay is not None,
    )
    return (
        stamped if is_plain(message) and not queue.settings.deduplicate_content else _featured(message, stamped, queue)
    )


def _featured(message: Outgoing, stamped: Stamped, queue: Queue) -> Stamped:
    """Check and add what a message asks for beyond its body and a delay."""
    check_features(message)
    if message.send_at_ms is not None:
        at_ms = max(stamped.sent_at_ms, message.send_at_ms)
        stamped = replace(stamped, visible_at_ms=at_ms, kept_since_ms=at_ms, is_timed=True)
    dedupe_key = message.dedupe_key
    if dedupe_key is None and queue.settings.deduplicate_content:
        dedupe_key = content_key(message)
    return replace(stamped, priority=message.priority, ordering_key=message.ordering_key, dedupe_key=dedupe_key)


class Terms(NamedTuple):
    """How many messages a client takes at most, for how long, and whether the consumer's window holds for it."""

    limit: int
    lease_ms: int
    in_window: bool


def pull_terms(
    queue: Queue, batch_size: int | None, visibility_timeout_ms: int | None, *, is_worker: bool = False
) -> Terms:
    """Say on which terms a client may take messages; the consumer's settings serve as defaults.

    A client that `is_worker` stands in for the handler of a consumer of type worker: it gets the batches that the
    handler would get.

    Raises:
        PullNotEnabled: the queue has no consumer of type http_pull, or worker for a worker.
        InvalidRequest: a number out of range.
    """
    kind = queue.consumer.type if queue.consumer else None
    if queue.consumer is None or not (kind == "http_pull" or (is_worker and kind == "worker")):
        raise PullNotEnabled("messages cannot be pulled unless http_pull mode is enabled")
    in_window = kind == "worker"
    settings = queue.consumer.settings
    limit = settings.batch_size if batch_size is None else batch_size
    default_ms = limits.PUSH_LEASE_MS if in_window else settings.visibility_timeout_ms
    lease_ms = default_ms if visibility_timeout_ms is None else visibility_timeout_ms
    _check_range("batch_size", limit, 1, limits.CONSUMER_BATCH_SIZE)
    _check_range("visibility_timeout_ms", lease_ms, 0, limits.VISIBILITY_TIMEOUT_MS_MAX)
    return Terms(settings.batch_size if in_window else limit, lease_ms, in_window)


def places_of(stamped: Sequence[Stamped], backlog: Backlog) -> Sequence[Placed]:
    """Say where a send has put each message."""
    if isinstance(backlog, Repeated):
        return [Placed(backlog.first_id, 0)]
    if not isinstance(backlog, Stored):
        return [Placed(message.id, 0) for message in stamped]
    return backlog.places or [Placed(message.id, key) for key, message in enumerate(stamped, backlog.first_key)]


def stored_of(stamped: Sequence[Stamped], backlog: Backlog) -> Sequence[Stamped]:
    """Give those messages of a send that repeat no other one."""
    if isinstance(backlog, Repeated):
        return []
    places = backlog.places if isinstance(backlog, Stored) else ()
    return [one for one, place in zip(stamped, places, strict=True) if one.id == place.id] if places else stamped


def sent_events(
    queue: Queue, stamped: Sequence[Stamped], backlog: Backlog, duration_ms: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the events that tell of a send, with their fields; of the repeat of a whole send there is nothing to tell."""
    stored = stored_of(stamped, backlog)
    fields = {"account_id": queue.account_id, "queue": queue.name}
    if len(stored) < len(stamped) and not isinstance(backlog, Repeated):
        yield "message.deduplicated", {**fields, "count": len(stamped) - len(stored)}
    if stored:
        size = sum(len(message.body) for message in stored)
        yield "message.sent", {**fields, "count": len(stored), "body_bytes": size, "duration_ms": duration_ms}


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what one transaction may not hold; give an empty sequence once, so that the queue is looked up."""
    for first in range(0, max(1, len(items)), limits.ROWS_PER_TRANSACTION):
        yield items[first : first + limits.ROWS_PER_TRANSACTION]


def report_cleared(telemetry: Telemetry, cleared: Sequence[Cleared]) -> None:
    """Tell of messages that left their queues without an outcome."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for group in cleared:
        counts[group.event, group.account_id, group.queue] += group.count
    for (event, account_id, queue), count in counts.items():
        telemetry.emit(event, account_id=account_id, queue=queue, count=count)


def _checked_delay(delay_seconds: float | None, error: type[InvalidInput]) -> float | None:
    try:
        return check_delay_seconds(delay_seconds)
    except InvalidInput as refusal:
        raise error(str(refusal)) from None


def _checked_rate(per_second: float) -> float:
    if not per_second >= limits.REDRIVE_RATE_MIN:
        raise InvalidRequest(f"per_second is {per_second}; expected {limits.REDRIVE_RATE_MIN} or more")
    return per_second


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidRequest(f"{name} is {value}; expected {low} to {high}")


def _parse_ref(ref: str) -> tuple[int, str]:
    """Split a ref into key and id; what is no ref becomes one that no message has."""
    try:
        key = int(ref[:16], 16)
    except ValueError:
        return -1, ""
    return (key, ref[16:]) if 0 <= key < 1 << 63 else (-1, "")
