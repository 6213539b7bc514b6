"""Alerts under a real server: a webhook is told once of each change, however the server is killed between."""

import re
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from millrace.access.signatures import verify
from millrace.clock import wall_ms
from tests.cli.commands import run
from tests.http.wire import eventually, pull_within, push_text, settle
from tests.support import ON_POSTGRES, Server


class Sink:
    """What webhooks got, by path."""

    def __init__(self, server: HTTPServer) -> None:
        self.requests: list[Request] = []
        self._server = server
        server.expect_request(re.compile("/.*")).respond_with_handler(self._answer)

    def url(self, path: str) -> str:
        return self._server.url_for(path)

    def told(self, path: str) -> list[str]:
        return [request.json["type"] for request in list(self.requests) if request.path == path]

    def _answer(self, request: Request) -> Response:
        request.get_data()
        self.requests.append(request)
        return Response(status=204)


@pytest.fixture(params=["sqlite", "postgres"])
def stopped(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "postgres":
        ON_POSTGRES.add(tmp_path / "data")
    server = Server(tmp_path / "data", "--config", "", environ={"FETCH_ALLOW": "localhost,127.0.0.1"})
    yield server
    server.__exit__()


def test_a_rule_fires_once_and_clears_once_although_the_server_is_killed_between(stopped, httpserver):
    sink = Sink(httpserver)
    with stopped.start() as server:
        queue = server.create_queue("orders", consumer={"type": "http_pull"})
        made = run(
            *("alerts", "create", "full", "--queue", "orders", "--measure", "depth"),
            *("--above", "1", "--webhook", sink.url("/full")),
            server=server,
        )
        push_text(server, queue, "a", "b")
        server.kill()
    with stopped.start() as server:
        eventually(lambda: sink.told("/full"))
        create(server, "second", sink.url("/second"))
        server.kill()
    with stopped.start() as server:
        eventually(lambda: sink.told("/second"))
        told_before = sink.told("/full")
        listed = run("alerts", "list", server=server).out
        metrics = server.call("GET", "/metrics").body.decode()
        settle(server, queue, [message["lease_id"] for message in pull_within(server, queue)])
        server.kill()
    with stopped.start() as server:
        eventually(lambda: len(sink.told("/full")) == 2)
        server.wait_for_text("alert.cleared")
        deleted = run("alerts", "delete", "full", server=server)

    secret = re.search(r"whsec_\S+", made.out)[0]
    [first] = [request for request in sink.requests if request.path == "/full"][:1]
    assert told_before == ["alert.fired"]
    assert sink.told("/full") == ["alert.fired", "alert.cleared"]
    assert verify(secret, dict(first.headers), first.data, wall_ms() / 1000)
    assert re.search(r"full +orders +depth +1 +1 +firing +2 +webhook", listed)
    assert secret not in listed
    assert 'millrace_alert_firing{measure="depth",queue="orders",rule="full"} 1.0' in metrics
    assert deleted.out == "deleted alert full\n"


def create(server: Server, name: str, url: str) -> None:
    body = {"name": name, "queue": "orders", "measure": "depth", "above": 1, "notify": [{"webhook": url}]}
    assert server.call("POST", "/api/alerts", body).status == 201
