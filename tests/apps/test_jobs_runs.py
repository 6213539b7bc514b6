"""Runs as clients follow them. The row ids stand for the requirements that a test holds."""

import http.client
import itertools
import json
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.http.wire import assert_refusal
from tests.support import KEY

_numbers = itertools.count(1)


@pytest.fixture
def run(server):
    """A run with its job, pending; no job but that is."""
    while jobs := server.call("POST", "/jobs/pull", {"max": 100}).json["jobs"]:
        server.call("POST", "/jobs/ack", {"ids": [job["id"] for job in jobs], "status": "done"})
    return server.call("POST", "/runs", {"tenantId": "acme"}).json["runId"]


def show(server, run):
    reply = server.call("GET", f"/runs/{run}")
    assert reply.status == 200, reply.body
    return reply.json


def follow(server, run, query=""):
    url = server.url.replace("http", "ws", 1) + f"/runs/{run}/ws{query}"
    return connect(url, additional_headers={"Authorization": f"Bearer {KEY}"})


def next_of(socket):
    return json.loads(socket.recv(timeout=5))


def test_a_run_is_started_with_its_job(server):
    """S2-17, X11."""
    before = server.call("GET", "/jobs/stats").json["stats"]["pending"]

    reply = server.call("POST", "/runs", {"tenantId": "acme", "r2Key": "in/a.pdf"})

    assert reply.status == 201
    assert list(reply.json) == ["success", "runId", "jobId", "r2Key", "status"]
    assert (reply.json["r2Key"], reply.json["status"]) == ("in/a.pdf", "pending")
    assert server.call("GET", "/jobs/stats").json["stats"]["pending"] == before + 1
    assert list(show(server, reply.json["runId"])) == [
        "runId",
        "tenantId",
        "r2Key",
        "status",
        "jobId",
        "attempts",
        "error",
        "objectBytes",
        "textBytes",
        "createdAt",
        "updatedAt",
        "text",
        "textPath",
        "result",
    ]


def test_a_run_may_have_an_id_of_its_callers_own_and_a_place_for_its_object(server):
    reply = server.call("POST", "/runs", {"tenantId": "acme", "runId": "mine"})

    assert (reply.json["runId"], reply.json["r2Key"]) == ("mine", "uploads/acme/mine/content")
    assert_refusal(server.call("POST", "/runs", {"tenantId": "globex", "runId": "mine"}), 409, "CONFLICT")
    assert_refusal(server.call("POST", "/runs", {"runId": "mine"}), 400, "VALIDATION_ERROR")


def test_a_run_shows_what_its_job_does_and_what_came_out_of_it(server, run):
    """S2-20, S2-24, S2-30."""
    statuses = [show(server, run)["status"]]
    [job] = server.call("POST", "/jobs/pull", {}).json["jobs"]
    statuses.append(show(server, run)["status"])
    server.call("POST", f"/runs/{run}", {"status": "reading"})
    statuses.append(show(server, run)["status"])
    server.call("POST", f"/runs/{run}", {"text": "Grüße", "result": {"pages": 1}})
    server.call("POST", "/jobs/ack", {"ids": [job["id"]], "status": "done"})

    ended = show(server, run)

    assert statuses == ["pending", "leased", "reading"]
    assert (ended["status"], ended["attempts"]) == ("done", 1)
    assert (ended["text"], ended["textBytes"], ended["result"]) == ("Grüße", 7, {"pages": 1})
    assert server.call("GET", f"/runs/{run}/text").body.decode() == "Grüße"


def test_a_failed_delivery_leaves_its_error_on_the_run_until_one_is_done(server, run):
    [job] = server.call("POST", "/jobs/pull", {}).json["jobs"]
    server.call("POST", "/jobs/ack", {"ids": [job["id"]], "status": "failed", "error": "no text in it"})
    failed = show(server, run)
    server.call("POST", "/jobs/pull", {})
    server.call("POST", "/jobs/ack", {"ids": [job["id"]], "status": "done"})

    assert (failed["status"], failed["error"]) == ("pending", "no text in it")
    assert (show(server, run)["status"], show(server, run)["error"]) == ("done", None)


def test_two_clients_see_each_change_of_a_run_as_it_happens(server, run):
    """S2-24."""
    with follow(server, run) as one, follow(server, run) as other:
        first = [next_of(one), next_of(other)]
        [job] = server.call("POST", "/jobs/pull", {}).json["jobs"]
        pulled = [next_of(one), next_of(other)]
        server.call("POST", f"/runs/{run}", {"text": "Hello"})
        told = [next_of(one), next_of(other)]
        server.call("POST", "/jobs/ack", {"ids": [job["id"]], "status": "done"})
        done = [next_of(one), next_of(other)]

    frames = [first, pulled, told, done]
    assert [pair[0] for pair in frames] == [pair[1] for pair in frames]
    assert [pair[0]["status"] for pair in frames] == ["pending", "leased", "leased", "done"]
    assert [pair[0]["version"] for pair in frames] == [1, 2, 3, 4]
    assert told[0]["textBytes"] == 5
    assert "text" not in told[0]


def test_who_comes_late_may_ask_for_what_was_missed(server, run):
    """S2-24."""
    server.call("POST", "/jobs/pull", {})

    with follow(server, run, "?after=0") as all_of_it, follow(server, run) as newest:
        seen = [next_of(all_of_it)["status"], next_of(all_of_it)["status"]]

        assert seen == ["pending", "leased"]
        assert next_of(newest)["version"] == 2


def test_an_upload_that_arrives_is_told(server):
    """S2-24."""
    body = {"contentType": "text/plain", "filename": "a.txt", "tenantId": "acme"}
    created = server.call("POST", "/uploads/create", body).json
    path = created["uploadUrl"].removeprefix(server.url)

    with follow(server, created["runId"]) as socket:
        before = next_of(socket)
        server.call("PUT", path, b"Hello", key=None, headers={"Content-Type": "text/plain"})
        after = next_of(socket)

    assert (before["objectBytes"], after["objectBytes"], after["status"]) == (None, 5, "pending")


def test_a_run_streams_as_server_sent_events(server, run):
    """S2-24."""
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=5)
    connection.request("GET", f"/runs/{run}/events", headers={"Authorization": f"Bearer {KEY}"})
    answer = connection.getresponse()

    lines = [answer.readline(), answer.readline(), answer.readline()]
    connection.close()

    assert answer.headers["content-type"] == "text/event-stream"
    assert lines[0] == b"id: 1\n"
    assert json.loads(lines[1].removeprefix(b"data: "))["status"] == "pending"
    assert lines[2] == b"\n"


def test_nobody_follows_a_run_that_is_not_there_or_without_a_key(server, run):
    """S2-13."""
    for path, key, status in ((f"{run}", "wrong", 401), ("nothing", KEY, 404), (f"{run}?after=x", KEY, 400)):
        name, _, query = path.partition("?")
        url = server.url.replace("http", "ws", 1) + f"/runs/{name}/ws?{query}"
        with pytest.raises(InvalidStatus) as refused:
            connect(url, additional_headers={"Authorization": f"Bearer {key}"})
        assert refused.value.response.status_code == status
        assert server.call("GET", f"/runs/{name}/events?{query}", key=key).status == status


def test_a_long_text_is_read_by_itself(server, run):
    """S2-20: it does not burden the run's state."""
    text = "ä" * 600_000

    stored = server.call("POST", f"/runs/{run}", {"text": text})

    state = show(server, run)
    assert stored.json["textBytes"] == state["textBytes"] == 1_200_000
    assert (state["text"], state["textPath"]) == (None, f"/runs/{run}/text")
    assert server.call("GET", state["textPath"]).body.decode() == text
    server.call("POST", f"/runs/{run}", {"text": "short"})
    assert (show(server, run)["text"], show(server, run)["textPath"]) == ("short", None)


def test_a_run_that_is_not_there_or_without_a_text_is_not_found(server, run):
    assert_refusal(server.call("GET", "/runs/nothing"), 404, "NOT_FOUND")
    assert_refusal(server.call("POST", "/runs/nothing", {"text": "x"}), 404, "NOT_FOUND")
    assert_refusal(server.call("GET", f"/runs/{run}/text"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"text": 1}, 400, "VALIDATION_ERROR"),
        ({"status": ""}, 400, "VALIDATION_ERROR"),
        ({"status": "x" * 65}, 400, "VALIDATION_ERROR"),
        ({"result": "x" * 1_000_001}, 413, "PAYLOAD_TOO_LARGE"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_result_that_does_not_fit_is_refused(server, run, body, status, code):
    assert_refusal(server.call("POST", f"/runs/{run}", body), status, code)


def test_a_text_that_is_left_out_stays(server, run):
    server.call("POST", f"/runs/{run}", {"text": "Hello", "result": 1})

    server.call("POST", f"/runs/{run}", {"result": None})

    state = show(server, run)
    assert (state["text"], state["textBytes"], state["result"]) == ("Hello", 5, None)


def test_an_older_job_of_a_run_says_nothing_for_it(server, run):
    [older] = server.call("POST", "/jobs/pull", {}).json["jobs"]
    newer = server.call("POST", "/jobs/enqueue", {"runId": run, "tenantId": "acme", "r2Key": "b.pdf"}).json["jobId"]

    server.call("POST", "/jobs/ack", {"ids": [older["id"]], "status": "done"})

    assert (show(server, run)["jobId"], show(server, run)["status"]) == (newer, "pending")
