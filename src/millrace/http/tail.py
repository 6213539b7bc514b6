"""The log as it is written, over Server-Sent Events: to each account its own lines."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Any

from millrace import limits
from millrace.access.keys import Key
from millrace.access.scopes import Role, Scope
from millrace.clock import Clock
from millrace.errors import Forbidden, InvalidRequest
from millrace.http.desk import Desk
from millrace.http.request import Request
from millrace.http.routes import Route, Stream
from millrace.logs import LINES, line_of
from millrace.telemetry import Telemetry

LISTENING = b": listening\n\n"
NOTHING_NEW = b": nothing new\n\n"


class Tail:
    """A subscriber that hands log lines to those who listen, and the route where they do.

    `account_id` is the account of the server itself. Its admins also see the lines that name no account.
    """

    def __init__(self, telemetry: Telemetry, clock: Clock, account_id: str) -> None:
        self._clock, self._account_id = clock, account_id
        self._listeners: set[_Listener] = set()
        self._home = threading.get_ident()
        self._loop: asyncio.AbstractEventLoop | None = None
        telemetry.subscribe(self, *LINES)

    def __call__(self, name: str, fields: dict[str, Any]) -> None:
        """Hand a line to those whom it concerns; without listeners this is all that happens."""
        if not self._listeners or self._loop is None:
            return
        if threading.get_ident() == self._home:
            self._tell(name, fields)
        else:  # a watchdog tells from a thread of its own
            self._loop.call_soon_threadsafe(self._tell, name, fields)

    def _tell(self, name: str, fields: dict[str, Any]) -> None:
        wanting = [listener for listener in self._listeners if listener.wants(name, fields)]
        if wanting:
            line = line_of(name, fields, self._clock)
            for listener in wanting:
                listener.take(line)

    async def stream_lines(self, desk: Desk, request: Request) -> Stream:
        """Stream log lines from now on, until the client leaves or its key is revoked."""
        key = request.key
        if key.queues is not None or key.tenant is not None:
            raise Forbidden("the log tells of all queues, and this key is limited; use a key without limits")
        correlation_id = request.query.get("correlation_id", [""])[-1]
        listener = _Listener(key, self._account_id, names_of(request.query.get("event", [])), correlation_id)
        has_key = request.head.authorization is not None
        return Stream(self._listen(listener, lambda: not has_key or desk.keys.holds(key)))

    async def _listen(self, listener: "_Listener", is_good: Callable[[], bool]) -> AsyncGenerator[bytes]:
        self._loop = asyncio.get_running_loop()
        self._listeners.add(listener)
        try:
            yield LISTENING
            while True:
                chunk = await listener.next_chunk()
                if not is_good():
                    return
                yield chunk
        finally:
            self._listeners.discard(listener)

    def routes(self) -> list[Route]:
        """Give the route."""
        return [
            Route(
                method="GET",
                path="/api/tail",
                handle=self.stream_lines,
                scope=Scope.WATCH,
                media_type="text/event-stream",
                query={"event": {"type": "string"}, "correlation_id": {"type": "string"}},
                refuses=(InvalidRequest,),
            )
        ]


def names_of(words: Collection[str]) -> frozenset[str]:
    """Give the events that words stand for: whole names, or their first parts (`message`); no words stand for all.

    Raises:
        InvalidRequest: a word is neither.
    """
    families = {name.partition(".")[0] for name in LINES}
    for word in words:
        if word not in LINES and word not in families:
            raise InvalidRequest(
                f"event is {word[:40]!r}; expected an event of the log, such as message.buried, "
                f"or the first part of some: {', '.join(sorted(families))}"
            )
    return frozenset(name for name in LINES if not words or name in words or name.partition(".")[0] in words)


def may_see(key: Key, server_account_id: str, fields: dict[str, Any]) -> bool:
    """Say whether a line is the key's to see."""
    account_id = fields.get("account_id")
    if account_id is None:
        return key.account_id == server_account_id and key.role is Role.ADMIN
    return bool(account_id == key.account_id)


class _Listener:
    """One who listens: which lines it wants, and those that wait for it, 1 MB at most."""

    def __init__(self, key: Key, server_account_id: str, names: frozenset[str], correlation_id: str) -> None:
        self._key, self._server_account_id = key, server_account_id
        self._names, self._correlation_id = names, correlation_id
        self._lines: list[bytes] = []
        self._bytes = self._dropped = 0
        self._woken = asyncio.Event()

    def wants(self, name: str, fields: dict[str, Any]) -> bool:
        return (
            name in self._names
            and (not self._correlation_id or self._is_correlated(fields))
            and may_see(self._key, self._server_account_id, fields)
        )

    def _is_correlated(self, fields: dict[str, Any]) -> bool:
        is_its_own = fields.get("correlation_id") == self._correlation_id
        return is_its_own or self._correlation_id in fields.get("correlation_ids", ())

    def take(self, line: bytes) -> None:
        self._woken.set()
        if self._bytes + len(line) > limits.TAIL_BYTES:
            self._dropped += 1
            return
        self._bytes += len(line)
        self._lines.append(b"data: %b\n" % line)

    async def next_chunk(self) -> bytes:
        """Give what has gathered, as events; a comment when nothing has for a while."""
        try:
            await asyncio.wait_for(self._woken.wait(), limits.FEED_KEEP_ALIVE_SECONDS)
        except TimeoutError:
            return NOTHING_NEW
        self._woken.clear()
        lines, self._lines, self._bytes = self._lines, [], 0
        dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(b'event: dropped\ndata: {"count":%d}\n\n' % dropped)
        return b"".join(lines)
