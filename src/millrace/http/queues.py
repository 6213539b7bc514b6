"""Queues, as Cloudflare's v4 API has them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace import limits
from millrace.access.scopes import Scope
from millrace.clock import iso_milliseconds
from millrace.errors import (
    InvalidQueueName,
    InvalidQueueSettings,
    InvalidRequest,
    QueueNameTaken,
    QueueNotFound,
)
from millrace.http.desk import Desk, queue_of
from millrace.http.envelope import QueueObject, page, queue_object, success
from millrace.http.request import Request, Shape
from millrace.http.routes import PAGE, PER_PAGE, Answer, Route
from millrace.message import HEADER_NAME
from millrace.names import QUEUE_NAME

Q = "/client/v4/accounts/{account_id}/queues"

QueueName = Annotated[str, Meta(extra_json_schema={"pattern": f"^{QUEUE_NAME.pattern}$"})]
HeaderName = Annotated[str, Meta(pattern=f"^{HEADER_NAME.pattern}$")]
# Whole numbers may be written as 10.0, as the Python SDK does with what it has read.
DelaySeconds = Annotated[float, Meta(ge=0, le=limits.DELAY_SECONDS, multiple_of=1)]


class ForwardBody(msgspec.Struct, frozen=True):
    """A queue that gets a copy of each message, or of those that have all these headers."""

    queue: QueueName
    headers: dict[HeaderName, str] | UnsetType = UNSET


class AutoRedriveBody(msgspec.Struct, frozen=True):
    """After how long a buried message goes back by itself, and how often at most."""

    after_seconds: Annotated[float, Meta(ge=0, le=limits.RETENTION_SECONDS_MAX, multiple_of=1)]
    max_times: Annotated[float, Meta(ge=1, le=limits.REDRIVE_TIMES, multiple_of=1)] | UnsetType = UNSET


class SettingsBody(msgspec.Struct, frozen=True):
    """Settings of a queue, each optional. What follows the retention is ours."""

    delivery_delay: DelaySeconds | UnsetType = UNSET
    delivery_paused: bool | UnsetType = UNSET
    message_retention_period: (
        Annotated[float, Meta(ge=limits.RETENTION_SECONDS_MIN, le=limits.RETENTION_SECONDS_MAX, multiple_of=1)]
        | UnsetType
    ) = UNSET
    deduplication_seconds: (
        Annotated[float, Meta(ge=1, le=limits.DEDUPLICATION_SECONDS_MAX, multiple_of=1)] | UnsetType
    ) = UNSET
    deduplicate_content: bool | UnsetType = UNSET
    forwards: Annotated[list[ForwardBody], Meta(max_length=limits.FORWARDS)] | UnsetType = UNSET
    forward_only: bool | UnsetType = UNSET
    auto_redrive: AutoRedriveBody | None | UnsetType = UNSET


class CreateQueue(msgspec.Struct, frozen=True):
    """A new queue."""

    queue_name: QueueName
    settings: SettingsBody | None = None
    jurisdiction: Literal["eu", "us", "fedramp"] | None = None


class ChangeQueue(msgspec.Struct, frozen=True):
    """A new name, new settings, or both."""

    queue_name: QueueName | None = None
    settings: SettingsBody | None = None


class PurgeBody(msgspec.Struct, frozen=True):
    """The word that a purge is meant."""

    delete_messages_permanently: Literal[True]


class PurgeStatus(msgspec.Struct, frozen=True):
    """When the last purge began and ended; nothing before the first."""

    started_at: str | UnsetType = UNSET
    completed: str | UnsetType = UNSET


SETTINGS = (("$.settings", InvalidQueueSettings),)
CREATE = Shape(CreateQueue, InvalidRequest, SETTINGS)
CHANGE = Shape(ChangeQueue, InvalidRequest, SETTINGS)
PURGE = Shape(PurgeBody, InvalidRequest)


async def create_queue(desk: Desk, request: Request) -> Answer:
    """Create a queue."""
    body: CreateQueue = CREATE.read(request.body)
    request.key.check_queue(body.queue_name)
    _check_forwards(request, body.settings)
    queue = await desk.catalog.create(
        request.key.account_id, body.queue_name, named(body.settings), jurisdiction=body.jurisdiction
    )
    return success(queue_object(queue))


async def list_queues(desk: Desk, request: Request) -> Answer:
    """List queues, oldest first, or those of exactly the given names."""
    queues = await desk.catalog.queues(request.key.account_id, request.query.get("name", ()))
    shown = [queue for queue in queues if request.key.reaches(queue.name)]
    number = request.number("page", 1, limits.PAGE)
    per_page = request.number("per_page", limits.QUEUES_PER_PAGE, limits.PER_PAGE)
    return page([queue_object(queue) for queue in shown], number, per_page)


async def get_queue(desk: Desk, request: Request) -> Answer:
    """Show a queue."""
    return success(queue_object(await queue_of(desk, request)))


async def replace_queue(desk: Desk, request: Request) -> Answer:
    """Replace a queue's name and settings; unnamed settings return to their defaults."""
    return await _change(desk, request, replace=True)


async def change_queue(desk: Desk, request: Request) -> Answer:
    """Change the named settings of a queue, or its name."""
    return await _change(desk, request, replace=False)


async def _change(desk: Desk, request: Request, *, replace: bool) -> Answer:
    body: ChangeQueue = CHANGE.read(request.body)
    queue = await queue_of(desk, request)
    if body.queue_name is not None:
        request.key.check_queue(body.queue_name)
    _check_forwards(request, body.settings)
    queue = await desk.catalog.change(
        queue.account_id, queue.id, name=body.queue_name, settings=named(body.settings), replace=replace
    )
    return success(queue_object(queue))


def _check_forwards(request: Request, settings: SettingsBody | None) -> None:
    """Refuse copies into queues beyond the key."""
    if settings is not None and settings.forwards is not UNSET:
        for forward in settings.forwards:
            request.key.check_queue(forward.queue)


async def delete_queue(desk: Desk, request: Request) -> Answer:
    """Delete a queue with its messages, leases and consumer."""
    queue = await queue_of(desk, request)
    await desk.catalog.delete(queue.account_id, queue.id)
    return success(None)


async def purge_queue(desk: Desk, request: Request) -> Answer:
    """Delete all messages of a queue for good."""
    PURGE.read(request.body)
    queue = await desk.broker.purge(await queue_of(desk, request))
    desk.catalog.forget(queue.id)
    return success(queue_object(queue))


async def purge_status(desk: Desk, request: Request) -> Answer:
    """Tell when the last purge was; it is complete when it answers."""
    queue = await queue_of(desk, request)
    if queue.purge_started_at_ms is None:
        return success(PurgeStatus())
    at = iso_milliseconds(queue.purge_started_at_ms)
    return success(PurgeStatus(at, at))


def named(settings: msgspec.Struct | None) -> dict[str, Any]:
    """Give the settings that were named."""
    given: dict[str, Any] = msgspec.to_builtins(settings) if settings is not None else {}
    return given


NAMES = {"name": {"type": "array", "items": {"type": "string"}}, "page": PAGE, "per_page": PER_PAGE}
CHANGES = (InvalidQueueName, InvalidQueueSettings, QueueNotFound, QueueNameTaken)

ROUTES = [
    Route(method="POST", path=Q, handle=create_queue, scope=Scope.MANAGE, takes=CREATE, gives=QueueObject,
          refuses=(InvalidQueueName, InvalidQueueSettings, QueueNameTaken)),
    Route(method="GET", path=Q, handle=list_queues, scope=Scope.READ, gives=QueueObject, is_page=True, query=NAMES,
          refuses=(InvalidRequest,)),
    Route(method="GET", path=f"{Q}/{{queue_id}}", handle=get_queue, scope=Scope.READ, gives=QueueObject,
          refuses=(QueueNotFound,)),
    Route(method="PUT", path=f"{Q}/{{queue_id}}", handle=replace_queue, scope=Scope.MANAGE, takes=CHANGE,
          gives=QueueObject, refuses=CHANGES),
    Route(method="PATCH", path=f"{Q}/{{queue_id}}", handle=change_queue, scope=Scope.MANAGE, takes=CHANGE,
          gives=QueueObject, refuses=CHANGES),
    Route(method="DELETE", path=f"{Q}/{{queue_id}}", handle=delete_queue, scope=Scope.MANAGE, gives=None,
          refuses=(QueueNotFound,)),
    Route(method="POST", path=f"{Q}/{{queue_id}}/purge", handle=purge_queue, scope=Scope.PURGE, takes=PURGE,
          gives=QueueObject, refuses=(InvalidRequest, QueueNotFound)),
    Route(method="GET", path=f"{Q}/{{queue_id}}/purge", handle=purge_status, scope=Scope.READ, gives=PurgeStatus,
          refuses=(QueueNotFound,)),
]  # fmt: skip
