"""The door itself: key first, then route, then body, then the route's function; errors in one place."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import uuid_utils

from millrace import limits
from millrace.access.keys import Key
from millrace.audit import ACTING, Actor
from millrace.errors import Forbidden, MillraceError, QueueUnavailable, StoreUnavailable, Unauthenticated
from millrace.http.desk import Desk, check_reach
from millrace.http.errors import body_of, headers_of, reply_to
from millrace.http.request import ASGIReceive, Head, Request, check_length, read_body
from millrace.http.routes import Admit, Answer, Caller, Route, RouteTable, Socket, Stream
from millrace.http.sending import ASGISend, discard_rest, send_answer, send_stream, skip_small_body
from millrace.http.sockets import Line

UUID = re.compile(rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
BEARER = b"bearer "
KEY_SUBPROTOCOL = "bearer."
PASSED_ON = frozenset((b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"))  # what proxies add
SLASHES = re.compile("//+")


ASK_ANOTHER = "this server answers health and metrics only; ask one of the role api or all"


class Door:
    """An ASGI application over a route table.

    Open routes answer without a key. `admissions` let callers in, by the first segment of the path, beside the keys;
    `signed` let in callers without a key, wherever a signature in the URL leads.
    `keyless`, for development, is whom callers of this machine without a key stand for. A door that is not whole sends
    callers to other servers.
    """

    def __init__(
        self,
        desk: Desk,
        routes: Iterable[Route],
        open_routes: Iterable[Route],
        keyless: Key | None = None,
        *,
        sockets: Iterable[Socket] = (),
        admissions: Mapping[str, Admit] | None = None,
        signed: Iterable[Admit] = (),
        is_whole: bool = True,
    ) -> None:
        self._desk = desk
        self._open = {route.path: route for route in open_routes}
        self._table = RouteTable([*self._open.values(), *routes], *(() if is_whole else (ASK_ANOTHER,)))
        self._sockets = RouteTable([_route_of(socket) for socket in sockets])
        self._holds = {socket.path: socket.hold for socket in sockets}
        self._admissions = admissions or {}
        self._signed = [*signed]
        self._keyless = keyless
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End streams and sockets; a server that stops does not wait for their clients."""
        self._closing.set()

    async def __call__(self, scope: Any, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer one request, or hold one socket."""
        if scope["type"] == "websocket":
            await self._hold(scope, receive, send)
            return
        head = _read_head(scope["headers"])
        path = _path_of(scope)
        body_was_read = False
        try:
            route, request = self._admit(scope, path, head, receive)
            limit = route.body_limit if route.takes is not None or route.streams else limits.SMALL_REQUEST_BYTES
            check_length(head, limit)
            if not route.streams:
                request.body = await read_body(receive, limit)
                body_was_read = True
            answer = await route.handle(self._desk, request)
            body_was_read = body_was_read or request.was_read
            headers: list[tuple[bytes, bytes]] = []
            if isinstance(answer, Stream):
                await send_stream(send, answer, head, request.until_left(), self._closing)
                return
        except ConnectionError:
            return
        except asyncio.CancelledError:  # the server stops and has waited long enough
            answer, headers = self._explain(QueueUnavailable("the server is stopping"), path, head)
        except Exception as error:  # noqa: BLE001 - the one place where an unknown error becomes an answer
            answer, headers = self._explain(error, path, head)
            body_was_read = body_was_read or await skip_small_body(receive, head)
        await send_answer(send, answer, headers, head, keep_open=body_was_read or not head.content_length)
        if not body_was_read and head.content_length:
            await discard_rest(receive, send)

    async def _hold(self, scope: Any, receive: ASGIReceive, send: ASGISend) -> None:
        """Let a WebSocket in as a request is let in; what refuses it is answered over HTTP."""
        head, path = _read_head(scope["headers"], scope["subprotocols"]), _path_of(scope)
        scope["method"] = "GET"
        line = Line(receive, send, head, scope["subprotocols"])
        try:
            key = self._authenticate(head.authorization, scope, path)
            route, params = self._sockets.find("GET", path)
            request = Request(key, path, scope["query_string"], params, head, receive)
            check_reach(request, route.scope)
            self._check_tenant(key, path)
            ACTING.set(Actor(key.id, head.correlation_id))
            hold = self._holds[route.path]
            await line.hold(hold(self._desk, request, line), self._closing)
        except ConnectionError:
            return
        except Exception as error:  # noqa: BLE001 - as above
            answer, headers = self._explain(error, path, head)
            await line.refuse(answer, headers)

    def _admit(self, scope: Any, path: str, head: Head, receive: ASGIReceive) -> tuple[Route, Request]:
        is_open = path in self._open and scope["method"] in ("GET", "HEAD")
        key = NOBODY if is_open else self._authenticate(head.authorization, scope, path)
        if is_open:
            return self._open[path], Request(key, path, scope["query_string"], {}, head, receive)
        route, params = self._table.find(scope["method"], path)
        request = Request(key, path, scope["query_string"], params, head, receive)
        check_reach(request, route.scope)
        self._check_tenant(key, path)
        ACTING.set(Actor(key.id, head.correlation_id))
        return route, request

    def _check_tenant(self, key: Key, path: str) -> None:
        """Keep a tenant's key to the applications that know tenants: queues as such are shared by all of them.

        Raises:
            Forbidden: it is another path.
        """
        if key.tenant is not None and _first_word(path) not in self._admissions:
            known = ", ".join(f"/{word}" for word in sorted(self._admissions))
            raise Forbidden(f"this key is limited to a tenant, and so to the routes below {known or 'no path'}")

    def _authenticate(self, authorization: bytes | None, scope: Any, path: str) -> Key:
        is_bearer = authorization is not None and authorization[: len(BEARER)].lower() == BEARER
        bearer = authorization[len(BEARER) :] if authorization is not None and is_bearer else None
        for admit in self._ways_in(path, has_key=authorization is not None):
            cookie = dict(scope["headers"]).get(b"cookie", b"")
            key = admit(Caller(scope["method"], path, scope["query_string"], bearer, cookie))
            if key is not None:
                return key
        if authorization is None and self._keyless is not None and _is_local(scope):
            return self._keyless
        if bearer is None:
            raise Unauthenticated("Authentication error")
        return self._desk.keys.authenticate(bearer)

    def _ways_in(self, path: str, *, has_key: bool) -> list[Admit]:
        admit = self._admissions.get(_first_word(path)) if self._admissions else None
        return [*([] if admit is None else [admit]), *([] if has_key else self._signed)]

    def _explain(self, error: Exception, path: str, head: Head) -> tuple[Answer, list[tuple[bytes, bytes]]]:
        reply = reply_to(error)
        if not isinstance(error, MillraceError):
            self._desk.telemetry.emit("request.failed", correlation_id=head.correlation_id, error=error)
        elif isinstance(error, StoreUnavailable):
            self._desk.telemetry.emit("store.failed", correlation_id=head.correlation_id, error=error)
        body = body_of(error, path, self._desk.clock(), head.correlation_id)
        return Answer(body, reply.status), headers_of(error)


NOBODY: Any = None


def _is_local(scope: Any) -> bool:
    """Say whether a caller without a key is a program of this machine: no web page that its user has open, no proxy."""
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0].strip("[]")
    is_page = b"origin" in headers or headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
    is_passed_on = not PASSED_ON.isdisjoint(headers)
    return is_loopback((scope["client"] or ("",))[0]) and is_loopback(host) and not (is_page or is_passed_on)


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _path_of(scope: Any) -> str:
    return SLASHES.sub("/", scope["raw_path"].decode("ascii", "replace"))


def _first_word(path: str) -> str:
    return path[1:].partition("/")[0]


def _route_of(socket: Socket) -> Route:
    return Route(method="GET", path=socket.path, handle=NOBODY, scope=socket.scope)


def _read_head(headers: Iterable[tuple[bytes, bytes]], subprotocols: Sequence[str] = ()) -> Head:
    """Read what the door needs; a browser's WebSocket, which can set no header, names its key as a subprotocol."""
    found = dict(headers)
    length = int(found.get(b"content-length", 0))
    if not length and b"transfer-encoding" in found:
        length = 1  # unknown, but there is a body
    authorization = found.get(b"authorization") or _key_in(subprotocols)
    correlation_id = found.get(b"x-correlation-id", b"")
    is_correlated = UUID.fullmatch(correlation_id) is not None
    idempotency_key, traceparent = found.get(b"idempotency-key"), found.get(b"traceparent")
    return Head(
        authorization,
        length,
        found[b"content-encoding"].strip().lower() if b"content-encoding" in found else b"",
        correlation_id.decode() if is_correlated else str(uuid_utils.uuid4()),
        None if idempotency_key is None else idempotency_key.strip().decode("latin-1"),
        is_correlated=is_correlated,
        traceparent=None if traceparent is None else traceparent.strip().decode("latin-1"),
        headers=found,
    )


def _key_in(subprotocols: Sequence[str]) -> bytes | None:
    for word in subprotocols:
        if word.startswith(KEY_SUBPROTOCOL):
            return BEARER + word[len(KEY_SUBPROTOCOL) :].encode("latin-1", "replace")
    return None
