"""Small HTTP servers that receive pushes, and answer well or badly."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from millrace.clock import wall_ms


class Request(NamedTuple):
    """What came in; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A server that remembers its requests and counts its connections."""

    def __init__(self, respond: "Respond") -> None:
        self.respond, self.requests, self.connections = respond, list[Request](), 0
        self.port = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append(Request(first.split()[1], headers, body))
        response = self.respond(self.requests[-1])
        writer.write(response if isinstance(response, bytes) else await response)
        await writer.drain()


Respond = Callable[[Request], bytes | Awaitable[bytes]]


def answer(status: int = 200, body: object = b"", **headers: str) -> bytes:
    """Write an answer; a body that is no bytes is JSON, and `_` in a header's name is `-`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@asynccontextmanager
async def receiving(
    respond: Respond = lambda request: answer(), *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Serve on a free port of this machine."""
    receiver = Receiver(respond)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{receiver.port}/hook"
    try:
        yield receiver
    finally:
        server.close()


def never(request: Request) -> Awaitable[bytes]:
    """Answer nothing."""
    return asyncio.get_running_loop().create_future()


def now_s() -> float:
    """Give the time as a receiver sees it."""
    return wall_ms() / 1000
