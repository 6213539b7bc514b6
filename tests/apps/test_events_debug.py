"""Debug routing: `?debug=dlq_routing`."""

import base64
import json

import pytest

from tests.http.wire import backlog, peek, queue_named
from tests.support import Server

PATH = "/events?debug=dlq_routing"
NOTE = "Event forced to dead letter queue"


@pytest.fixture
def queues(server):
    """The ids of event-queue and event-dlq, both empty."""
    ids = [queue_named(server, name)["queue_id"] for name in ("event-queue", "event-dlq")]
    for queue in ids:
        server.v4("POST", f"/queues/{queue}/purge", {"delete_messages_permanently": True})
    return ids


def counts(server, queues):
    return [backlog(server, queue)["backlog_count"] for queue in queues]


def key_of(server, **given):
    return server.call("POST", "/api/keys", given).json["secret"]


def test_a_forced_event_is_in_the_dead_letter_queue_and_not_in_the_main_one(server, queues):
    """S4-21, S4-22, S4-23, X28."""
    reply = server.call("POST", PATH, {"payload": {"a": 1, "b": {"c": []}}, "metadata": {"m": 1}})

    data = reply.json["data"]
    assert list(data) == ["event_id", "status", "timestamp", "debug_note"]
    assert data["debug_note"] == NOTE
    assert reply.headers["x-correlation-id"]
    assert counts(server, queues) == [0, 1]
    assert json.loads(base64.b64decode(peek(server, queues[1])[0]["body"])) == {
        "event_id": data["event_id"],
        "payload": {"a": 1, "b": {"c": []}, "_force_dlq": True},
        "metadata": {"m": 1},
        "timestamp": data["timestamp"],
    }


@pytest.mark.parametrize(
    "payload", [b"{}", b"{ }", b'{"_force_dlq":false}', b'{"z":1.0,"big":12345678901234567890123 }']
)
def test_the_marker_is_added_and_the_rest_of_the_payload_is_intact(server, queues, payload):
    """S4-23."""
    assert server.call("POST", PATH, b'{"payload":' + payload + b"}").status == 200

    body = base64.b64decode(peek(server, queues[1])[0]["body"])
    assert json.loads(body)["payload"] == json.loads(payload) | {"_force_dlq": True}
    assert payload.rstrip(b" }") in body


@pytest.mark.parametrize(
    "query", ["", "?debug=", "?debug=other", "?debug=DLQ_ROUTING", "?dlq_routing", "?Debug=dlq_routing"]
)
def test_another_query_is_no_debug_flag(server, queues, query):
    """S4-21."""
    assert "debug_note" not in server.call("POST", f"/events{query}", {"payload": {}}).json["data"]

    assert counts(server, queues) == [1, 0]


def test_a_live_producer_key_is_ignored_and_logged(server, queues):
    """S4-26, X55."""
    reply = server.call("POST", PATH, {"payload": {}}, key=key_of(server, role="producer"))

    assert "debug_note" not in reply.json["data"]
    assert counts(server, queues) == [1, 0]
    server.wait_for_text("Debug flag ignored")
    assert reply.headers["x-correlation-id"] in server.text


def test_a_test_key_may_force(server, queues):
    """S4-26, X55."""
    reply = server.call("POST", PATH, {"payload": {}}, key=key_of(server, role="producer", test=True))

    assert reply.json["data"]["debug_note"] == NOTE
    assert counts(server, queues) == [0, 1]


def test_a_forced_event_is_validated_like_any_other(server, queues):
    """S4-06, S4-21."""
    assert server.call("POST", PATH, {"payload": []}).status == 400
    assert server.call("POST", PATH, {"payload": {}}, key="wrong").status == 401

    assert counts(server, queues) == [0, 0]


@pytest.mark.parametrize("environ", [{"DEBUG_ROUTES": "0"}, {"CLOUDFLARE_ENV": "production"}])
def test_with_debug_routes_off_nobody_may_force(tmp_path, environ):
    """S4-26, X54."""
    with Server(tmp_path / "data", environ=environ) as server:
        test_key = key_of(server, role="producer", test=True)

        for key in (test_key, server.key):
            assert "debug_note" not in server.call("POST", PATH, {"payload": {}}, key=key).json["data"]

        assert backlog(server, queue_named(server, "event-queue")["queue_id"])["backlog_count"] == 2
        assert backlog(server, queue_named(server, "event-dlq")["queue_id"])["backlog_count"] == 0
