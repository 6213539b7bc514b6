"""Push, pull, ack, peek and purge by reference, as Cloudflare's v4 API has them."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from time import monotonic
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace import limits
from millrace.access.scopes import Scope
from millrace.batch import check_reason
from millrace.broker import Terms, pull_terms
from millrace.errors import (
    BacklogFull,
    BatchCountWrong,
    BatchTooLarge,
    BodyDoesNotFit,
    DeliveryPaused,
    IdempotencyKeyReused,
    InvalidBatchDelay,
    InvalidMessage,
    InvalidRequest,
    MessageTooLarge,
    PullNotEnabled,
    QueueNotFound,
)
from millrace.http.desk import Desk, queue_of
from millrace.http.envelope import (
    Metrics,
    MetricsHolder,
    Peeked,
    Pulled,
    Pushed,
    metrics,
    peeked_message,
    pulled_message,
    success,
)
from millrace.http.queues import Q
from millrace.http.request import Request, Shape
from millrace.http.routes import IDEMPOTENCY_KEY, Answer, Route
from millrace.message import Backlog, ContentType, Lease, Outgoing, check_json, decode_base64
from millrace.queue import Queue
from millrace.runtime import window
from millrace.runtime.waiting import Waiter
from millrace.settlement import Ack, Outcome, Postpone, Reject, Retry
from millrace.store import Received

M = f"{Q}/{{queue_id}}/messages"

Delay = Annotated[float, Meta(ge=0, le=limits.DELAY_SECONDS)]


class PushBody(msgspec.Struct, frozen=True):
    """One message; the body is any JSON value, a string (text) or base64 (bytes, v8)."""

    body: msgspec.Raw
    content_type: Literal["json", "text", "bytes", "v8"] | None = None
    delay_seconds: Delay | None = None


class PushBatchBody(msgspec.Struct, frozen=True):
    """1 to 100 messages."""

    messages: Annotated[list[PushBody], Meta(extra_json_schema={"minItems": 1, "maxItems": limits.BATCH_MESSAGES})]
    delay_seconds: Delay | None = None


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


class PeekBody(msgspec.Struct, frozen=True):
    """How many to show, after which cursor."""

    batch_size: Annotated[float, Meta(ge=1, le=limits.PEEK_MESSAGES, multiple_of=1)] | None = None
    cursor: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")] | None = None


class RefBody(msgspec.Struct, frozen=True):
    """One message by its ref."""

    ref: str


class DiscardBody(msgspec.Struct, frozen=True):
    """Messages to delete for good."""

    refs: list[RefBody]


class Discarded(msgspec.Struct, frozen=True):
    """A warning for each ref that named no message."""

    errors: list[str]
    warnings: dict[str, str]


METADATA: tuple[tuple[str, Any], ...] = (
    ("$.messages[].content_type", InvalidMessage),
    ("$.messages[].delay_seconds", InvalidMessage),
    ("$.content_type", InvalidMessage),
)
PUSH = Shape(PushBody, parts=(*METADATA, ("$.delay_seconds", InvalidMessage)))
PUSH_BATCH = Shape(PushBatchBody, parts=(*METADATA, ("$.delay_seconds", InvalidBatchDelay)))
PULL = Shape(PullBody, InvalidRequest)
ACK = Shape(
    AckBody,
    parts=(("$.retries[].delay_seconds", InvalidMessage), ("$.postpones[].delay_seconds", InvalidMessage)),
)
EXTEND = Shape(ExtendBody, InvalidRequest)
PEEK = Shape(PeekBody, InvalidRequest)
DISCARD = Shape(DiscardBody, InvalidRequest)
STALE = "the lease no longer counts: its message was settled, or its time is over"


async def push(desk: Desk, request: Request) -> Answer:
    """Send one message; the answer comes when it is on disk."""
    queue = await queue_of(desk, request)
    outgoing = _outgoing(PUSH.read(request.body))
    _, backlog = await desk.broker.send(queue, outgoing, idempotency_key=request.head.idempotency_key)
    return success(_pushed(backlog))


async def push_batch(desk: Desk, request: Request) -> Answer:
    """Send 1 to 100 messages, all or none."""
    queue = await queue_of(desk, request)
    body: PushBatchBody = PUSH_BATCH.read(request.body)
    if len(body.messages) > limits.BATCH_MESSAGES:
        raise BatchCountWrong(f"the batch has {len(body.messages)} messages; expected 1 to {limits.BATCH_MESSAGES}")
    outgoing = [_outgoing(message) for message in body.messages]
    backlog = await desk.broker.send_batch(
        queue, outgoing, delay_seconds=body.delay_seconds, idempotency_key=request.head.idempotency_key
    )
    return success(_pushed(backlog))


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
            waiter = Waiter(queue, terms.limit, terms.lease_ms, in_window=terms.in_window)
            received = await desk.room.receive(waiter, max(0, until - monotonic()), leaving)
        return received
    finally:
        leaving.cancel()


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


async def peek(desk: Desk, request: Request) -> Answer:
    """Show waiting, delayed and leased messages without taking them."""
    queue = await queue_of(desk, request)
    body: PeekBody = PEEK.read(request.body)
    limit = limits.PULL_BATCH_SIZE if body.batch_size is None else int(body.batch_size)
    after_key = min(int(body.cursor, 16), (1 << 63) - 1) if body.cursor else 0
    messages = await desk.broker.peek(queue, limit, after_key)
    cursor: str | UnsetType = f"{messages[-1].lease.key:016x}" if len(messages) == limit else UNSET
    return success(Peeked([peeked_message(message) for message in messages], cursor))


async def discard(desk: Desk, request: Request) -> Answer:
    """Delete chosen messages for good."""
    queue = await queue_of(desk, request)
    body: DiscardBody = DISCARD.read(request.body)
    refs = [entry.ref for entry in body.refs]
    found = await desk.broker.discard(queue, refs)
    warnings = {ref: "no such message" for ref, was_there in zip(refs, found, strict=True) if not was_there}
    return success(Discarded([], warnings))


async def show_metrics(desk: Desk, request: Request) -> Answer:
    """Count a queue's backlog."""
    return success(metrics(await desk.broker.backlog(await queue_of(desk, request))))


def _outgoing(given: PushBody) -> Outgoing:
    content_type = ContentType(given.content_type or "json")
    raw = bytes(given.body)
    if content_type is ContentType.JSON:
        body = check_json(raw)
    else:
        text = _string(raw, content_type)
        body = text.encode() if content_type is ContentType.TEXT else decode_base64(text)
    return Outgoing(body=body, content_type=content_type, delay_seconds=given.delay_seconds, source="http")


def _string(raw: bytes, content_type: ContentType) -> str:
    try:
        text: str = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMessage(f"body of content type {content_type} is not a string: {error}") from None
    return text


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _pushed(backlog: Backlog) -> Pushed:
    return Pushed(MetricsHolder(metrics(backlog)))


HEADERS = {"Idempotency-Key": IDEMPOTENCY_KEY}
SENDS = (BodyDoesNotFit, InvalidMessage, MessageTooLarge, BacklogFull, QueueNotFound, IdempotencyKeyReused)

ROUTES = [
    Route(method="POST", path=M, handle=push, scope=Scope.SEND, takes=PUSH, gives=Pushed, headers=HEADERS,
          refuses=SENDS),
    Route(method="POST", path=f"{M}/batch", handle=push_batch, scope=Scope.SEND, takes=PUSH_BATCH, gives=Pushed,
          headers=HEADERS, refuses=(*SENDS, InvalidBatchDelay, BatchCountWrong, BatchTooLarge)),
    Route(method="POST", path=f"{M}/pull", handle=pull, scope=Scope.TAKE, takes=PULL, gives=Pulled,
          refuses=(InvalidRequest, PullNotEnabled, DeliveryPaused, QueueNotFound)),
    Route(method="POST", path=f"{M}/ack", handle=ack, scope=Scope.TAKE, takes=ACK, gives=Settled,
          refuses=(BodyDoesNotFit, InvalidMessage, QueueNotFound)),
    Route(method="POST", path=f"{M}/extend", handle=extend, scope=Scope.TAKE, takes=EXTEND, gives=Extended,
          refuses=(InvalidRequest, QueueNotFound)),
    Route(method="POST", path=f"{M}/peek", handle=peek, scope=Scope.PEEK, takes=PEEK, gives=Peeked,
          refuses=(InvalidRequest, QueueNotFound)),
    Route(method="POST", path=f"{M}/purge", handle=discard, scope=Scope.PURGE, takes=DISCARD, gives=Discarded,
          refuses=(InvalidRequest, QueueNotFound)),
    Route(method="GET", path=f"{Q}/{{queue_id}}/metrics", handle=show_metrics, scope=Scope.READ, gives=Metrics,
          refuses=(QueueNotFound,)),
]  # fmt: skip
