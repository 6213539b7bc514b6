"""Push, peek and purge by reference, as Cloudflare's v4 API has them."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace import limits
from millrace.access.scopes import Scope
from millrace.errors import (
    BacklogFull,
    BatchCountWrong,
    BatchTooLarge,
    BodyDoesNotFit,
    IdempotencyKeyReused,
    InvalidBatchDelay,
    InvalidMessage,
    InvalidRequest,
    MessageTooLarge,
    QueueNotFound,
)
from millrace.http.desk import Desk, queue_of
from millrace.http.envelope import success
from millrace.http.outgoing import Delay, PushBody, inherited_headers, outgoing
from millrace.http.queues import Q
from millrace.http.request import Request, Shape
from millrace.http.routes import IDEMPOTENCY_KEY, Answer, Route
from millrace.http.shown import Metrics, MetricsHolder, Peeked, Pushed, metrics, peeked_message
from millrace.message import Backlog

M = f"{Q}/{{queue_id}}/messages"


class PushBatchBody(msgspec.Struct, frozen=True):
    """1 to 100 messages."""

    messages: Annotated[list[PushBody], Meta(extra_json_schema={"minItems": 1, "maxItems": limits.BATCH_MESSAGES})]
    delay_seconds: Delay | None = None


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


ABOUT_MESSAGES = ("content_type", "send_at", "priority", "ordering_key", "dedupe_key", "headers")
METADATA: tuple[tuple[str, Any], ...] = (
    *((f"$.messages[].{name}", InvalidMessage) for name in ("delay_seconds", *ABOUT_MESSAGES)),
    *((f"$.{name}", InvalidMessage) for name in ABOUT_MESSAGES),
)
PUSH = Shape(PushBody, parts=(*METADATA, ("$.delay_seconds", InvalidMessage)))
PUSH_BATCH = Shape(PushBatchBody, parts=(*METADATA, ("$.delay_seconds", InvalidBatchDelay)))
PEEK = Shape(PeekBody, InvalidRequest)
DISCARD = Shape(DiscardBody, InvalidRequest)


async def push(desk: Desk, request: Request) -> Answer:
    """Send one message; the answer comes when it is on disk."""
    queue = await queue_of(desk, request)
    body: PushBody = PUSH.read(request.body)
    message = outgoing(body, inherited_headers(request.head))
    sent = await desk.broker.send(queue, message, idempotency_key=request.head.idempotency_key)
    if body.send_at is None:
        return success(_pushed(sent.backlog))
    return success(Pushed(MetricsHolder(metrics(sent.backlog)), sent.id, sent.ref or UNSET))


async def push_batch(desk: Desk, request: Request) -> Answer:
    """Send 1 to 100 messages, all or none."""
    queue = await queue_of(desk, request)
    body: PushBatchBody = PUSH_BATCH.read(request.body)
    if len(body.messages) > limits.BATCH_MESSAGES:
        raise BatchCountWrong(f"the batch has {len(body.messages)} messages; expected 1 to {limits.BATCH_MESSAGES}")
    inherited = inherited_headers(request.head)
    messages = [outgoing(message, inherited) for message in body.messages]
    backlog = await desk.broker.send_batch(
        queue, messages, delay_seconds=body.delay_seconds, idempotency_key=request.head.idempotency_key
    )
    return success(_pushed(backlog))


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


def _pushed(backlog: Backlog) -> Pushed:
    return Pushed(MetricsHolder(metrics(backlog)))


HEADERS = {"Idempotency-Key": IDEMPOTENCY_KEY, "traceparent": {"type": "string"}}
SENDS = (BodyDoesNotFit, InvalidMessage, MessageTooLarge, BacklogFull, QueueNotFound, IdempotencyKeyReused)

ROUTES = [
    Route(method="POST", path=M, handle=push, scope=Scope.SEND, takes=PUSH, gives=Pushed, headers=HEADERS,
          refuses=SENDS),
    Route(method="POST", path=f"{M}/batch", handle=push_batch, scope=Scope.SEND, takes=PUSH_BATCH, gives=Pushed,
          headers=HEADERS, refuses=(*SENDS, InvalidBatchDelay, BatchCountWrong, BatchTooLarge)),
    Route(method="POST", path=f"{M}/peek", handle=peek, scope=Scope.PEEK, takes=PEEK, gives=Peeked,
          refuses=(InvalidRequest, QueueNotFound)),
    Route(method="POST", path=f"{M}/purge", handle=discard, scope=Scope.PURGE, takes=DISCARD, gives=Discarded,
          refuses=(InvalidRequest, QueueNotFound)),
    Route(method="GET", path=f"{Q}/{{queue_id}}/metrics", handle=show_metrics, scope=Scope.READ, gives=Metrics,
          refuses=(QueueNotFound,)),
]  # fmt: skip
