"""The queue of events: made at the start, kept over crashes, configured by the file."""

import base64
import json

from tests.http.wire import backlog, consumer_of, make_key, peek, queue_named
from tests.support import Server

CONFIG = """
name = "api"

[[queues.producers]]
binding = "EVENT_QUEUE"

[[queues.consumers]]
queue = "event-queue"
max_batch_size = 100
max_batch_timeout = 30
max_retries = 3
dead_letter_queue = "event-dlq"
"""
SETTINGS = {"batch_size": 100, "max_retries": 3, "max_wait_time_ms": 30000, "max_concurrency": None, "retry_delay": 0}


def test_both_queues_are_there_after_the_first_start_with_their_settings(server):
    """S4-12, S4-13, S4-14, S4-15, S4-16, X06, X32."""
    queue, dead = queue_named(server, "event-queue"), queue_named(server, "event-dlq")

    consumer = consumer_of(server, queue["queue_id"])
    assert (consumer["type"], consumer["dead_letter_queue"]) == ("worker", "event-dlq")
    assert consumer["settings"] == SETTINGS
    assert "message_retention_period" not in dead["settings"]
    assert server.v4("POST", f"/queues/{dead['queue_id']}/messages", {"body": 1}).status == 200


def test_an_event_is_there_after_a_kill_right_behind_the_answer(stopped):
    """S4-07, S4-39, S4-44, X33."""
    with stopped.start() as server:
        ids = [server.call("POST", "/events", {"payload": {"n": n}}).json["data"]["event_id"] for n in range(5)]
        server.kill()
        server.start()

        messages = peek(server, queue_named(server, "event-queue")["queue_id"])
        assert [json.loads(base64.b64decode(message["body"]))["event_id"] for message in messages] == ids
        assert {message["attempts"] for message in messages} == {0}


def test_without_a_consumer_events_remain(server):
    """S4-39, X29."""
    queue = queue_named(server, "event-queue")["queue_id"]
    before = backlog(server, queue)["backlog_count"]

    server.call("POST", "/events", {"payload": {}})

    assert backlog(server, queue)["backlog_count"] == before + 1


def test_a_deleted_queue_is_made_again_with_the_next_event(stopped):
    """S4-12."""
    with stopped.start() as server:
        server.call("POST", "/events", {"payload": {}})
        server.v4("DELETE", f"/queues/{queue_named(server, 'event-queue')['queue_id']}")

        assert server.call("POST", "/events", {"payload": {}}).status == 200

        queue = queue_named(server, "event-queue")["queue_id"]
        assert backlog(server, queue)["backlog_count"] == 1
        assert consumer_of(server, queue)["dead_letter_queue"] == "event-dlq"


def test_the_literal_file_loads_and_its_binding_means_event_queue(tmp_path):
    """S4-11, X31."""
    config = tmp_path / "wrangler.toml"
    config.write_text(CONFIG)

    with Server(tmp_path / "data", "--config", str(config)) as server:
        queue = queue_named(server, "event-queue")

        assert queue["producers"] == [{"type": "worker", "script": "api"}]
        assert queue["consumers"][0]["settings"] == SETTINGS
        assert queue["consumers"][0]["script"] == "api"
        server.wait_for_text("EVENT_QUEUE")
        warnings = [line["warning"] for line in server.log_lines() if line["event"] == "configuration.warning"]
        assert any("EVENT_QUEUE" in warning and "event-queue" in warning for warning in warnings)


def test_an_account_has_events_of_its_own(tmp_path):
    """S4-12, S4-27."""
    key = make_key(tmp_path / "data", "other")
    with Server(tmp_path / "data") as server:
        assert server.call("POST", "/events", {"payload": {}}, key=key).status == 200

        theirs = queue_named(server, "event-queue", account="other", key=key)["queue_id"]
        counted = server.v4("GET", f"/queues/{theirs}/metrics", account="other", key=key).result["backlog_count"]
        assert counted == 1
        assert backlog(server, queue_named(server, "event-queue")["queue_id"])["backlog_count"] == 0
