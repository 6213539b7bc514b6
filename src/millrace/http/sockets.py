"""One WebSocket: accepted at the first word that is said or asked for, refused over HTTP before that."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from millrace.http.request import ASGIReceive, Head
from millrace.http.routes import Answer
from millrace.http.sending import ASGISend

SUBPROTOCOL = "millrace"
FRAMES_WAITING = 16
GOING_AWAY, TOO_FAST, FAILED = 1001, 1008, 1011


class Line:
    """A WebSocket on this side of ASGI. See `millrace.http.routes.Connection`."""

    def __init__(self, receive: ASGIReceive, send: ASGISend, head: Head, subprotocols: Sequence[str]) -> None:
        self._receive, self._send, self._head = receive, send, head
        self._subprotocol = SUBPROTOCOL if SUBPROTOCOL in subprotocols else None
        self._frames: asyncio.Queue[str] = asyncio.Queue(FRAMES_WAITING)
        self._is_accepted = False

    async def send(self, text: str) -> None:
        """Send a text frame."""
        await self._accept()
        await self._say({"type": "websocket.send", "text": text})

    async def receive(self) -> str:
        """Give the next text frame."""
        await self._accept()
        return await self._frames.get()

    async def hold(self, work: Coroutine[Any, Any, None], closing: asyncio.Event) -> None:
        """Run the route's function until it ends, the client leaves or the server stops.

        Raises:
            Exception: what the function raised; one that has accepted is closed by `refuse`, too.
        """
        working = asyncio.ensure_future(work)
        reading, stopping = asyncio.ensure_future(self._read()), asyncio.ensure_future(closing.wait())
        tasks = (working, reading, stopping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not working.cancelled():
            working.result()
        if reading.cancelled() or reading.result():
            await self._close(GOING_AWAY if reading.cancelled() else TOO_FAST)

    async def refuse(self, answer: Answer, more: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer over HTTP in place of opening; close what is open already."""
        if self._is_accepted:
            await self._close(FAILED)
            return
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-correlation-id", self._head.correlation_id.encode()),
            *more,
        ]
        await self._say({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
        await self._say({"type": "websocket.http.response.body", "body": answer.body})

    async def _accept(self) -> None:
        if not self._is_accepted:
            self._is_accepted = True
            headers = [(b"x-correlation-id", self._head.correlation_id.encode())]
            await self._say({"type": "websocket.accept", "subprotocol": self._subprotocol, "headers": headers})

    async def _read(self) -> bool:
        """Take frames in until the client leaves; True when they come faster than they are asked for."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return False
            if message["type"] == "websocket.receive":
                if self._frames.full():
                    return True
                self._frames.put_nowait(message.get("text") or "")

    async def _close(self, code: int) -> None:
        if self._is_accepted:
            with suppress(ConnectionError):  # the client was quicker
                await self._say({"type": "websocket.close", "code": code})

    async def _say(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:  # the client has left, or the server has closed the line
            raise ConnectionError("the client has left") from error
