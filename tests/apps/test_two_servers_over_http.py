"""Two `millrace serve` on one PostgreSQL database, as clients see them."""

import json

import pytest
from websockets.sync.client import connect

from tests.clusters import fresh_database
from tests.support import KEY, Server

BYTE_0 = "a\0b"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with fresh_database() as url:
        folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
        environ = {"DATABASE_URL": url}
        with (
            Server(folders[0], "--config", "", environ=environ) as one,
            Server(folders[1], "--config", "", environ=environ) as two,
        ):
            yield one, two


def follow(server, run):
    url = server.url.replace("http", "ws", 1) + f"/runs/{run}/ws"
    return connect(url, additional_headers={"Authorization": f"Bearer {KEY}"})


def test_a_run_is_followed_on_one_server_while_its_job_is_done_on_the_other(servers):
    one, two = servers
    run = one.call("POST", "/runs", {"tenantId": "acme"}).json["runId"]
    seen = []

    with follow(two, run) as socket:
        seen.append(json.loads(socket.recv(timeout=5))["status"])
        [job] = one.call("POST", "/jobs/pull", {}).json["jobs"]
        seen.append(json.loads(socket.recv(timeout=5))["status"])
        one.call("POST", f"/runs/{run}", {"status": "reading"})
        seen.append(json.loads(socket.recv(timeout=5))["status"])
        two.call("POST", "/jobs/ack", {"ids": [job["id"]], "status": "done"})
        seen.append(json.loads(socket.recv(timeout=5))["status"])

    assert seen == ["pending", "leased", "reading", "done"]
    assert one.call("GET", f"/runs/{run}").json["status"] == "done"


def test_an_upload_that_one_server_allows_is_taken_by_the_other(servers):
    one, two = servers
    announced = {"tenantId": "acme", "contentType": "text/plain", "filename": "a.txt"}
    made = one.call("POST", "/uploads/create", announced).json

    path = made["uploadUrl"].removeprefix(one.url)
    reply = two.call("PUT", path, b"hello", key=None, headers={"Content-Type": "text/plain"})

    assert reply.status == 200, reply.body
    assert one.call("GET", f"/runs/{made['runId']}").json["objectBytes"] == 5


def test_the_character_0_which_postgres_has_no_text_for_is_kept_in_results_and_passed_over_in_errors(servers):
    one, two = servers
    run = one.call("POST", "/runs", {"tenantId": "zero"}).json["runId"]
    job = next(job for job in one.call("POST", "/jobs/pull", {"max": 100}).json["jobs"] if job["runId"] == run)

    stored = one.call("POST", f"/runs/{run}", {"text": BYTE_0, "result": {"a": BYTE_0}})
    failed = two.call("POST", "/jobs/ack", {"ids": [job["id"]], "status": "failed", "error": BYTE_0})

    shown = two.call("GET", f"/runs/{run}").json
    assert (stored.status, failed.json["results"][0]["ok"]) == (200, True)
    assert (shown["result"], shown["textBytes"], shown["error"]) == ({"a": BYTE_0}, 3, "a\ufffdb")
    assert one.call("GET", f"/runs/{run}/text").body == BYTE_0.encode()


def test_sql_on_one_server_shows_what_the_other_did_and_lets_nobody_past_the_views(servers):
    one, two = servers
    run = one.call("POST", "/runs", {"tenantId": "asked"}).json["runId"]

    asked = two.call("POST", "/api/sql", {"sql": "select status from jobs where run_id = ?", "params": [run]})
    refused = two.call("POST", "/api/sql", {"sql": "select * from jobs_rows"})

    assert asked.json["rows"] == [["pending"]]
    assert refused.status == 400
