"""Cross-origin requests: which web pages may call this server. Nobody's, unless their origins are named."""

from collections.abc import Awaitable, Callable
from typing import Any

from millrace.http.request import ASGIReceive
from millrace.http.sending import ASGISend

ASGIApp = Callable[[Any, ASGIReceive, ASGISend], Awaitable[None]]

METHODS = b"GET, POST, PUT, PATCH, DELETE"
HEADERS = b"authorization, content-type, idempotency-key, x-correlation-id"
EXPOSED = b"x-correlation-id, retry-after"
REMEMBERED_SECONDS = b"600"


def with_origins(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """Let pages of these origins call the application; `*` stands for all. Keys are asked for all the same."""
    allowed = {origin.rstrip("/").encode() for origin in origins}

    async def serve(scope: Any, receive: ASGIReceive, send: ASGISend) -> None:
        origin = dict(scope.get("headers", ())).get(b"origin") if scope["type"] == "http" else None
        if origin is None or not (origin in allowed or b"*" in allowed):
            await app(scope, receive, send)
            return
        granted = [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
        if scope["method"] == "OPTIONS":
            await _answer_preflight(send, granted)
            return

        async def send_granted(message: Any) -> None:
            if message["type"] == "http.response.start":
                exposed = (b"access-control-expose-headers", EXPOSED)
                message = {**message, "headers": [*message["headers"], *granted, exposed]}
            await send(message)

        await app(scope, receive, send_granted)

    return serve


async def _answer_preflight(send: ASGISend, granted: list[tuple[bytes, bytes]]) -> None:
    headers = [
        *granted,
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", HEADERS),
        (b"access-control-max-age", REMEMBERED_SECONDS),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
