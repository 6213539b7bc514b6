"""What the clients of a server were told, and what must be true of it however often the server died.

All times are the client's monotonic seconds: `began` when a request was sent, `ended` when its answer was there.
What the server decided, it decided between the two; no check asks for more than that.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

CONFIRMED, REFUSED, UNKNOWN = "confirmed", "refused", "unknown"
Outcome = Literal["confirmed", "refused", "unknown"]

CLOCK_SECONDS = 0.05  # how far a server's seconds may be from ours: its clock leans by a thousandth


class Sending(NamedTuple):
    """One request that sends messages: each has a body of its own and its delay."""

    delays: dict[str, float]
    began: float
    ended: float
    outcome: Outcome


class Delivery(NamedTuple):
    """One message in the answer to a pull."""

    queue: str
    body: str
    message_id: str
    lease_id: str
    attempts: int
    timestamp_ms: int
    lease_seconds: float
    began: float
    ended: float
    draining: bool


class Settling(NamedTuple):
    """One lease in an ack request; `delay_seconds` None is an ack."""

    lease_id: str
    delay_seconds: float | None
    began: float
    ended: float
    outcome: Outcome


class Ledger:
    """Everything that was asked and answered. Threads append to its lists."""

    def __init__(self) -> None:
        self.sendings: list[Sending] = []
        self.deliveries: list[Delivery] = []
        self.settlings: list[Settling] = []
        self.refusals: list[str] = []

    def check(self) -> None:
        """Hold the ledger to every promise; it must have been drained."""
        broken = [sentence for promise in PROMISES for sentence in promise(self)]
        assert not broken, f"{len(broken)} broken promises:\n" + "\n".join(broken[:20])

    def settlings_by_lease(self) -> dict[str, list[Settling]]:
        found: dict[str, list[Settling]] = defaultdict(list)
        for settling in self.settlings:
            found[settling.lease_id].append(settling)
        return found

    def deliveries_by_body(self) -> dict[str, list[Delivery]]:
        found: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in self.deliveries:
            found[delivery.body].append(delivery)
        return found

    def summary(self) -> str:
        sent = Counter(sending.outcome for sending in self.sendings)
        settled = Counter(settling.outcome for settling in self.settlings)
        return f"requests to send: {dict(sent)}, deliveries: {len(self.deliveries)}, settled: {dict(settled)}"


def _nothing_is_refused(ledger: Ledger) -> Iterator[str]:
    yield from ledger.refusals


def _what_was_answered_is_delivered_until_acknowledged(ledger: Ledger) -> Iterator[str]:
    settlings, deliveries = ledger.settlings_by_lease(), ledger.deliveries_by_body()
    for sending in ledger.sendings:
        for body in sending.delays if sending.outcome == CONFIRMED else ():
            leases = [delivery.lease_id for delivery in deliveries[body]]
            if not any(_may_be_acked(settling) for lease in leases for settling in settlings[lease]):
                yield f"{body[:40]} was answered and is lost after {len(leases)} deliveries"


def _a_batch_is_stored_whole_or_not_at_all(ledger: Ledger) -> Iterator[str]:
    deliveries = ledger.deliveries_by_body()
    for sending in ledger.sendings:
        seen = sum(body in deliveries for body in sending.delays)
        if seen not in (0, len(sending.delays)):
            yield f"{seen} of {len(sending.delays)} messages of a batch that was {sending.outcome} are there"


def _what_was_refused_is_not_stored(ledger: Ledger) -> Iterator[str]:
    deliveries = ledger.deliveries_by_body()
    for sending in ledger.sendings:
        if sending.outcome == REFUSED and any(body in deliveries for body in sending.delays):
            yield f"{next(iter(sending.delays))[:40]} was refused and yet delivered"


def _one_push_is_one_message(ledger: Ledger) -> Iterator[str]:
    for body, deliveries in ledger.deliveries_by_body().items():
        stamps = {(delivery.message_id, delivery.timestamp_ms) for delivery in deliveries}
        if len(stamps) > 1:
            yield f"{body[:40]} was delivered as {stamps}"
        if sum(delivery.draining for delivery in deliveries) > 1:
            yield f"{body[:40]} was in the queues more than once at the end"


def _nothing_is_delivered_before_its_delay(ledger: Ledger) -> Iterator[str]:
    deliveries = ledger.deliveries_by_body()
    for sending in ledger.sendings:
        for body, delay in sending.delays.items():
            for delivery in deliveries[body]:
                early = sending.began + delay - CLOCK_SECONDS - delivery.ended
                if early > 0:
                    yield f"{body[:40]} was delivered {early:.3f} s before its delay of {delay} s was over"


def _a_lease_has_one_holder(ledger: Ledger) -> Iterator[str]:
    settlings = ledger.settlings_by_lease()
    for deliveries in _deliveries_in_order(ledger):
        for former, latter in pairwise(deliveries):
            if former.attempts == latter.attempts:
                yield f"{former.body[:40]} was delivered twice as attempt {former.attempts}"
            early = _free_again_at(former, settlings[former.lease_id]) - CLOCK_SECONDS - latter.ended
            if early > 0:
                yield f"{former.body[:40]} was delivered again {early:.3f} s before it was free"


def _nothing_comes_back_after_its_ack(ledger: Ledger) -> Iterator[str]:
    settlings = ledger.settlings_by_lease()
    for body, deliveries in ledger.deliveries_by_body().items():
        acks = [(delivery, settling) for delivery in deliveries for settling in settlings[delivery.lease_id]]
        for acked, settling in acks:
            if _is_acked(settling) and any(_follows(later, acked, settling) for later in deliveries):
                yield f"{body[:40]} came back after its ack"


PROMISES = (
    _nothing_is_refused,
    _what_was_answered_is_delivered_until_acknowledged,
    _a_batch_is_stored_whole_or_not_at_all,
    _what_was_refused_is_not_stored,
    _one_push_is_one_message,
    _nothing_is_delivered_before_its_delay,
    _a_lease_has_one_holder,
    _nothing_comes_back_after_its_ack,
)


def _may_be_acked(settling: Settling) -> bool:
    return settling.delay_seconds is None and settling.outcome != REFUSED


def _is_acked(settling: Settling) -> bool:
    return settling.delay_seconds is None and settling.outcome == CONFIRMED


def _deliveries_in_order(ledger: Ledger) -> Iterator[list[Delivery]]:
    """Group the deliveries of a message in a queue by attempt; a dead-letter queue counts its own attempts."""
    found: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
    for delivery in ledger.deliveries:
        found[delivery.queue, delivery.message_id].append(delivery)
    for deliveries in found.values():
        yield sorted(deliveries, key=lambda delivery: delivery.attempts)


def _free_again_at(delivery: Delivery, settlings: Sequence[Settling]) -> float:
    """Give the earliest time at which another may have the message: after its lease, or after a retry."""
    retries = [settling for settling in settlings if settling.delay_seconds is not None]
    confirmed = [settling.began + settling.delay_seconds for settling in retries if settling.outcome == CONFIRMED]
    perhaps = [settling.began + settling.delay_seconds for settling in retries if settling.outcome == UNKNOWN]
    return min(confirmed or [delivery.began + delivery.lease_seconds, *perhaps])


def _follows(later: Delivery, acked: Delivery, settling: Settling) -> bool:
    if later.queue == acked.queue and later.attempts > acked.attempts:
        return True
    return later.began > settling.ended
