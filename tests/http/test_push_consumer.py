"""Consumers of type http_push on a real server, with a receiver that fails and recovers."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from millrace.access.signatures import verify
from millrace.clock import wall_ms
from tests.support import Server

MESSAGES = 10
FAILURES = 5  # as many as open the breaker


class Receiver(ThreadingHTTPServer):
    """Answers 500 a few times, then takes everything."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pushed)
        self.pushes: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[str] = []
        self.has_all = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/hook?token=unspoken"

    def status(self, headers: dict[str, str], body: bytes) -> int:
        self.pushes.append((headers, body))
        if len(self.pushes) <= FAILURES:
            return 500
        self.taken += [message["body"] for message in json.loads(body)["messages"]]
        if len(self.taken) >= MESSAGES:
            self.has_all.set()
        return 204


class Pushed(BaseHTTPRequestHandler):
    """One push."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.server.status(dict(self.headers), body))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_a_url_that_fails_and_recovers_gets_every_message_in_the_end(tmp_path: Path, receiver: Receiver):
    again_soon = {"kind": "fixed", "base_seconds": 0.01}
    settings = {"max_wait_time_ms": 0, "max_retries": 9, "max_concurrency": 1, "batch_size": 1, "backoff": again_soon}
    with Server(tmp_path / "data", environ={"FETCH_ALLOW": f"127.0.0.1:{receiver.server_port}"}) as server:
        queue_id = server.create_queue("orders")
        consumer = {"type": "http_push", "url": receiver.url, "settings": settings}
        secret = server.v4("POST", f"/queues/{queue_id}/consumers", consumer).result["secret"]
        bodies = [f"order {n}" for n in range(MESSAGES)]
        messages = [{"body": body, "content_type": "text"} for body in bodies]
        server.v4("POST", f"/queues/{queue_id}/messages/batch", {"messages": messages})

        assert receiver.has_all.wait(10), server.text[-3000:]
        server.wait_for_text("push.closed")
        server.stop()

    assert sorted(receiver.taken) == bodies
    assert all(verify(secret, headers, body, wall_ms() / 1000) for headers, body in receiver.pushes)
    events = [line["event"] for line in server.log_lines()]
    assert (events.count("push.failed"), events.count("push.opened")) == (FAILURES, 1)
    assert "unspoken" not in server.text
    assert secret not in server.text


def test_a_receiver_that_is_dead_holds_up_no_other_and_loses_nothing(tmp_path: Path, receiver: Receiver):
    settings = {"max_wait_time_ms": 0, "max_retries": 0, "batch_size": 1}
    receiver.pushes += [({}, b"")] * FAILURES  # so that it takes all
    with Server(tmp_path / "data", environ={"FETCH_ALLOW": "127.0.0.1"}) as server, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # nobody listens
        urls = {"dead": f"http://127.0.0.1:{dead.getsockname()[1]}/hook", "alive": receiver.url}
        for name, url in urls.items():
            consumer = {"type": "http_push", "url": url, "settings": settings}
            queue_id = server.create_queue(name, consumer=consumer)
            messages = [{"body": f"{name} {n}", "content_type": "text"} for n in range(MESSAGES)]
            server.v4("POST", f"/queues/{queue_id}/messages/batch", {"messages": messages})

        assert receiver.has_all.wait(10), server.text[-3000:]
        server.wait_for_text("push.opened")
        (queue,) = server.v4("GET", "/queues?name=dead").result
        metrics = server.v4("GET", f"/queues/{queue['queue_id']}/metrics").result

    assert sorted(receiver.taken) == [f"alive {n}" for n in range(MESSAGES)]
    assert metrics["backlog_count"] == MESSAGES
