"""The socket that the server listens on, and the HTTP server behind it."""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from millrace.errors import ConfigurationError
from millrace.http.cors import ASGIApp
from millrace.http.protocol import Protocol
from millrace.runtime.waits import at_most

DATE_SECONDS = 1.0
DRAIN_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
BACKLOG_CONNECTIONS = 2048
SOCKET_FRAME_BYTES = 64 * 1024
SOCKET_REFUSED = "ASGI callable returned without completing handshake."  # what uvicorn makes of a 401 over HTTP


def listen(host: str, port: int) -> socket.socket:
    """Bind the address; a port of 0 takes a free one.

    Raises:
        ConfigurationError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror}; try another --port") from None
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """Give the URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(door: ASGIApp, stopping: asyncio.Event) -> uvicorn.Server:
    """Make the HTTP server, which ends once `stopping` is set."""
    logging.getLogger("uvicorn.error").addFilter(_is_of_use)
    return _Server(
        stopping,
        uvicorn.Config(
            door,
            http=Protocol,
            ws="websockets-sansio",
            ws_max_size=SOCKET_FRAME_BYTES,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            backlog=BACKLOG_CONNECTIONS,
        ),
    )


def _is_of_use(record: logging.LogRecord) -> bool:
    return record.msg != SOCKET_REFUSED


class _Server(uvicorn.Server):
    def __init__(self, stopping: asyncio.Event, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def main_loop(self) -> None:
        """Turn once a second, for the date in headers; uvicorn's own loop turns ten times, which an idle server feels."""
        while not await self.on_tick(0):
            await at_most(DATE_SECONDS, self._stopping)
            self.should_exit = self._stopping.is_set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us."""
        yield


def raise_open_files() -> None:
    """Allow as many connections as the system lets us; the usual soft limit of 1024 is few for a server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
