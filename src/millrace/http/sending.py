"""Sending answers: whole, or as they come until the client leaves or the server stops."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from millrace.errors import MillraceError
from millrace.http.request import ASGIReceive, Head, read_body
from millrace.http.routes import Answer, Stream

ASGISend = Callable[[Any], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

UNREAD_SECONDS, UNREAD_BYTES = 5, 64 * 1024 * 1024
SMALL_SECONDS, SMALL_BYTES = 0.05, 64 * 1024


async def send_answer(send: ASGISend, answer: Answer, more: Headers, head: Head, *, keep_open: bool) -> None:
    """Send an answer that is there; a connection whose request was not read to its end is closed behind it."""
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-correlation-id", head.correlation_id.encode()),
        *more,
        *answer.headers,
    ]
    if not keep_open:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": not keep_open})


async def send_stream(
    send: ASGISend, stream: Stream, head: Head, left: Awaitable[None], closing: asyncio.Event
) -> None:
    """Send chunks as they come; `left` ends when the client leaves, `closing` is set when the server stops."""
    headers = [
        (b"content-type", stream.content_type),
        (b"cache-control", b"no-store"),
        (b"x-correlation-id", head.correlation_id.encode()),
        *stream.headers,
    ]
    await send({"type": "http.response.start", "status": stream.status, "headers": headers})
    pumping = asyncio.ensure_future(_pump(send, stream.chunks))
    ends = [asyncio.ensure_future(left), asyncio.ensure_future(closing.wait())]
    try:
        await asyncio.wait({pumping, *ends}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (pumping, *ends):
            task.cancel()
        await asyncio.gather(pumping, *ends, return_exceptions=True)
    if pumping.cancelled() or pumping.exception() is None:
        await send({"type": "http.response.body", "body": b""})
        return
    raise pumping.exception() or AssertionError  # too late for another answer: the connection breaks off


async def _pump(send: ASGISend, chunks: AsyncIterator[bytes]) -> None:
    async with aclosing(chunks) as source:  # type: ignore[type-var]
        async for chunk in source:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def skip_small_body(receive: ASGIReceive, head: Head) -> bool:
    """Take a refused body off the line, if it is small and there, so that the connection stays of use."""
    if not 1 < head.content_length <= SMALL_BYTES:
        return False
    try:
        async with asyncio.timeout(SMALL_SECONDS):
            await read_body(receive, SMALL_BYTES)
    except (TimeoutError, ConnectionError, MillraceError):
        return False
    return True


async def discard_rest(receive: ASGIReceive, send: ASGISend) -> None:
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
