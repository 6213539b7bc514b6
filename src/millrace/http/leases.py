"""Pull, ack and extend: what clients do under leases, as Cloudflare's v4 API has it, and more."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from functools import partial
from time import monotonic
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace import limits
from millrace.access.scopes import Scope
from millrace.batch import check_reason
from millrace.errors import (
    BodyDoesNotFit,
    DeliveryPaused,
    InvalidMessage,
    InvalidRequest,
    PullNotEnabled,
    QueueNotFound,
    Unauthenticated,
)
from millrace.http.desk import Desk, queue_of
from millrace.http.envelope import success
from millrace.http.messages import M
from millrace.http.outgoing import Delay
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.http.shown import MetricsHolder, Pulled, metrics, pulled_message
from millrace.message import Backlog, Lease
from millrace.queue import Queue
from millrace.runtime import window
from millrace.runtime.waiting import Waiter
from millrace.settlement import Ack, Outcome, Postpone, Reject, Retry
from millrace.store import Received
from millrace.terms import Terms, pull_terms


class PullBody(msgspec.Struct, frozen=True):
    """How many to take and for how long; `visibility_timeout` is another word for the latter.

    `wait_seconds` holds the request until something is ready. `worker` stands in for the handler of a consumer of
    type worker.
    """

    batch_size: Annotated[float, Meta(ge=1, le=limits.CONSUMER_BATCH_SIZE, multiple_of=1)] | None = None
    visibility_timeout_ms: Annotated[float, Meta(ge=0, le=limits.VISIBILITY_TIMEOUT_MS_MAX, multiple_of=1)] | None = (
        None
    )
    visibility_timeout: Annotated[float, Meta(ge=0, le=limits.VISIBILITY_TIMEOUT_MS_MAX, multiple_of=1)] | None = None
    wait_seconds: Annotated[float, Meta(ge=0, le=limits.PULL_WAIT_SECONDS)] | None = None
    worker: bool = False


class LeaseBody(msgspec.Struct, frozen=True):
    """One lease that is acknowledged."""

    lease_id: str


class RetryBody(msgspec.Struct, frozen=True):
    """One lease whose message is to be delivered again."""

    lease_id: str
    delay_seconds: Delay | None = None
    reason: str | None = None


class RejectBody(msgspec.Struct, frozen=True):
    """One lease whose message no further delivery can help."""

    lease_id: str
    reason: str = "rejected"


class PostponeBody(msgspec.Struct, frozen=True):
    """One lease whose message could not be tried; the delivery does not count."""

    lease_id: str
    delay_seconds: Delay = 0


class AckBody(msgspec.Struct, frozen=True):
    """Leases to settle, any number."""

    acks: list[LeaseBody] | None = None
    retries: list[RetryBody] | None = None
    rejects: list[RejectBody] | None = None
    postpones: list[PostponeBody] | None = None


class Settled(msgspec.Struct, frozen=True):
    """How many messages changed state, and what is to say of the other leases."""

    ackCount: int  # noqa: N815 - the name on the wire
    retryCount: int  # noqa: N815
    warnings: dict[str, str]
    rejectCount: int | UnsetType = UNSET  # noqa: N815 - only where it was asked for, as the next
    postponeCount: int | UnsetType = UNSET  # noqa: N815


class ExtendBody(msgspec.Struct, frozen=True):
    """Leases that are to end later: so many milliseconds from now."""

    lease_ids: list[str]
    visibility_timeout_ms: Annotated[float, Meta(ge=0, le=limits.VISIBILITY_TIMEOUT_MS_MAX, multiple_of=1)]


class Extended(msgspec.Struct, frozen=True):
    """How many leases were still current, and which were not."""

    extended: int
    warnings: dict[str, str]


PULL = Shape(PullBody, InvalidRequest)
ACK = Shape(
    AckBody,
    parts=(("$.retries[].delay_seconds", InvalidMessage), ("$.postpones[].delay_seconds", InvalidMessage)),
)
EXTEND = Shape(ExtendBody, InvalidRequest)
STALE = "the lease no longer counts: its message was settled, or its time is over"


async def pull(desk: Desk, request: Request) -> Answer:
    """Lease ready messages, at once or as soon as there are some."""
    body: PullBody = PULL.read(request.body)
    wait_seconds = body.wait_seconds or 0
    received = await (
        _receive_waiting(desk, request, body, wait_seconds) if wait_seconds else _receive(desk, request, body)
    )
    backlog = received.backlog or Backlog(0, 0, 0)
    messages = [pulled_message(message) for message in received.messages]
    return success(Pulled(backlog.count, messages, MetricsHolder(metrics(backlog))))


async def _receive(desk: Desk, request: Request, body: PullBody) -> Received:
    queue = await queue_of(desk, request)
    terms = _terms(queue, body)
    is_ready = window.of(queue.consumer, desk.clock) if terms.in_window else None
    return await desk.broker.receive(queue, terms.limit, terms.lease_ms, is_ready)


async def _receive_waiting(desk: Desk, request: Request, body: PullBody, wait_seconds: float) -> Received:
    """Wait for messages; when the queue is changed meanwhile, ask anew for the rest of the time."""
    until = monotonic() + wait_seconds
    leaving = asyncio.ensure_future(request.until_left())
    try:
        received = None
        while received is None:
            queue = await queue_of(desk, request)
            terms = _terms(queue, body)
            check = partial(_check_key, desk, request)
            waiter = Waiter(queue, terms.limit, terms.lease_ms, in_window=terms.in_window, check=check)
            received = await desk.room.receive(waiter, max(0, until - monotonic()), leaving)
        return received
    finally:
        leaving.cancel()


def _check_key(desk: Desk, request: Request) -> None:
    """Refuse a key that was revoked while its request waited.

    Raises:
        Unauthenticated: it was.
    """
    if request.head.authorization is not None and not desk.keys.holds(request.key):
        raise Unauthenticated("Authentication error")


def _terms(queue: Queue, body: PullBody) -> Terms:
    lease_ms = body.visibility_timeout if body.visibility_timeout_ms is None else body.visibility_timeout_ms
    return pull_terms(queue, _whole(body.batch_size), _whole(lease_ms), is_worker=body.worker)


async def ack(desk: Desk, request: Request) -> Answer:
    """Acknowledge, retry, reject and postpone leased messages."""
    queue = await queue_of(desk, request)
    body: AckBody = ACK.read(request.body)
    parsed = [(text, Lease.parse(text), outcome) for text, outcome in _outcomes(body)]
    outcomes = [(lease, outcome) for _, lease, outcome in parsed if lease is not None]
    settlements = iter(await desk.broker.settle(queue, outcomes))
    counts: Counter[type[Outcome]] = Counter()
    warnings = {}
    for text, lease, outcome in parsed:
        if lease is None:
            warnings[text] = "not a lease id"
        elif next(settlements) is None:
            warnings[text] = STALE
        else:
            counts[type(outcome)] += 1
    rejected = UNSET if body.rejects is None else counts[Reject]
    postponed = UNSET if body.postpones is None else counts[Postpone]
    return success(Settled(counts[Ack], counts[Retry], warnings, rejected, postponed))


def _outcomes(body: AckBody) -> Iterator[tuple[str, Outcome]]:
    for ack_ in body.acks or ():
        yield ack_.lease_id, Ack()
    for retry in body.retries or ():
        yield retry.lease_id, Retry(retry.delay_seconds, check_reason(retry.reason) if retry.reason else None)
    for reject in body.rejects or ():
        yield reject.lease_id, Reject(check_reason(reject.reason))
    for postpone in body.postpones or ():
        yield postpone.lease_id, Postpone(postpone.delay_seconds)


async def extend(desk: Desk, request: Request) -> Answer:
    """Let leases end later, while the work goes on."""
    queue = await queue_of(desk, request)
    body: ExtendBody = EXTEND.read(request.body)
    leases = {text: Lease.parse(text) for text in body.lease_ids}
    current = await desk.broker.extend(
        queue, [lease for lease in leases.values() if lease is not None], int(body.visibility_timeout_ms)
    )
    stale = {text: STALE for text, lease in leases.items() if lease not in current}
    return success(Extended(len(leases) - len(stale), stale))


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


ROUTES = [
    Route(method="POST", path=f"{M}/pull", handle=pull, scope=Scope.TAKE, takes=PULL, gives=Pulled,
          refuses=(InvalidRequest, PullNotEnabled, DeliveryPaused, QueueNotFound)),
    Route(method="POST", path=f"{M}/ack", handle=ack, scope=Scope.TAKE, takes=ACK, gives=Settled,
          refuses=(BodyDoesNotFit, InvalidMessage, QueueNotFound)),
    Route(method="POST", path=f"{M}/extend", handle=extend, scope=Scope.TAKE, takes=EXTEND, gives=Extended,
          refuses=(InvalidRequest, QueueNotFound)),
]  # fmt: skip
