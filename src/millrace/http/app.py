"""The door itself: key first, then route, then body, then the route's function; errors in one place."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Any

import uuid_utils

from millrace import limits
from millrace.access.keys import Key
from millrace.errors import MillraceError, QueueUnavailable, StoreUnavailable, Unauthenticated
from millrace.http.desk import Desk, check_reach
from millrace.http.errors import body_of, headers_of, reply_to
from millrace.http.request import ASGIReceive, Head, Request, check_length, read_body
from millrace.http.routes import Answer, Route, RouteTable

ASGISend = Callable[[Any], Awaitable[None]]

UUID = re.compile(rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
UNREAD_SECONDS, UNREAD_BYTES = 5, 64 * 1024 * 1024
SMALL_SECONDS, SMALL_BYTES = 0.05, 64 * 1024
BEARER = b"bearer "
SLASHES = re.compile("//+")


class Door:
    """An ASGI application over a route table.

    Open routes answer without a key. `keyless`, for development, is whom callers of this machine without a key
    stand for.
    """

    def __init__(
        self, desk: Desk, routes: Iterable[Route], open_routes: Iterable[Route], keyless: Key | None = None
    ) -> None:
        self._desk = desk
        self._open = {route.path: route for route in open_routes}
        self._table = RouteTable([*self._open.values(), *routes])
        self._keyless = keyless

    async def __call__(self, scope: Any, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        head = _read_head(scope["headers"])
        path = SLASHES.sub("/", scope["raw_path"].decode("ascii", "replace"))
        body_was_read = False
        try:
            route, request = self._admit(scope, path, head, receive)
            limit = route.body_limit if route.takes is not None else limits.SMALL_REQUEST_BYTES
            check_length(head, limit)
            request.body = await read_body(receive, limit)
            body_was_read = True
            answer = await route.handle(self._desk, request)
            assert isinstance(answer, Answer)
            headers: list[tuple[bytes, bytes]] = []
        except ConnectionError:
            return
        except asyncio.CancelledError:  # the server stops and has waited long enough
            answer, headers = self._explain(QueueUnavailable("the server is stopping"), path, head)
        except Exception as error:  # noqa: BLE001 - the one place where an unknown error becomes an answer
            answer, headers = self._explain(error, path, head)
            body_was_read = body_was_read or await _skip_small_body(receive, head)
        await _answer(send, answer, headers, head, keep_open=body_was_read or not head.content_length)
        if not body_was_read and head.content_length:
            await _discard_rest(receive, send)

    def _admit(self, scope: Any, path: str, head: Head, receive: ASGIReceive) -> tuple[Route, Request]:
        is_open = path in self._open and scope["method"] in ("GET", "HEAD")
        key = NOBODY if is_open else self._authenticate(head.authorization, scope)
        if is_open:
            return self._open[path], Request(key, path, scope["query_string"], {}, head, receive)
        route, params = self._table.find(scope["method"], path)
        request = Request(key, path, scope["query_string"], params, head, receive)
        check_reach(request, route.scope)
        return route, request

    def _authenticate(self, authorization: bytes | None, scope: Any) -> Key:
        if authorization is None and self._keyless is not None and _is_local(scope):
            return self._keyless
        if authorization is None or authorization[: len(BEARER)].lower() != BEARER:
            raise Unauthenticated("Authentication error")
        return self._desk.keys.authenticate(authorization[len(BEARER) :])

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
    """Say whether a caller without a key is a program of this machine, and no web page that its user has open."""
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0].strip("[]")
    is_page = b"origin" in headers or headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
    return is_loopback((scope["client"] or ("",))[0]) and is_loopback(host) and not is_page


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    authorization, length, encoding, correlation_id, idempotency_key = None, 0, b"", b"", None
    for name, value in headers:
        if name == b"authorization":
            authorization = value
        elif name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            length = length or 1  # unknown, but there is a body
        elif name == b"content-encoding":
            encoding = value.strip().lower()
        elif name == b"x-correlation-id":
            correlation_id = value
        elif name == b"idempotency-key":
            idempotency_key = value.strip().decode("latin-1")
    if UUID.fullmatch(correlation_id) is None:
        return Head(authorization, length, encoding, str(uuid_utils.uuid4()), idempotency_key)
    return Head(authorization, length, encoding, correlation_id.decode(), idempotency_key)


async def _answer(
    send: ASGISend, answer: Answer, more: list[tuple[bytes, bytes]], head: Head, *, keep_open: bool
) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-correlation-id", head.correlation_id.encode()),
        *more,
    ]
    if not keep_open:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": not keep_open})


async def _skip_small_body(receive: ASGIReceive, head: Head) -> bool:
    """Take a refused body off the line, if it is small and there, so that the connection stays of use."""
    if not 1 < head.content_length <= SMALL_BYTES:
        return False
    try:
        async with asyncio.timeout(SMALL_SECONDS):
            await read_body(receive, SMALL_BYTES)
    except (TimeoutError, ConnectionError, MillraceError):
        return False
    return True


async def _discard_rest(receive: ASGIReceive, send: ASGISend) -> None:
    """Let a client finish sending what was refused, within bounds, so that it sees the answer and not a reset."""
    size, until = 0, time.monotonic() + UNREAD_SECONDS
    try:
        async with asyncio.timeout(UNREAD_SECONDS):
            while size < UNREAD_BYTES and time.monotonic() < until:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    break
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})


async def _refuse_other(scope: Any, receive: ASGIReceive, send: ASGISend) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4404})
