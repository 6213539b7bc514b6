"""`GET /api/messages` and the live history of one message."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from operator import attrgetter
from typing import get_args

import msgspec

from millrace.access.scopes import Scope
from millrace.apps.messaging import rows
from millrace.apps.messaging.job_routes import check_caller
from millrace.apps.messaging.jobs import TYPES, Job
from millrace.apps.messaging.listing import Wanted, cursor_of, find_messages, read_cursor
from millrace.apps.messaging.message_routes import ONE, may_read
from millrace.apps.messaging.queueing import Rules
from millrace.apps.messaging.rows import Change, Row, Status
from millrace.apps.messaging.shown import SCHEDULED, MessageShown, change_of, message_of
from millrace.coordination.feed import follow_numbered, numbered_event, sse_of
from millrace.errors import InvalidRequest, NotFound
from millrace.http.desk import Desk
from millrace.http.request import Request
from millrace.http.routes import Answer, Connection, Route, Socket, Stream
from millrace.platform import Platform
from millrace.sql.transaction import Transaction
from millrace.work import Work

LIST, LIST_MAX = 50, 200
TEXT_CHARACTERS = 200
LINES_AT_ONCE = 100
NUMBER_DIGITS = 18
STATUSES = ("", SCHEDULED, *get_args(Status))
QUERY = {
    "status": {"type": "string", "enum": STATUSES},
    "type": {"type": "string", "enum": ("", *TYPES)},
    "q": {"type": "string", "maxLength": TEXT_CHARACTERS},
    "limit": {"type": "integer", "minimum": 1, "maximum": LIST_MAX},
    "before": {"type": "string"},
}
AFTER = {"type": "integer", "minimum": 0}


class MessagesShown(msgspec.Struct, frozen=True):
    """Some messages; `next` goes on behind them as `before`, and is null at the end."""

    messages: list[MessageShown]
    next: str | None


class ListRoutes:
    """The routes and the socket."""

    def __init__(self, platform: Platform, rules: Rules) -> None:
        self._platform, self._rules = platform, rules

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        return (
            Route(method="GET", path="/api/messages", handle=self.list_messages, scope=Scope.READ, gives=MessagesShown,
                  query=QUERY, refuses=(InvalidRequest,)),
            Route(method="GET", path=ONE + "/events", handle=self.stream_message, scope=Scope.READ,
                  query={"after": AFTER}, media_type="text/event-stream", refuses=(InvalidRequest, NotFound)),
        )  # fmt: skip

    def sockets(self) -> tuple[Socket, ...]:
        """Give the socket."""
        return (Socket(path=ONE + "/ws", hold=self.hold_message, scope=Scope.READ),)

    async def list_messages(self, desk: Desk, request: Request) -> Answer:
        """List and search messages; what they hold is shown to, and searched for, those who may read it."""
        check_caller(request)
        wanted = Wanted(
            status=request.choice("status", "", STATUSES) or None,
            type=request.choice("type", "", ("", *TYPES)) or None,
            text=_text(request),
        )
        before = read_cursor(request.query.get("before", [""])[-1])
        account_id, limit = request.key.account_id, request.number("limit", LIST, LIST_MAX)
        opened = partial(self._rules.seals.show_row, account_id) if may_read(request) else _closed
        listed = await find_messages(self._platform, account_id, wanted, limit, before, opened)
        shown = [message_of(found.row, found.job, desk.clock()) for found in listed.found]
        return Answer(msgspec.json.encode(MessagesShown(shown, cursor_of(listed.next))))

    async def stream_message(self, desk: Desk, request: Request) -> Stream:
        """Follow a message as Server-Sent Events: each line of its history, from the first or behind a number."""
        return Stream(sse_of(await self._follow(request), _event_of))

    async def hold_message(self, desk: Desk, request: Request, connection: Connection) -> None:
        """Follow a message over a WebSocket: a text frame for each line of its history."""
        async with aclosing(await self._follow(request)) as changes:
            hearing = asyncio.create_task(
                _hear(connection)
            )  # opens the socket, though there may be nothing to send yet
            try:
                async for change in changes:
                    await connection.send(msgspec.json.encode(change_of(change)).decode())
            finally:
                hearing.cancel()

    async def _follow(self, request: Request) -> AsyncGenerator[Change]:
        check_caller(request)
        account_id, after = request.key.account_id, _after(request)
        row = await self._platform.read(lambda work: rows.find(work, account_id, request.params["id"]))

        def read_after(tx: Transaction, number: int) -> list[Change]:
            return rows.history(Work(tx, self._platform.clock), account_id, row.id, number, LINES_AT_ONCE)

        name = rows.watch_name(account_id, row.id)
        return follow_numbered(self._platform.store, name, read_after, attrgetter("number"), after)


async def _hear(connection: Connection) -> None:
    """Take what the client says; it does not matter."""
    while True:
        await connection.receive()


def _closed(row: Row) -> Job | None:
    return None


def _event_of(change: Change) -> bytes:
    return numbered_event(change.number, msgspec.json.encode(change_of(change)))


def _text(request: Request) -> str:
    text = request.query.get("q", [""])[-1].strip()
    if len(text) > TEXT_CHARACTERS:
        raise InvalidRequest(f"q has {len(text)} characters; expected at most {TEXT_CHARACTERS}")
    return text


def _after(request: Request) -> int:
    """Give the number of the query, else the one that a client names that connects again, else 0."""
    text = request.query.get("after", [""])[-1] or request.head.text(b"last-event-id") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS:
        raise InvalidRequest(f"after is {text[:40]!r}; expected the number of a line of history, 0 or more")
    return int(text)
