"""What can be done about messages that wait for their time: take them back, or send them at another one."""

import msgspec

from millrace.access.scopes import Scope
from millrace.clock import iso_milliseconds
from millrace.errors import InvalidRequest, NotScheduled, QueueNotFound
from millrace.http.desk import Desk, queue_of
from millrace.http.envelope import success
from millrace.http.messages import M
from millrace.http.outgoing import Time, read_time
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route

NOT_SCHEDULED = "not scheduled: its time has come, it was delivered before, or it is gone"


class CancelBody(msgspec.Struct, frozen=True):
    """Messages to take back, by their refs."""

    refs: list[str]


class Cancelled(msgspec.Struct, frozen=True):
    """How many messages were taken back, and why the others were not."""

    cancelled: int
    warnings: dict[str, str]


class RescheduleBody(msgspec.Struct, frozen=True):
    """One message by its ref, and its new time."""

    ref: str
    send_at: Time


class Rescheduled(msgspec.Struct, frozen=True):
    """The message, and the time at which it will be ready."""

    ref: str
    send_at: str


CANCEL = Shape(CancelBody, InvalidRequest)
RESCHEDULE = Shape(RescheduleBody, InvalidRequest)


async def cancel(desk: Desk, request: Request) -> Answer:
    """Take back messages whose time has not come."""
    queue = await queue_of(desk, request)
    body: CancelBody = CANCEL.read(request.body)
    refs = list(dict.fromkeys(body.refs))
    found = await desk.broker.cancel(queue, refs)
    warnings = {ref: NOT_SCHEDULED for ref, was_scheduled in zip(refs, found, strict=True) if not was_scheduled}
    return success(Cancelled(len(refs) - len(warnings), warnings))


async def reschedule(desk: Desk, request: Request) -> Answer:
    """Give a message whose time has not come another time."""
    queue = await queue_of(desk, request)
    body: RescheduleBody = RESCHEDULE.read(request.body)
    at_ms = read_time("send_at", body.send_at, InvalidRequest)
    assert at_ms is not None
    if at_ms < 0:
        raise InvalidRequest(f"send_at is {body.send_at!r}; expected a time from 1970 on")
    if not await desk.broker.reschedule(queue, body.ref, at_ms):
        raise NotScheduled(f"message {body.ref[:64]!r} is {NOT_SCHEDULED}; peek shows what is there")
    return success(Rescheduled(body.ref, iso_milliseconds(at_ms)))


# Who may send may also choose the time. Taking back deletes for good, messages of others too, as a purge does.
ROUTES = [
    Route(method="POST", path=f"{M}/cancel", handle=cancel, scope=Scope.PURGE, takes=CANCEL, gives=Cancelled,
          refuses=(InvalidRequest, QueueNotFound)),
    Route(method="POST", path=f"{M}/reschedule", handle=reschedule, scope=Scope.SEND, takes=RESCHEDULE,
          gives=Rescheduled, refuses=(InvalidRequest, QueueNotFound, NotScheduled)),
]  # fmt: skip
