"""A proxy between a consumer and its server that cuts the connection at a chosen point of a chosen call."""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
POINTS = ("before the request", "in the request", "before the answer", "in the answer")
STALL = "no answer at all"


class Cut(Exception):
    """The connection ends here."""


class WireCutter:
    """Lets everything through but the calls it is told to cut."""

    def __init__(self, upstream: str) -> None:
        place = urlsplit(upstream)
        self._host, self._port = place.hostname, place.port
        self._cuts: list[tuple[str, str]] = []
        self._relaying: set[asyncio.Task[None]] = set()
        self.instead: dict[str, bytes] = {}  # what answers calls of a verb in place of the server
        self.made: list[tuple[str, str]] = []
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self
            for relaying in self._relaying:
                relaying.cancel()
            await asyncio.gather(*self._relaying, return_exceptions=True)

    def cut(self, verb: str, points: Sequence[str]) -> None:
        """Cut the next calls of this verb, at one of the points each."""
        self._cuts += [(verb, point) for point in points]

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relaying = asyncio.create_task(self._relay(reader, writer))
        self._relaying.add(relaying)
        relaying.add_done_callback(self._relaying.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        try:
            while request := await _read(reader):
                await self._pass_on(request, (reader, writer), (upstream_reader, upstream_writer))
        except (Cut, OSError, asyncio.IncompleteReadError):
            _reset(writer)
        finally:
            writer.close()
            _reset(upstream_writer)

    async def _pass_on(self, request: bytes, client: "Streams", upstream: "Streams") -> None:
        verb = request.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
        if verb in self.instead:
            self.made.append((verb, "instead"))
            client[1].write(self.instead[verb])
            return
        point = self._point_of(verb)
        if point == "before the request":
            raise Cut
        if point == "in the request":
            upstream[1].write(request[:-5])
            await upstream[1].drain()
            raise Cut
        upstream[1].write(request)
        answer = await _answer(client[0], upstream[0])
        if point == STALL:
            await client[0].read(1)  # until the client gives up
        client[1].write({None: answer, "in the answer": answer[: len(answer) // 2]}.get(point, b""))
        await client[1].drain()
        if point is not None:
            raise Cut

    def _point_of(self, verb: str) -> str | None:
        cut = next((cut for cut in self._cuts if cut[0] == verb), None)
        if cut is None:
            return None
        self._cuts.remove(cut)
        self.made.append(cut)
        return cut[1]


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    found = LENGTH.search(head)
    return head + (await reader.readexactly(int(found[1])) if found else b"")


async def _answer(client: asyncio.StreamReader, upstream: asyncio.StreamReader) -> bytes:
    """Wait for the answer, or until the client leaves."""
    answering, leaving = asyncio.ensure_future(_read(upstream)), asyncio.ensure_future(client.read(1))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done() or not answering.result():
            raise Cut
        return answering.result()
    finally:
        answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a broken network does, and not in order."""
    with contextlib.suppress(OSError):
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
