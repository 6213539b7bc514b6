"""The route table: what there is, who may use it, what it takes and gives.

One table yields the look-up, the authorisation and the OpenAPI document.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import msgspec

from millrace import limits
from millrace.access.scopes import Scope
from millrace.errors import MethodNotAllowed, MillraceError, RouteNotFound
from millrace.http.request import Request, Shape

if TYPE_CHECKING:
    from millrace.access.keys import Key
    from millrace.http.desk import Desk


PAGE = {"type": "integer", "minimum": 1, "maximum": limits.PAGE}
PER_PAGE = {"type": "integer", "minimum": 1, "maximum": limits.PER_PAGE}
# Spaces around a header's value are not part of it.
IDEMPOTENCY_KEY = {"type": "string", "maxLength": limits.IDEMPOTENCY_KEY_CHARACTERS, "pattern": "^[!-~]([ -~]*[!-~])?$"}


class Answer(msgspec.Struct, frozen=True):
    """What a route's function gives back: bytes that are ready to send."""

    body: bytes
    status: int = 200
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Stream(msgspec.Struct, frozen=True):
    """An answer that is sent as it comes, until `chunks` ends or the client leaves."""

    chunks: AsyncIterator[bytes]
    status: int = 200
    content_type: bytes = b"text/event-stream"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Connection(Protocol):
    """An open WebSocket as its route's function sees it."""

    async def send(self, text: str) -> None:
        """Send a text frame.

        Raises:
            ConnectionError: the client has left.
        """
        ...

    async def receive(self) -> str:
        """Give the next text frame.

        Raises:
            ConnectionError: the client has left.
        """
        ...


Handle = Callable[["Desk", Request], Awaitable[Answer | Stream]]
Hold = Callable[["Desk", Request, Connection], Coroutine[Any, Any, None]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path. `{name}` in the path stands for a segment."""

    method: str
    path: str
    handle: Handle
    scope: Scope | None
    takes: Shape | None = None
    gives: Any = None
    message: Any = None  # the type of the body that it puts into a queue
    is_page: bool = False
    query: Mapping[str, Any] = {}  # names with their JSON schemas, as in the next
    headers: Mapping[str, Any] = {}
    refuses: tuple[type[MillraceError], ...] = ()
    status: int = 200
    media_type: str = "application/json"
    body_limit: int = limits.REQUEST_BYTES
    is_open: bool = False  # answers without a key
    streams: bool = False  # its function reads the body itself, by `Request.chunks`


class Socket(msgspec.Struct, frozen=True, kw_only=True):
    """A WebSocket on one path. `hold` runs as long as it is open; what it raises before its first send refuses it."""

    path: str
    hold: Hold
    scope: Scope | None


class Caller(msgspec.Struct, frozen=True):
    """What is known of a request before its key is: for an application's own ways of letting callers in."""

    method: str
    path: str
    query_string: bytes
    bearer: bytes | None
    cookie: bytes = b""


Admit = Callable[[Caller], "Key | None"]  # None leaves it to the keys; what it raises refuses


class _Node:
    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.routes: dict[str, tuple[Route, tuple[str, ...]]] = {}


class RouteTable:
    """Finds a route by method and path, segment by segment; doubled slashes count as one.

    `advice` ends the sentence about a path at which there is nothing.
    """

    def __init__(self, routes: Iterable[Route], advice: str = "/openapi.json lists the routes") -> None:
        self.routes = list(routes)
        self._advice = advice
        self._root = _Node()
        for route in self.routes:
            self._add(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Give the route and the values of its segments.

        Raises:
            RouteNotFound: nothing is at this path.
            MethodNotAllowed: something is, but not for this method.
        """
        node, values = self._root, []
        for segment in path.split("/"):
            if not segment:
                continue
            child = node.children.get(segment)
            if child is None:
                child = node.any
                values.append(unquote(segment) if "%" in segment else segment)
            if child is None:
                raise RouteNotFound(f"No route for {path[:200]!r}; {self._advice}.")
            node = child
        found = node.routes.get(method)
        if found is None:
            if not node.routes:
                raise RouteNotFound(f"No route for {path[:200]!r}; {self._advice}.")
            allowed = ", ".join(sorted(node.routes))
            raise MethodNotAllowed(f"{method} is not allowed here; expected {allowed}.", allowed)
        route, names = found
        return route, dict(zip(names, values, strict=True))

    def _add(self, route: Route) -> None:
        node, names = self._root, []
        for segment in filter(None, route.path.split("/")):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.children.setdefault(segment, _Node())
        node.routes[route.method] = (route, tuple(names))
