"""A server that answers as Cloudflare's pages say, records what it was asked, and can be told to misbehave."""

import base64
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
BASE = f"/client/v4/accounts/{ACCOUNT}"
QUEUE_ID = "401b79c21bccdc0e3db02c94a65a1ce3"
CONSUMER_ID = "9dc57762caa54af5fdf69315f801a654"
Q = f"{BASE}/queues/{QUEUE_ID}"
METRICS = {"backlog_count": 2.0, "backlog_bytes": 20.0, "oldest_message_timestamp_ms": 1795314807242.0}

QUEUE = {
    "queue_id": QUEUE_ID,
    "queue_name": "my-queue",
    "created_on": "2026-11-22T02:27:54.530357Z",
    "modified_on": "2026-11-22T02:27:54.530357Z",
    "producers": [],
    "producers_total_count": 0,
    "consumers": [],
    "consumers_total_count": 0,
    "settings": {"delivery_delay": 0, "delivery_paused": False, "message_retention_period": 345600},
}
CONSUMER = {
    "consumer_id": CONSUMER_ID,
    "type": "http_pull",
    "queue_name": "my-queue",
    "queue_id": QUEUE_ID,
    "dead_letter_queue": "",
    "created_on": "2026-11-22T02:28:18.899656Z",
    "settings": {"batch_size": 5, "max_retries": 3, "visibility_timeout_ms": 30000, "retry_delay": 0},
}


def _message(number: int, body: str, metadata: dict[str, str] | None, **more: Any) -> dict[str, Any]:
    shown = {"id": f"{number:032x}", "body": body, "timestamp_ms": 1689615013586, **more}
    return shown if metadata is None else {**shown, "metadata": metadata}


def _base64(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


PULLED = [
    _message(
        1,
        "hello",
        {"CF-Content-Type": "text", "CF-sourceMessageSource": "dash"},
        lease_id="eyJhbGciOiJkaXIi.one",
        attempts=1,
    ),
    _message(2, _base64({"n": 1}), {"CF-Content-Type": "json"}, lease_id="eyJhbGciOiJkaXIi.two", attempts=1.0),
]
PEEKED = [
    _message(1, "hello", {"CF-Content-Type": "text"}, ref="ref-1", attempts=0),
    _message(2, _base64({"n": 1}), None, ref="ref-2", attempts=0),
]
PUSHED = {"metadata": {"metrics": METRICS}}
PAGE = {"page": 1, "per_page": 100, "count": 1, "total_count": 1}  # total_pages is missing now and then

ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/client/v4/accounts"): [{"id": ACCOUNT, "name": "acct", "type": "standard"}],
    ("GET", f"{BASE}/queues"): [QUEUE],
    ("POST", f"{BASE}/queues"): QUEUE,
    ("GET", Q): QUEUE,
    ("PATCH", Q): {**QUEUE, "settings": {**QUEUE["settings"], "delivery_paused": True}},
    ("DELETE", Q): None,
    ("POST", f"{Q}/purge"): QUEUE,
    ("GET", f"{Q}/metrics"): METRICS,
    ("GET", f"{Q}/consumers"): [CONSUMER],
    ("POST", f"{Q}/consumers"): CONSUMER,
    ("PUT", f"{Q}/consumers/{CONSUMER_ID}"): CONSUMER,
    ("DELETE", f"{Q}/consumers/{CONSUMER_ID}"): None,
    ("POST", f"{Q}/messages"): PUSHED,
    ("POST", f"{Q}/messages/batch"): PUSHED,
    ("POST", f"{Q}/messages/pull"): {
        "message_backlog_count": 2,
        "messages": PULLED,
        "metadata": {"metrics": METRICS},
    },
    ("POST", f"{Q}/messages/ack"): {"ackCount": 1, "retryCount": 1, "warnings": []},
    ("POST", f"{Q}/messages/peek"): {"messages": PEEKED},
    ("POST", f"{Q}/messages/purge"): {"errors": [], "warnings": {"ref-9": "not found"}},
}


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


class Reply(NamedTuple):
    """An answer to be given once; a status of 0 closes the connection without one, -1 holds it for ever."""

    status: int
    body: Any = None
    headers: dict[str, str] | None = None


CLOSE, HOLD = Reply(0), Reply(-1)


def refusal(code: int, message: str) -> dict[str, Any]:
    """Write a failure as the v4 API does."""
    return {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}


class Recorded:
    """A running server; `replies` come before what the pages say, one for each request below the account."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.replies: deque[Reply] = deque()
        self.answers = dict(ANSWERS)
        self.held, self.gone = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Door", (_Door,), {"recorded": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def bodies(self, path: str) -> list[Any]:
        """Give the bodies that came to a path below the queue, such as `/messages`."""
        return [asked.body for asked in self.asked if asked.path == Q + path]

    def answer(self, asked: Asked) -> Reply:
        if asked.path.startswith(BASE) and self.replies:
            return self.replies.popleft()
        if (asked.method, asked.path) not in self.answers:
            return Reply(404, refusal(7003, "Could not route to the path"))
        result = self.answers[asked.method, asked.path]
        if asked.query.get("name", ["my-queue"]) != ["my-queue"]:
            result = []
        envelope = {"success": True, "errors": [], "messages": [], "result": result}
        return Reply(200, {**envelope, "result_info": PAGE} if isinstance(result, list) else envelope)


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer, head and body, waits 40 ms for an acknowledgement
    recorded: Recorded

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(content) if content else None
        asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
        self.recorded.asked.append(asked)
        reply = self.recorded.answer(asked)
        if reply.status > 0:
            self._reply(reply)
        else:
            self.close_connection = True
            if reply is HOLD:
                self._hold()

    def _reply(self, reply: Reply) -> None:
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(content)), **(reply.headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _hold(self) -> None:
        self.recorded.held.set()
        self.connection.recv(1)
        self.recorded.gone.set()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - the names http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""
