"""A line between a server and its PostgreSQL that a test cuts during a commit, or on which nothing arrives any more."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Self

COMMITTED = b"COMMIT\0"  # the database's answer to a commit
CHUNK_BYTES = 65_536


class DatabaseWire:
    """Relays connections to a port of 127.0.0.1, until told otherwise."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = threading.Event()
        self._open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._loses_commit = False

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self._listener.getsockname()[1]}/{database}"

    def lose_next_commit(self) -> None:
        """Let the next commit arrive, and cut the connection in place of its answer."""
        self._loses_commit = True

    def freeze(self) -> None:
        """Relay nothing from here on, and close nothing."""
        self._open.clear()

    def thaw(self) -> None:
        """Relay what has gathered."""
        self._open.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.thaw()
        for pair in self._pairs:
            _reset(*pair)

    def _accept(self) -> None:
        with suppress(OSError):  # the end of the test
            while True:
                client, _ = self._listener.accept()
                database = socket.create_connection(("127.0.0.1", self._port))
                for end in (client, database):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pairs.append((client, database))
                for ends in ((client, database, False), (database, client, True)):
                    threading.Thread(target=self._relay, args=ends, daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:  # noqa: FBT001
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self._open.wait()
                if is_answer and self._loses_commit and COMMITTED in data:
                    self._loses_commit = False
                    break
                target.sendall(data)
            else:
                target.shutdown(socket.SHUT_WR)
                return
            _reset(source, target)


def _reset(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.shutdown(socket.SHUT_RDWR)
            end.close()
