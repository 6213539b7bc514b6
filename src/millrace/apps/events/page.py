"""The page of the events: send one, see those that wait, and who is sent them. The application's routes do it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from millrace.access.scopes import Scope
from millrace.apps.events.queues import QUEUE
from millrace.dashboard.figures import cut
from millrace.dashboard.pages import Page
from millrace.dashboard.turn import Turn
from millrace.errors import BodyNotJson, MillraceError, StoreUnavailable
from millrace.http.errors import reply_to
from millrace.http.routes import Answer
from millrace.message import Message

SHOWN_EVENTS = 25
FIELDS = ("payload", "metadata")


class EventRow(msgspec.Struct, frozen=True):
    """An event that waits."""

    id: str
    at: str
    attempts: int
    payload: str
    metadata: str


async def show_events(turn: Turn) -> Answer:
    """Show the events that wait, and who subscribed."""
    return await _answer(turn)


async def send_event(turn: Turn) -> Answer:
    """Send the event that was typed; one that is refused stays in its form."""
    try:
        await turn.ask("POST", "/events", _typed(turn))
    except StoreUnavailable:
        raise
    except MillraceError as error:
        kept = {name: turn.form.text(name) for name in FIELDS}
        return await _answer(turn, reply_to(error).status, str(error), kept)
    return turn.go("/events", "sent")


async def _answer(turn: Turn, status: int = 200, problem: str = "", kept: Mapping[str, str] | None = None) -> Answer:
    messages: list[Message] = []
    count = 0
    for queue in await turn.desk.catalog.queues(turn.account_id, [QUEUE]):  # made with the account's first event
        messages = await turn.desk.broker.peek(queue, SHOWN_EVENTS)
        count = (await turn.desk.broker.backlog(queue)).count
    return turn.page(
        "events/events.html",
        status,
        rows=[_row(message) for message in messages],
        count=count,
        subscriptions=await _subscriptions(turn),
        problem=problem,
        kept=kept or dict.fromkeys(FIELDS, ""),
    )


async def _subscriptions(turn: Turn) -> list[dict[str, Any]] | None:
    """Give the subscriptions, None when they are not for this key."""
    if turn.request.key.queues is not None:
        return None
    answer = await turn.ask("GET", "/events/subscriptions")
    return [{**one, "url": (one["url"] or "").partition("?")[0]} for one in answer["subscriptions"]]


def _typed(turn: Turn) -> dict[str, msgspec.Raw]:
    return {name: _json(name, text) for name in FIELDS if (text := turn.form.text(name).strip())}


def _json(name: str, text: str) -> msgspec.Raw:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BodyNotJson(f"{name} is not JSON: {error}") from None
    return msgspec.Raw(text.encode())


def _row(message: Message) -> EventRow:
    try:
        event: Any = msgspec.json.decode(message.body, type=dict[str, msgspec.Raw])
        fields = {name: cut(bytes(raw).decode(errors="replace")) for name, raw in event.items()}
    except (msgspec.DecodeError, UnicodeDecodeError):  # sent by other ways
        fields = {"payload": cut(message.body.decode(errors="replace"))}
    shown = {name: fields.get(name, "") for name in ("event_id", "timestamp", "payload", "metadata")}
    at = shown["timestamp"].strip('"')[:19].replace("T", " ")
    return EventRow(shown["event_id"].strip('"'), at, message.attempts, shown["payload"], shown["metadata"])


PAGE = Page(
    name="events",
    title="Events",
    scope=Scope.MANAGE,
    queue=QUEUE,
    shows={"": show_events},
    acts={"": send_event},
    templates=Path(__file__).parent / "templates",
    said={"sent": "The event is in the queue."},
)
