"""`millrace queue:demo|queue:status|queue:test|queue:consumer` against real servers."""

import socket
import time

import pytest

from tests.cli.commands import run
from tests.starting import COMMAND
from tests.support import KEY, ON_POSTGRES, Server


class Consumer(Server):
    """A `millrace queue:consumer` process."""

    def _command(self):
        return [*COMMAND, "queue:consumer", "--data", str(self.data)]


def ended(server, job_id, seconds=10):
    """Wait until a job has ended and give its status."""
    until = time.monotonic() + seconds
    while (status := server.call("GET", f"/api/messages/{job_id}").json["status"]) in ("queued", "processing"):
        assert time.monotonic() < until, status
        time.sleep(0.05)
    return status


def test_a_demo_job_is_printed_counted_and_done(server):
    """S1-73, S1-74."""
    before = run("queue:status", "--json", server=server).json

    done = run("queue:demo", server=server)
    job_id = done.out.strip()
    status = ended(server, job_id)

    after = run("queue:status", "--json", server=server).json
    shown = run("queue:status", server=server)
    assert (done.code, status) == (0, "stored")
    assert (after["total"] - before["total"], after["recentActivity"][0]["jobId"]) == (1, job_id)
    assert shown.out.startswith("total  queued")
    assert "store: sqlite" in shown.out


def test_a_job_of_each_type_is_followed_to_its_end(server):
    """S1-75."""
    done = run("queue:test", "--seconds", "20", server=server)

    assert (done.code, len(done.out.splitlines())) == (0, 4), done
    assert sorted(line.split()[0] for line in done.out.splitlines()) == [
        "cleanup",
        "email_send",
        "export_generation",
        "sms_send",
    ]


def test_jobs_that_do_not_end_in_time_fail_the_test(stopped):
    """S1-75: here nobody consumes, as the queue is paused."""
    with stopped:
        run("queue:demo", server=stopped)
        run("queues", "pause", "message-delivery", server=stopped)

        done = run("queue:test", "--seconds", "1", "--json", server=stopped)

    assert done.code == 1
    assert '"status": "queued"' in done.out


@pytest.mark.parametrize("command", ["queue:demo", "queue:status", "queue:test"])
def test_a_key_that_is_refused_exits_with_3(server, command):
    """S1-81."""
    assert run(command, server=server, environ={"MILLRACE_TOKEN": "sk_live_wrong"}).code == 3


def test_a_server_that_is_down_exits_with_4():
    """S1-73."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    assert run("queue:demo", "--url", url, "--token", KEY).code == 4


def test_a_consumer_in_a_process_of_its_own_does_the_jobs_of_a_server_without_one(tmp_path):
    """S1-72, S1-76."""
    ON_POSTGRES.add(tmp_path)
    with Server(tmp_path, "--role", "api") as api:
        job_id = run("queue:demo", server=api).out.strip()
        waiting = api.call("GET", f"/api/messages/{job_id}").json["status"]

        with Consumer(tmp_path) as consumer:
            status = ended(api, job_id)

            assert (waiting, status) == ("queued", "stored")
            assert consumer.call("GET", "/health").status == 200
            assert consumer.stop() == 0


def test_debug_routes_that_are_switched_off_are_named(httpserver):
    """S1-73: the sentence says what to do."""
    refused = {"error": {"code": "NOT_FOUND", "message": "No route"}}
    httpserver.expect_request("/debug/enqueue").respond_with_json(refused, 404)

    done = run("queue:demo", "--url", httpserver.url_for("/"), "--token", KEY)

    assert (done.code, "DEBUG_ROUTES=1" in done.error) == (1, True)
