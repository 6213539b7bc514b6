"""`POST /api/messages` and what people do with a message: approve, reject, cancel, reschedule, redrive."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from millrace.access.scopes import GRANTS, Scope
from millrace.apps.messaging import review
from millrace.apps.messaging.fields import check_line, read_send_at
from millrace.apps.messaging.job_routes import Counter
from millrace.apps.messaging.jobs import EmailJob, Id, Letter, Priority, SmsJob, read_job
from millrace.apps.messaging.queueing import By, Queued, Rules
from millrace.apps.messaging.review import Person
from millrace.apps.messaging.rows import REASON_CHARACTERS, Row
from millrace.apps.messaging.shown import MessageStatus, status_of
from millrace.apps.messaging.telling import tell_queued
from millrace.errors import (
    BacklogFull,
    BodyDoesNotFit,
    BodyNotJson,
    Conflict,
    Forbidden,
    IdempotencyKeyReused,
    MessageTooLarge,
    NotFound,
    Overloaded,
)
from millrace.http.desk import Desk
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.ids import new_id
from millrace.work import Work


class MessageBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A message for a reviewer; with `direct` it needs none. A `messageId` is made where there is none."""

    recipient: str
    content: str
    type: Literal["email_send", "sms_send"] = "email_send"
    message_id: Id | None = None
    subject: str | None = None
    priority: Priority = "normal"
    send_at: str | None = None
    direct: bool = False

    def letter(self) -> Letter:
        """Make the job of it.

        Raises:
            BodyDoesNotFit: a field is wrong, which the sentence names.
        """
        wire: dict[str, Any] = msgspec.to_builtins(self)
        del wire["direct"]
        given = {name: value for name, value in wire.items() if value is not None}
        job = read_job({**given, "messageId": self.message_id or new_id()})
        assert isinstance(job, EmailJob | SmsJob)
        return job


class ApproveBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """When the message is to be sent, in place of the time that its author named."""

    send_at: str | None = None

    def __post_init__(self) -> None:
        read_send_at(self.send_at)


class RescheduleBody(ApproveBody, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """When the message is to be sent."""

    send_at: str


class RejectionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for the author."""

    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS)] | None = None

    def __post_init__(self) -> None:
        check_line("reason", self.reason or "")


class NoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing."""


MESSAGE, APPROVE, RESCHEDULE, REJECT, NOTHING = map(
    Shape, (MessageBody, ApproveBody, RescheduleBody, RejectionBody, NoBody)
)
ACTING_SCOPES = {Scope.SEND, Scope.REVIEW}


class ReviewRoutes:
    """The routes of messages and their review."""

    def __init__(self, counter: Counter, rules: Rules) -> None:
        self._counter, self._rules = counter, rules

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        wrong = (BodyNotJson, BodyDoesNotFit, Conflict, Overloaded)
        full = (IdempotencyKeyReused, MessageTooLarge, BacklogFull)
        acts = (
            ("approve", self.approve, Scope.REVIEW, APPROVE, (MessageTooLarge, BacklogFull)),
            ("reject", self.reject, Scope.REVIEW, REJECT, ()),
            ("cancel", self.cancel, Scope.READ, NOTHING, ()),
            ("reschedule", self.reschedule, Scope.READ, RESCHEDULE, ()),
            ("redrive", self.redrive, Scope.MANAGE, NOTHING, ()),
        )
        return (
            Route(method="POST", path="/api/messages", handle=self.create, scope=Scope.DRAFT, takes=MESSAGE,
                  gives=MessageStatus, refuses=(*wrong, *full), status=201),
            *(Route(method="POST", path=f"/api/messages/{{id}}/{name}", handle=handle, scope=scope, takes=takes,
                    gives=MessageStatus, refuses=(*wrong, NotFound, *more))
              for name, handle, scope, takes, more in acts),
        )  # fmt: skip

    async def create(self, desk: Desk, request: Request) -> Answer:
        """Keep a message for its review, or put it into the queue at once."""
        body: MessageBody = MESSAGE.read(request.body)
        letter, by = body.letter(), By(request.key.id, request.correlation_id)
        if body.direct:
            _check_direct(request)
        make = review.send_direct if body.direct else review.draft
        answer = await self._write(
            desk, request, lambda work: make(work, request.key.account_id, letter, self._rules, by), tells=body.direct
        )
        return Answer(answer.body, 201)

    async def approve(self, desk: Desk, request: Request) -> Answer:
        """Let a draft be sent."""
        send_at = APPROVE.read(request.body).send_at
        act = partial(review.approve, send_at=send_at, rules=self._rules)
        return await self._act(desk, request, act, tells=True)

    async def reject(self, desk: Desk, request: Request) -> Answer:
        """End a draft."""
        reason = REJECT.read(request.body).reason
        return await self._act(desk, request, partial(review.reject, reason=reason))

    async def cancel(self, desk: Desk, request: Request) -> Answer:
        """End a message that was not delivered yet."""
        NOTHING.read(request.body)
        return await self._act(desk, request, partial(review.cancel, person=_person(request)))

    async def reschedule(self, desk: Desk, request: Request) -> Answer:
        """Give a message another time."""
        send_at = RESCHEDULE.read(request.body).send_at
        act = partial(review.reschedule, send_at=send_at, person=_person(request), rules=self._rules)
        return await self._act(desk, request, act)

    async def redrive(self, desk: Desk, request: Request) -> Answer:
        """Put a failed job back into the queue."""
        NOTHING.read(request.body)
        return await self._act(desk, request, review.redrive)

    async def _act(self, desk: Desk, request: Request, act: Callable[..., Row], *, tells: bool = False) -> Answer:
        account_id, message_id = request.key.account_id, request.params["id"]
        return await self._write(desk, request, lambda work: act(work, account_id, message_id), tells=tells)

    async def _write(self, desk: Desk, request: Request, fn: Callable[[Work], Row], *, tells: bool) -> Answer:
        """Run it, show the message; `tells` says that it is in the queue now."""
        row = await self._counter.write(request, fn)
        if tells and row.job_id is not None:
            queued = Queued(row.job_id, row.id, row.type, row.status, row.due_at_ms)
            tell_queued(desk.telemetry, request.key.account_id, [queued], request.correlation_id)
        return Answer(msgspec.json.encode(status_of(row, desk.clock())))


def _check_direct(request: Request) -> None:
    """Let a key pass that may send without a review.

    Raises:
        Forbidden: it may not.
    """
    if Scope.SEND not in GRANTS[request.key.role]:
        raise Forbidden(
            f"direct sends without a review, and a key with role '{request.key.role}' does not allow '{Scope.SEND}'; "
            "leave it out, and a reviewer will look at the message"
        )


def _person(request: Request) -> Person:
    return Person(request.key.id, bool(ACTING_SCOPES & GRANTS[request.key.role]))
