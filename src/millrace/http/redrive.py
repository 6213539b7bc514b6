"""Redrive: buried messages go back to where they came from, all of them or chosen ones, at once or bit by bit."""

from typing import Annotated

import msgspec
from msgspec import Meta

from millrace import limits
from millrace.access.scopes import Scope
from millrace.errors import Forbidden, InvalidQueueName, InvalidRequest, QueueNotFound
from millrace.http.desk import Desk, queue_of
from millrace.http.envelope import success
from millrace.http.outgoing import Time, read_time
from millrace.http.queues import Q, QueueName
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.names import check_queue_name
from millrace.redriving import RedriveFilter


class RedriveBody(msgspec.Struct, frozen=True):
    """Which messages go back: those that meet all that is given. `per_second` of them become ready in each second."""

    reason: Annotated[str, Meta(min_length=1)] | None = None
    origin: QueueName | None = None
    sent_after: Time | None = None
    sent_before: Time | None = None
    ids: Annotated[list[str], Meta(min_length=1, max_length=limits.REDRIVE_IDS)] | None = None
    limit: Annotated[float, Meta(ge=1, le=limits.REDRIVE_MESSAGES, multiple_of=1)] | None = None
    per_second: Annotated[float, Meta(ge=limits.REDRIVE_RATE_MIN, le=limits.REDRIVE_RATE_MAX)] | None = None


class Redriven(msgspec.Struct, frozen=True):
    """How many messages went back to where they came from."""

    redriven: int


REDRIVE = Shape(RedriveBody, InvalidRequest)


async def redrive_queue(desk: Desk, request: Request) -> Answer:
    """Move buried messages back to the queues they came from."""
    queue = await queue_of(desk, request)
    if request.key.queues is not None:
        raise Forbidden("redriven messages go to queues beyond this key's limit; use a key to all queues")
    body: RedriveBody = REDRIVE.read(request.body)
    return success(Redriven(await desk.broker.redrive(queue, wanted=_wanted(body), per_second=body.per_second)))


def _wanted(body: RedriveBody) -> RedriveFilter:
    return RedriveFilter(
        reason=body.reason,
        origin=None if body.origin is None else check_queue_name(body.origin),
        sent_after_ms=read_time("sent_after", body.sent_after, InvalidRequest),
        sent_before_ms=read_time("sent_before", body.sent_before, InvalidRequest),
        ids=tuple(body.ids or ()),
        limit=None if body.limit is None else int(body.limit),
    )


ROUTES = [
    Route(method="POST", path=f"{Q}/{{queue_id}}/redrive", handle=redrive_queue, scope=Scope.MANAGE, takes=REDRIVE,
          gives=Redriven, refuses=(InvalidRequest, InvalidQueueName, QueueNotFound)),
]  # fmt: skip
