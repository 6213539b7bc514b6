"""What the tests of the contract say again and again: short words for routes, and a plain socket."""

import base64
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from millrace.access.keys import Keys
from millrace.access.scopes import Role
from millrace.cli.directory import in_place
from millrace.clock import Clock
from millrace.config import read_settings
from millrace.store import Store
from tests.support import KEY, Reply, Server, environ_for

PULL = {"type": "http_pull"}
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
ISO_MS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_numbers = itertools.count(1)


def a_name(word: str = "q") -> str:
    """Give a queue name that no other test has."""
    return f"{word}-{next(_numbers)}"


def push(server: Server, queue: str, body: Any = "hello", **more: Any) -> Reply:
    """Push one message, `content_type` and `delay_seconds` as in the body."""
    return server.v4("POST", f"/queues/{queue}/messages", {"body": body, **more})


def push_text(server: Server, queue: str, *texts: str) -> None:
    messages = [{"body": text, "content_type": "text"} for text in texts]
    assert server.v4("POST", f"/queues/{queue}/messages/batch", {"messages": messages}).status == 200


def pull(server: Server, queue: str, size: int = 10, lease_ms: int | None = None) -> list[dict[str, Any]]:
    body = {"batch_size": size} | ({} if lease_ms is None else {"visibility_timeout_ms": lease_ms})
    return server.v4("POST", f"/queues/{queue}/messages/pull", body).result["messages"]


def pull_within(
    server: Server, queue: str, seconds: float = 5, *, size: int = 10, lease_ms: int | None = None
) -> list[dict[str, Any]]:
    """Pull until something comes."""
    return eventually(lambda: pull(server, queue, size, lease_ms), seconds)


def settle(server: Server, queue: str, acks: Iterable[str] = (), retries: Iterable[Any] = ()) -> dict[str, Any]:
    """Acknowledge leases and retry others (`lease` or `(lease, delay_seconds)`)."""
    body = {"acks": [{"lease_id": lease} for lease in acks], "retries": [_retry(entry) for entry in retries]}
    return server.v4("POST", f"/queues/{queue}/messages/ack", body).result


def _retry(entry: Any) -> dict[str, Any]:
    return {"lease_id": entry} if isinstance(entry, str) else {"lease_id": entry[0], "delay_seconds": entry[1]}


def peek(server: Server, queue: str, size: int = 100) -> list[dict[str, Any]]:
    return server.v4("POST", f"/queues/{queue}/messages/peek", {"batch_size": size}).result["messages"]


def backlog(server: Server, queue: str) -> dict[str, int]:
    return server.v4("GET", f"/queues/{queue}/metrics").result


def queue_named(server: Server, name: str, **more: Any) -> dict[str, Any] | None:
    found = server.v4("GET", f"/queues?name={name}", **more).result
    return found[0] if found else None


def consumer_of(server: Server, queue: str) -> dict[str, Any]:
    return server.v4("GET", f"/queues/{queue}").result["consumers"][0]


def eventually(look: Callable[[], Any], seconds: float = 5) -> Any:
    """Look again until there is something, and give it."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, f"nothing after {seconds} s"
        time.sleep(0.02)
    return found


def text_of(message: dict[str, Any]) -> str:
    """Give a pulled or peeked body as it was pushed."""
    if message["metadata"]["CF-Content-Type"] == "text":
        return message["body"]
    return base64.b64decode(message["body"]).decode()


def assert_failure(reply: Reply, status: int, code: int) -> None:
    """Hold an answer to Cloudflare's failure envelope."""
    assert reply.status == status, (reply.status, reply.body[:300])
    assert reply.headers["content-type"] == "application/json"
    assert set(reply.json) == {"success", "errors", "messages", "result"}
    assert (reply.json["success"], reply.json["messages"], reply.json["result"]) == (False, [], None)
    assert isinstance(reply.json["errors"][0]["message"], str)
    assert reply.code == code, reply.body[:300]


def assert_refusal(reply: Reply, status: int, code: str, *, below_jobs: bool = False) -> None:
    """Hold an answer to the error shape outside the v4 API; below /jobs it begins with `"success": false`."""
    assert reply.status == status, (reply.status, reply.body[:300])
    assert list(reply.json) == (["success", "error"] if below_jobs else ["error"])
    assert not below_jobs or reply.json["success"] is False
    assert set(reply.json["error"]) == {"code", "message", "timestamp", "correlation_id"}
    assert reply.json["error"]["code"] == code
    assert reply.json["error"]["correlation_id"] == reply.headers["x-correlation-id"]


def make_key(folder: Path, account: str, role: Role = Role.ADMIN, **more: Any) -> str:
    """Make a key in a data directory whose server is not running, and give its secret."""

    async def make(store: Store, clock: Clock) -> str:
        _, secret = await Keys(store, clock).create(account, role, **more)
        return secret

    return in_place(read_settings(environ_for(folder), {"data": folder}), make)


class Wire:
    """A socket to the server, for what no HTTP library would send."""

    def __init__(self, server: Server, timeout: float = 10) -> None:
        place = urlsplit(server.url)
        self.socket = socket.create_connection((place.hostname, place.port), timeout)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, to_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers, body."""
        head, _, self._rest = self._read_until(b"\r\n\r\n").partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(":", 1) for line in lines]
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        length = 0 if to_head else int(headers.get("content-length", 0))
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), headers, body

    def is_closed(self) -> bool:
        """Wait until the server has closed the connection; what it still says is an error."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._more()
        return self._rest

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"the connection ended after {self._rest[:200]!r}"
        self._rest += data


def head(method: str, path: str, *lines: str, key: str | None = KEY, version: str = "1.1") -> bytes:
    """Write a request line and headers."""
    more = [f"Authorization: Bearer {key}"] if key else []
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: here", *more, *lines, "", ""]).encode("latin-1")


def request(method: str, path: str, body: Any = None, *lines: str, key: str | None = KEY) -> bytes:
    """Write a whole request with a JSON body."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(method, path, f"Content-Length: {len(data)}", *lines, key=key) + data
