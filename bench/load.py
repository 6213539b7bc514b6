"""A load of keep-alive connections, in a process of its own: as little work a request as Python allows."""

import asyncio
import sys
from time import perf_counter

import uvloop


class Connection(asyncio.Protocol):
    """Sends one request after the other and notes how long each took."""

    def __init__(self, request: bytes, until: float, took: list[float], done: asyncio.Future[None]) -> None:
        self._request, self._until, self._took, self._done = request, until, took, done
        self._received, self._expected = b"", 0
        self.bad = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._next()

    def _next(self) -> None:
        self._began = perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer, then ask again."""
        self._received += data
        if not self._expected:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            length = self._received.lower().find(b"content-length: ")
            self._expected = head + 4 + int(self._received[length + 16 : self._received.find(b"\r\n", length)])
        if len(self._received) < self._expected:
            return
        self.bad += not self._received.startswith(b"HTTP/1.1 200")
        self._received, self._expected = b"", 0
        now = perf_counter()
        self._took.append(now - self._began)
        if now < self._until:
            self._next()
        else:
            self._transport.close()
            self._done.set_result(None)


async def run(
    host: str, port: int, request: bytes, connections: int, seconds: float
) -> tuple[float, float, float, int]:
    """Give requests a second, p50 and p99 in milliseconds, and how many were not answered 200."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    until = perf_counter() + seconds
    futures = [loop.create_future() for _ in range(connections)]
    made = [
        await loop.create_connection(lambda f=future: Connection(request, until, took, f), host, port)  # type: ignore[misc]
        for future in futures
    ]
    await asyncio.gather(*futures)
    took.sort()
    bad = sum(protocol.bad for _, protocol in made)
    return len(took) / seconds, took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000, bad


def main() -> None:
    """Read the request from standard input, print the figures."""
    host, port, connections, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    request = sys.stdin.buffer.read()
    print(*uvloop.run(run(host, port, request, connections, seconds)))


if __name__ == "__main__":
    main()
