"""Receivers of events, and the server that sends to them."""

import json
import re
import threading
from typing import Any, NamedTuple

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.http.wire import queue_named
from tests.support import Reply, Server

HELD_SECONDS = 10


class Push(NamedTuple):
    """One request that was taken."""

    path: str
    headers: dict[str, str]
    body: bytes


class Subscribers:
    """One HTTP server with a subscriber on each path; each answers 204 unless it is told otherwise."""

    def __init__(self, server: HTTPServer) -> None:
        self.pushes: list[Push] = []
        self.answers: dict[str, int] = {}
        self.freed = threading.Event()
        self.freed.set()
        self._server = server
        server.expect_request(re.compile("/.*")).respond_with_handler(self._answer)

    def url(self, path: str) -> str:
        return self._server.url_for(path)

    def hold(self) -> None:
        """Answer nothing until `freed` is set."""
        self.freed.clear()

    def messages(self, path: str) -> list[dict[str, Any]]:
        """Give the messages that the subscriber has taken, repeats included."""
        return [message for push in self.pushes if push.path == path for message in json.loads(push.body)["messages"]]

    def numbers(self, path: str) -> list[int]:
        """Give the `n` of each event that the subscriber has taken, each once."""
        return sorted({message["body"]["payload"]["n"] for message in self.messages(path)})

    def _answer(self, request: Request) -> Response:
        push = Push(request.path, dict(request.headers), request.data)
        status = self.answers.get(request.path, 204)
        if status == 204:
            self.pushes.append(push)
        self.freed.wait(HELD_SECONDS)
        return Response(status=status)


def delivering(folder: Any, **environ: str) -> Server:
    """Make a server that delivers events, not started yet."""
    environ = {"EVENTS_CONSUMER": "deliver", "FETCH_ALLOW": "127.0.0.1,localhost", **environ}
    return Server(folder / "data", "--config", "", environ=environ)


def subscribe(server: Server, url: str, **more: Any) -> dict[str, Any]:
    """Subscribe a URL and give the subscription, secret included."""
    reply = server.call("POST", "/events/subscriptions", {"url": url, **more})
    assert reply.status == 201, reply.body
    return reply.json


def post(server: Server, number: int, shop: str = "south", **more: Any) -> Reply:
    """Post an event with a number."""
    reply = server.call("POST", "/events", {"payload": {"n": number}, "metadata": {"shop": shop}}, **more)
    assert reply.status == 200, reply.body
    return reply


def take_at_once(server: Server, account: str = "local", **more: Any) -> None:
    """Let the consumer of event-queue wait for no batch to fill; the other settings stay."""
    queue = queue_named(server, "event-queue", account=account, **more)["queue_id"]
    consumer = server.v4("GET", f"/queues/{queue}", account=account, **more).result["consumers"][0]
    body = {
        "type": "worker",
        "script_name": consumer["script"],
        "dead_letter_queue": "event-dlq",
        "settings": consumer["settings"] | {"max_wait_time_ms": 0},
    }
    path = f"/queues/{queue}/consumers/{consumer['consumer_id']}"
    assert server.v4("PUT", path, body, account=account, **more).status == 200
