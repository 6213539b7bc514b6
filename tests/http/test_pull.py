import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http.wire import (
    PULL,
    a_name,
    assert_failure,
    backlog,
    consumer_of,
    pull,
    pull_within,
    push,
    push_text,
    settle,
)


def pull_with(server, queue, body):
    return server.v4("POST", f"/queues/{queue}/messages/pull", body)


def test_a_pull_has_the_documented_shape(server, pulled):
    sent = push(server, pulled, "hello", content_type="text").result["metadata"]["metrics"]

    result = pull_with(server, pulled, {}).result

    assert set(result) == {"message_backlog_count", "messages", "metadata"}
    assert result["message_backlog_count"] == 1
    assert result["metadata"] == {"metrics": sent}
    message = result["messages"][0]
    assert set(message) == {"id", "lease_id", "attempts", "timestamp_ms", "body", "metadata"}
    assert re.fullmatch("[0-9a-f]{32}", message["id"])
    assert 0 < len(message["lease_id"]) <= 2048
    assert message["attempts"] == 1
    assert message["timestamp_ms"] == sent["oldest_message_timestamp_ms"]


def test_an_empty_queue_answers_at_once_with_no_messages(server, pulled):
    began = time.monotonic()

    reply = pull_with(server, pulled, {})

    assert (reply.status, reply.result["messages"], reply.result["message_backlog_count"]) == (200, [], 0)
    assert time.monotonic() - began < 2


def test_a_pull_takes_5_messages_unless_told(server, pulled):
    push_text(server, pulled, *"abcdefgh")

    assert len(pull_with(server, pulled, {}).result["messages"]) == 5
    assert len(pull_with(server, pulled, {"batch_size": None}).result["messages"]) == 3


def test_the_settings_of_the_consumer_are_the_defaults_of_a_pull(server):
    settings = {"batch_size": 2, "visibility_timeout_ms": 200}
    queue = server.create_queue(a_name(), consumer=PULL | {"settings": settings})
    push_text(server, queue, "a", "b", "c")

    first = pull_with(server, queue, {}).result["messages"]
    assert [message["body"] for message in first] == ["a", "b"]
    assert [message["body"] for message in pull_with(server, queue, {}).result["messages"]] == ["c"]
    again = pull_within(server, queue, size=1)
    assert (again[0]["id"], again[0]["attempts"]) == (first[0]["id"], 2)


def test_the_other_word_for_the_timeout_is_milliseconds_too(server, pulled):
    push(server, pulled)

    assert len(pull_with(server, pulled, {"visibility_timeout": 150}).result["messages"]) == 1
    assert pull(server, pulled) == []
    assert pull_within(server, pulled)[0]["attempts"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {"batch_size": 0},
        {"batch_size": 101},
        {"batch_size": -1},
        {"batch_size": "5"},
        {"batch_size": 1.5},
        {"batch_size": True},
        {"visibility_timeout_ms": -1},
        {"visibility_timeout_ms": 43_200_001},
        {"visibility_timeout": 43_200_001},
        {"visibility_timeout_ms": "5"},
        [],
        "x",
        5,
    ],
)
def test_numbers_out_of_range_are_refused_with_10026(server, pulled, body):
    push(server, pulled)

    assert_failure(pull_with(server, pulled, body), 400, 10026)

    assert pull(server, pulled)[0]["attempts"] == 1


def test_the_ends_of_the_ranges_are_within(server, pulled):
    push_text(server, pulled, *(str(number) for number in range(100)))

    assert len(pull_with(server, pulled, {"batch_size": 100, "visibility_timeout_ms": 0}).result["messages"]) == 100
    assert (
        len(pull_with(server, pulled, {"batch_size": 1, "visibility_timeout_ms": 43_200_000}).result["messages"]) == 1
    )


def test_without_an_http_pull_consumer_a_pull_is_405_10405(server, queue):
    worker = server.create_queue(a_name(), consumer={"type": "worker", "script_name": "w"})

    for place in (queue, worker):
        reply = pull_with(server, place, {})
        assert_failure(reply, 405, 10405)
        assert reply.json["errors"][0]["message"] == "messages cannot be pulled unless http_pull mode is enabled"


def test_a_paused_queue_is_409_10252_and_says_queue_delivery_paused(server, pulled):
    push(server, pulled)
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_paused": True}})

    reply = pull_with(server, pulled, {})
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_paused": False}})

    assert_failure(reply, 409, 10252)
    assert "queue_delivery_paused" in reply.json["errors"][0]["message"]
    assert reply.headers["x-should-retry"] == "false"
    assert pull(server, pulled)[0]["attempts"] == 1


def test_a_lease_from_before_the_pause_is_settled_during_it(server, pulled):
    push_text(server, pulled, "a", "b")
    first, second = pull(server, pulled)
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_paused": True}})

    result = settle(server, pulled, [first["lease_id"]], [second["lease_id"]])

    assert result == {"ackCount": 1, "retryCount": 1, "warnings": {}}


def test_ready_messages_come_oldest_first_by_the_time_they_became_ready(server, pulled):
    push(server, pulled, "delayed", content_type="text", delay_seconds=1)
    push_text(server, pulled, "a", "b")
    time.sleep(1.1)  # the subject is the passing of a second
    push_text(server, pulled, "c")

    assert [message["body"] for message in pull(server, pulled)] == ["a", "b", "delayed", "c"]


def test_pullers_at_the_same_time_get_disjoint_batches(server, pulled):
    push_text(server, pulled, *(str(number) for number in range(100)))

    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: pull(server, pulled, 10), range(12)))

    ids = [message["id"] for batch in batches for message in batch]
    assert (len(ids), len(set(ids))) == (100, 100)


def test_leased_messages_count_in_the_backlog_until_they_are_acknowledged(server, pulled):
    push_text(server, pulled, "abc", "de")
    leases = [message["lease_id"] for message in pull(server, pulled)]
    assert (backlog(server, pulled)["backlog_count"], backlog(server, pulled)["backlog_bytes"]) == (2, 5)

    settle(server, pulled, leases)

    assert backlog(server, pulled) == {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}


def test_a_longer_lease_of_the_consumer_counts_for_the_next_pull(server, pulled):
    path = f"/queues/{pulled}/consumers/{consumer_of(server, pulled)['consumer_id']}"
    push(server, pulled)
    assert len(pull(server, pulled, lease_ms=100)) == 1
    server.v4("PUT", path, PULL | {"settings": {"visibility_timeout_ms": 60000}})

    assert len(pull_within(server, pulled)) == 1
    assert pull(server, pulled) == []
