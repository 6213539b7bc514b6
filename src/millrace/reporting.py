"""What telemetry is told of messages. `tell` is its `emit`, or gathers events until their transaction is committed."""

from collections import Counter
from collections.abc import Callable, Sequence

from millrace.message import Stamped
from millrace.placing import Repeated, Stored
from millrace.queue import Queue
from millrace.settlement import Buried, Released, Removed, Settlement
from millrace.store import Cleared

Tell = Callable[..., None]


def tell_count(tell: Tell, queue: Queue, event: str, count: int) -> None:
    """Tell how many messages of a queue something happened to, if to any."""
    if count:
        tell(event, account_id=queue.account_id, queue=queue.name, count=count)


def tell_sent(tell: Tell, queue: Queue, stamped: Sequence[Stamped], stored: Stored, duration_ms: float) -> None:
    """Tell of a send, and of the copies it made in other queues; of the repeat of a whole send there is nothing to tell."""
    if isinstance(stored, Repeated):
        return
    if stored.places:
        pairs = list(zip(stamped, stored.places, strict=True))
        tell_count(tell, queue, "message.deduplicated", sum(message.id != place.id for message, place in pairs))
        stamped = [message for message, place in pairs if place.key]
    if stamped:
        size = sum([len(message.body) for message in stamped])
        _tell_sent(tell, queue.account_id, queue.name, len(stamped), size, duration_ms)
    for copied in stored.copies:
        _tell_sent(tell, queue.account_id, copied.queue, copied.count, copied.bytes, duration_ms)


def tell_settled(tell: Tell, queue: Queue, settlements: Sequence[Settlement | None]) -> None:
    """Tell what became of deliveries; None stands for a lease that no longer counted."""
    counts = Counter(map(_event_of, settlements))
    for event, count in counts.items():
        tell_count(tell, queue, event, count)


def tell_cleared(tell: Tell, cleared: Sequence[Cleared]) -> None:
    """Tell of messages that left their queues without an outcome."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for group in cleared:
        counts[group.event, group.account_id, group.queue] += group.count
    for (event, account_id, queue), count in counts.items():
        tell(event, account_id=account_id, queue=queue, count=count)


def _tell_sent(tell: Tell, account_id: str, queue: str, count: int, size: int, duration_ms: float) -> None:
    tell("message.sent", account_id=account_id, queue=queue, count=count, body_bytes=size, duration_ms=duration_ms)


def _event_of(settlement: Settlement | None) -> str:
    match settlement:
        case Removed(reason=None):
            return "message.acked"
        case Removed():
            return "message.dropped"
        case Released():
            return "message.released"
        case Buried():
            return "message.buried"
    return "lease.stale"
