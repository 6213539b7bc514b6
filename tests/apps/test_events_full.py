"""What happens when an event cannot be queued."""

import re

import apsw
import pytest

from tests.http.wire import ISO_MS, backlog, queue_named
from tests.support import Server

SENTENCE = "Queue service temporarily unavailable"
LIMITS = """
name = "api"

[[queues.limits]]
queue = "event-queue"
max_backlog_messages = 3
max_backlog_bytes = 2000

[[queues.limits]]
queue = "event-dlq"
max_backlog_messages = 1
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limited")
    config = folder / "wrangler.toml"
    config.write_text(LIMITS)
    with Server(folder / "data", "--config", str(config)) as running:
        yield running


@pytest.fixture
def queues(server):
    """The ids of event-queue and event-dlq, both empty."""
    ids = [queue_named(server, name)["queue_id"] for name in ("event-queue", "event-dlq")]
    for queue in ids:
        drain(server, queue)
    return ids


def drain(server, queue):
    server.v4("POST", f"/queues/{queue}/purge", {"delete_messages_permanently": True})


def post(server, body=None, path="/events"):
    return server.call("POST", path, body or {"payload": {}})


def assert_unavailable(reply):
    assert reply.status == 503
    error = reply.json["error"]
    assert reply.json == {
        "error": {
            "code": "SERVICE_UNAVAILABLE",
            "message": SENTENCE,
            "timestamp": error["timestamp"],
            "correlation_id": reply.headers["x-correlation-id"],
        }
    }
    assert re.fullmatch(ISO_MS, error["timestamp"])
    assert int(reply.headers["retry-after"]) >= 1


def test_a_full_queue_answers_503_with_the_exact_body_and_nothing_is_queued(server, queues):
    """S4-18, S4-19, S4-20, X34."""
    assert [post(server).status for _ in range(3)] == [200] * 3

    assert_unavailable(post(server))

    assert backlog(server, queues[0])["backlog_count"] == 3


def test_a_queue_that_is_full_by_bytes_answers_503_but_takes_what_still_fits(server, queues):
    """S4-19, X34."""
    assert post(server, {"payload": {"a": "x" * 1500}}).status == 200

    assert_unavailable(post(server, {"payload": {"a": "x" * 1500}}))

    assert post(server).status == 200
    assert backlog(server, queues[0])["backlog_count"] == 2


def test_after_draining_events_are_accepted_again_without_a_restart(server, queues):
    """S4-20."""
    for _ in range(3):
        post(server)
    assert_unavailable(post(server))

    drain(server, queues[0])

    assert post(server).status == 200


def test_a_full_dead_letter_queue_answers_503_to_debug_routing_alone(server, queues):
    """S4-25."""
    assert post(server, path="/events?debug=dlq_routing").status == 200

    assert_unavailable(post(server, path="/events?debug=dlq_routing"))

    assert [backlog(server, queue)["backlog_count"] for queue in queues] == [0, 1]
    assert post(server).status == 200


def test_the_failure_has_its_log_line(server, queues):
    """S4-34, S4-35."""
    for _ in range(3):
        post(server)
    refused = post(server)
    correlation_id = refused.headers["x-correlation-id"]

    server.wait_for_text(correlation_id)

    line = next(line for line in server.log_lines() if line.get("correlation_id") == correlation_id)
    assert (line["level"], line["message"]) == ("error", "Failed to queue event")
    assert line["event_id"]
    assert line["error"]
    assert re.fullmatch(ISO_MS, line["timestamp"])


def test_the_v4_api_keeps_cloudflares_answer_to_a_full_queue(server, queues):
    """X34."""
    for _ in range(3):
        post(server)

    reply = server.v4("POST", f"/queues/{queues[0]}/messages", {"body": 1})

    assert (reply.status, reply.code) == (429, 10251)
    assert "retry-after" in reply.headers
    assert "x-should-retry" not in reply.headers


def test_a_locked_database_answers_503_and_events_are_accepted_when_it_is_free(server, queues):
    """S4-19, S4-20."""
    other = apsw.Connection(str(server.data / "millrace.db"))
    other.execute("begin immediate")

    assert_unavailable(post(server))
    other.execute("rollback")
    other.close()

    assert backlog(server, queues[0])["backlog_count"] == 0
    assert post(server).status == 200
