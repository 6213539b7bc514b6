"""`GET /api/tail`: the log as it is written, to each account its own lines."""

import asyncio
import http.client
import json
import threading
from contextlib import contextmanager

import pytest

from millrace import limits
from millrace.access.keys import Key
from millrace.access.scopes import Role
from millrace.errors import InvalidRequest
from millrace.http.request import Head, Request
from millrace.http.tail import LISTENING, Tail, may_see, names_of
from millrace.logs import LINES
from millrace.telemetry import Telemetry
from tests.http.wire import a_name, make_key
from tests.support import KEY, Server

SECONDS = 10
OTHER = "other"


@pytest.fixture(scope="module")
def others_key_and_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    key = make_key(folder, OTHER)
    with Server(folder, "--config", "") as running:
        yield key, running


@pytest.fixture(scope="module")
def server(others_key_and_server):
    return others_key_and_server[1]


@contextmanager
def listening(server, path="/api/tail", key=KEY):
    """Open the stream, and give a function that reads its next line of the log."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=SECONDS)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    assert answer.readline().strip() == LISTENING.strip()

    def next_line():
        while not (line := answer.readline()).startswith(b"data: "):
            assert line, "the stream has ended"
        return json.loads(line[6:])

    yield next_line
    connection.close()


def purge(server, name, **whose):
    """Make a queue and purge it, which is a line of the log."""
    queue_id = server.v4("POST", "/queues", {"queue_name": name}, **whose).result["queue_id"]
    confirmed = {"delete_messages_permanently": True}
    assert server.v4("POST", f"/queues/{queue_id}/purge", confirmed, **whose).status == 200


def made(server, **words):
    """Make a key over HTTP."""
    return server.call("POST", "/api/keys", {"role": "operator", **words}).json


def test_lines_of_the_log_come_as_they_are_written(server):
    name = a_name()

    with listening(server, "/api/tail?event=queue.purged") as next_line:
        purge(server, name)
        line = next_line()

    assert (line["event"], line["level"], line["queue"]) == ("queue.purged", "info", name)
    server.wait_for_text(f'"queue":"{name}"')
    written = [{**other, "timestamp": line["timestamp"]} for other in server.log_lines()]  # each reads the clock
    assert line in written


def test_the_lines_of_one_request_are_found_by_its_correlation_id(server):
    wanted, other = "0e9b0c1e-8a2f-4c5f-9d3e-000000000001", "0e9b0c1e-8a2f-4c5f-9d3e-000000000002"

    with listening(server, f"/api/tail?event=event&correlation_id={wanted}") as next_line:
        for correlation_id in (other, wanted):
            server.call("POST", "/events", {"payload": {}}, headers={"X-Correlation-ID": correlation_id})
        line = next_line()

    assert (line["event"], line["correlation_id"]) == ("event.queued", wanted)


def test_an_account_sees_its_own_lines_only(others_key_and_server):
    key, server = others_key_and_server

    with listening(server, key=key) as next_line:
        purge(server, a_name())
        purge(server, a_name(), account=OTHER, key=key)
        line = next_line()

    assert (line["event"], line["account_id"]) == ("queue.purged", OTHER)


@pytest.mark.parametrize("words", [{"role": "producer"}, {"role": "consumer"}, {"queues": ["orders"]}])
def test_only_keys_that_watch_all_queues_may_listen(server, words):
    assert server.call("GET", "/api/tail", key=made(server, **words)["secret"]).status == 403


def test_an_event_that_is_none_is_refused(server):
    refused = server.call("GET", "/api/tail?event=message.lost")

    assert refused.status == 400
    assert "event is 'message.lost'; expected" in refused.json["error"]["message"]


def test_a_revoked_key_hears_nothing_more(server):
    key = made(server)

    with listening(server, key=key["secret"]) as next_line:
        server.call("DELETE", f"/api/keys/{key['id']}")
        purge(server, a_name())

        with pytest.raises(AssertionError, match="ended"):
            next_line()


def test_lines_without_an_account_are_for_the_admins_of_the_servers_own():
    admin, operator = key_of("local", Role.ADMIN), key_of("local", Role.OPERATOR)

    assert may_see(admin, "local", {})
    assert not may_see(operator, "local", {})
    assert not may_see(key_of("other", Role.ADMIN), "local", {})
    assert may_see(operator, "local", {"account_id": "local"})
    assert not may_see(admin, "local", {"account_id": "other"})


def test_words_stand_for_events_and_for_families_of_them():
    assert names_of([]) == set(LINES)
    assert names_of(["queue.purged", "push"]) == {"queue.purged", "push.failed", "push.opened", "push.closed"}
    with pytest.raises(InvalidRequest, match=r"message\.sent"):
        names_of(["message.sent"])


async def test_who_reads_too_slowly_is_told_how_many_lines_were_left_out():
    telemetry, lines = await a_tail()
    text = "x" * (limits.TAIL_BYTES // 4)

    for _ in range(6):
        telemetry.emit("library.warned", warning=text)
    chunk = await anext(lines)

    assert chunk.count(b"data: {") == 4
    assert chunk.endswith(b'event: dropped\ndata: {"count":3}\n\n')


async def test_a_line_from_another_thread_comes_too():
    telemetry, lines = await a_tail()

    thread = threading.Thread(target=telemetry.emit, args=("loop.blocked",), kwargs={"handler": "slow"})
    thread.start()
    chunk = await asyncio.wait_for(anext(lines), SECONDS)
    thread.join()

    assert b'"handler":"slow"' in chunk


async def test_nobody_is_kept_who_has_left():
    telemetry, lines = await a_tail()
    [tail] = telemetry._by_name["server.stopping"]
    assert len(tail._listeners) == 1

    await lines.aclose()

    assert not tail._listeners


def key_of(account_id, role):
    return Key(id="k", account_id=account_id, role=role, created_at_ms=0, hint="")


async def a_tail():
    """Give the telemetry of a tail, and the stream of one who listens already."""
    telemetry = Telemetry()
    tail = Tail(telemetry, lambda: 0, "local")
    head = Head(None, 0, b"", "", None)
    request = Request(key_of("local", Role.ADMIN), "/api/tail", b"", {}, head, None)
    lines = (await tail.stream_lines(None, request)).chunks
    assert await anext(lines) == LISTENING
    return telemetry, lines
