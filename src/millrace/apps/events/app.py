"""The events application as a value: its queues, its route, its handler."""

from contextlib import suppress
from typing import Annotated, Literal

import msgspec
import uuid_utils
from msgspec import UNSET, Meta, UnsetType

from millrace.access.scopes import GRANTS, Scope
from millrace.apps.events.consumer import FORCED, log_events
from millrace.apps.events.delivery import WORKFLOW, process_event, start_workflows
from millrace.apps.events.page import PAGE
from millrace.apps.events.producer import EventEnv, QueuedEvent, send_event_to_queue
from millrace.apps.events.queues import BODY_BYTES, DEAD_LETTERS, EVENT_BYTES, NEEDS, QUEUE
from millrace.apps.events.subscription_routes import SubscriptionRoutes
from millrace.bindings import QueueBinding
from millrace.clock import iso_milliseconds
from millrace.errors import BodyDoesNotFit, InvalidMessage, MessageTooLarge, QueueNotFound, QueueUnavailable
from millrace.handlers import Handler
from millrace.handlers.workflow import WorkflowFunction
from millrace.http.desk import Desk
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.message import Backlog, Outgoing, check_json
from millrace.platform import App, Platform, ensure_queues
from millrace.queue import Queue
from millrace.sql.schemas import Schema

DEBUG_NOTE = "Event forced to dead letter queue"

SCHEMA = Schema("events", "millrace.apps.events")


class EventsSettings(msgspec.Struct, frozen=True):
    """Whether debug routing may be asked for, and whether the application consumes its queue itself."""

    debug_routes: bool = True
    consumer: Literal["none", "log", "deliver"] = "none"


class Event(msgspec.Struct, frozen=True):
    """What an integrator sends: two objects, the second one optional."""

    payload: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
    metadata: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})] | UnsetType = UNSET


class Accepted(msgspec.Struct, frozen=True):
    """The event as it was accepted."""

    event_id: str
    status: Literal["accepted"]
    timestamp: str
    debug_note: str | UnsetType = UNSET


class EventAnswer(msgspec.Struct, frozen=True):
    """The answer to an accepted event."""

    data: Accepted
    timestamp: str


EVENT = Shape(Event)


def app(platform: Platform, settings: EventsSettings) -> App:
    """Make the application."""
    door = _EventsDoor(platform, settings)
    route = Route(
        method="POST",
        path="/events",
        handle=door.accept_event,
        scope=Scope.SEND,
        takes=EVENT,
        gives=EventAnswer,
        message=QueuedEvent,
        query={"debug": {"type": "string"}},
        refuses=(BodyDoesNotFit, MessageTooLarge, QueueUnavailable),
        body_limit=BODY_BYTES,
    )
    handlers: dict[str, Handler] = {}
    workflows: dict[str, WorkflowFunction] = {}
    match settings.consumer:
        case "log":
            handlers[QUEUE] = log_events(platform.telemetry)
        case "deliver":
            handlers[QUEUE] = start_workflows(platform)
            workflows[WORKFLOW] = process_event(platform)
    routes = (route, *SubscriptionRoutes(platform, delivers=settings.consumer == "deliver").routes())
    return App(queues=NEEDS, routes=routes, handlers=handlers, workflows=workflows, pages=(PAGE,))


class _EventsDoor:
    """The route, and where the queues of each account are."""

    def __init__(self, platform: Platform, settings: EventsSettings) -> None:
        self._platform, self._settings = platform, settings
        self._queue_ids: dict[tuple[str, str], str] = {}
        self._envs: dict[tuple[str, str], EventEnv] = {}

    async def accept_event(self, desk: Desk, request: Request) -> Answer:
        """Accept an event; it is on disk when the answer comes."""
        event: Event = EVENT.read(request.body)
        payload = _object("payload", event.payload)
        metadata = None if event.metadata is UNSET else _object("metadata", event.metadata)
        forced = self._is_forced(request)
        name = DEAD_LETTERS if forced else QUEUE
        request.key.check_queue(name)
        event_id, timestamp = str(uuid_utils.uuid4()), iso_milliseconds(desk.clock())
        sent = await send_event_to_queue(
            self._env(request.key.account_id, name),
            event_id,
            _marked(payload) if forced else payload,
            metadata,
            request.correlation_id,
            timestamp=timestamp,
            telemetry=desk.telemetry,
            account_id=request.key.account_id,
        )
        if not sent["success"]:
            raise QueueUnavailable(sent["error"])
        accepted = Accepted(event_id, "accepted", timestamp, DEBUG_NOTE if forced else UNSET)
        return Answer(msgspec.json.encode(EventAnswer(accepted, timestamp)))

    def _is_forced(self, request: Request) -> bool:
        if not request.query_string or request.query.get("debug") != ["dlq_routing"]:
            return False
        allowed = request.key.is_test or Scope.DEBUG in GRANTS[request.key.role]
        if self._settings.debug_routes and allowed:
            return True
        self._platform.telemetry.emit(
            "event.debug_ignored",
            account_id=request.key.account_id,
            key_id=request.key.id,
            correlation_id=request.correlation_id,
        )
        return False

    def _env(self, account_id: str, queue_name: str) -> EventEnv:
        env = self._envs.get((account_id, queue_name))
        if env is None:
            env = self._envs[account_id, queue_name] = self._make_env(account_id, queue_name)
        return env

    def _make_env(self, account_id: str, queue_name: str) -> EventEnv:
        async def send(messages: list[Outgoing], delay_seconds: float | None) -> Backlog:
            queue = await self._queue(account_id, queue_name)
            sent = await self._platform.broker.send(queue, messages[0], max_bytes=EVENT_BYTES)
            return sent.backlog

        return EventEnv(QueueBinding(send))

    async def _queue(self, account_id: str, name: str) -> Queue:
        """Give the account's own queue, made with its first event."""
        queue_id = self._queue_ids.get((account_id, name), "")
        with suppress(QueueNotFound):
            queue = await self._platform.catalog.queue(account_id, queue_id)
            if queue.name == name:  # else it was renamed
                return queue
        await ensure_queues(self._platform, account_id, NEEDS)
        queue = await self._platform.catalog.queue_named(account_id, name)
        self._queue_ids[account_id, name] = queue.id
        return queue


def _object(name: str, raw: msgspec.Raw) -> msgspec.Raw:
    """Return the bytes of a JSON object as they came.

    Raises:
        BodyDoesNotFit: some other JSON value, or one that no reader could hold.
    """
    text = bytes(raw).strip()
    if not text.startswith(b"{"):
        raise BodyDoesNotFit(f"{name} is not an object; expected {{…}}")
    try:
        return msgspec.Raw(check_json(text))
    except InvalidMessage as error:
        raise BodyDoesNotFit(f"{name}: {error}") from None


def _marked(payload: msgspec.Raw) -> msgspec.Raw:
    """Add the marker at the end of the object, where it wins over one that was sent along."""
    text = bytes(payload)
    separator = b"" if text[1:-1].strip() == b"" else b","
    return msgspec.Raw(text[:-1] + separator + f'"{FORCED}":true}}'.encode())
