"""Attempts, delays, leases and dead letters, as a client sees them over HTTP."""

import time

import pytest

from tests.http.wire import (
    PULL,
    a_name,
    backlog,
    consumer_of,
    eventually,
    peek,
    pull,
    pull_within,
    push,
    push_text,
    queue_named,
    settle,
    text_of,
)

LEASE_MS = 300


def with_dead_letters(server, max_retries=0, **settings):
    """A pulled queue and the id of its dead-letter queue, which is pulled too."""
    name = a_name("dlq")
    dead = server.create_queue(name, consumer=PULL)
    given = PULL | {"dead_letter_queue": name, "settings": {"max_retries": max_retries, **settings}}
    return server.create_queue(a_name(), consumer=given), dead


def fail_once(server, queue, **more):
    """Pull the only message, retry it, and give the delivery."""
    message = pull_within(server, queue, **more)[0]
    assert settle(server, queue, [], [message["lease_id"]])["retryCount"] == 1
    return message


def replace_consumer(server, queue, **given):
    path = f"/queues/{queue}/consumers/{consumer_of(server, queue)['consumer_id']}"
    assert server.v4("PUT", path, PULL | given).status == 200


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_max_retries_n_allows_n_plus_1_deliveries(server, max_retries):
    queue, dead = with_dead_letters(server, max_retries)
    push(server, queue)

    deliveries = [fail_once(server, queue) for _ in range(max_retries + 1)]

    assert [delivery["attempts"] for delivery in deliveries] == list(range(1, max_retries + 2))
    assert len({delivery["id"] for delivery in deliveries}) == 1
    assert (backlog(server, queue)["backlog_count"], backlog(server, dead)["backlog_count"]) == (0, 1)


def test_three_retries_are_the_default(server):
    name = a_name("dlq")
    queue = server.create_queue(a_name(), consumer=PULL | {"dead_letter_queue": name})
    push(server, queue)

    assert [fail_once(server, queue)["attempts"] for _ in range(4)] == [1, 2, 3, 4]

    assert backlog(server, queue_named(server, name)["queue_id"])["backlog_count"] == 1


def test_without_a_dead_letter_queue_an_exhausted_message_is_dropped(server):
    queue = server.create_queue(a_name(), consumer=PULL | {"settings": {"max_retries": 1}})
    push(server, queue)

    fail_once(server, queue)
    fail_once(server, queue)

    assert backlog(server, queue) == {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}


@pytest.mark.parametrize(
    ("kind", "body"), [("json", {"a": [1, "é"]}), ("text", "héllo"), ("bytes", "/+8="), ("v8", "/w9J")]
)
def test_a_dead_letter_keeps_id_time_body_and_content_type_and_begins_anew(server, kind, body):
    queue, dead = with_dead_letters(server)
    push(server, queue, body, content_type=kind)
    before = fail_once(server, queue)

    assert peek(server, dead)[0]["attempts"] == 0
    after = pull(server, dead)[0]

    kept = ("id", "timestamp_ms", "body")
    assert [after[key] for key in kept] == [before[key] for key in kept]
    assert after["metadata"]["CF-Content-Type"] == kind
    assert after["attempts"] == 1
    assert after["lease_id"] != before["lease_id"]


def test_a_retry_delay_does_not_postpone_the_move_and_the_dead_letter_queues_own_delay_does_not_apply(server):
    queue, dead = with_dead_letters(server, retry_delay=3600)
    server.v4("PATCH", f"/queues/{dead}", {"settings": {"delivery_delay": 3600}})
    push(server, queue)
    lease = pull(server, queue)[0]["lease_id"]

    settle(server, queue, [], [(lease, 3600)])

    assert len(pull(server, dead)) == 1


def test_the_dead_letter_queues_own_consumer_retries_and_dead_letters_apply(server):
    last = a_name("last")
    queue, dead = with_dead_letters(server)
    replace_consumer(server, dead, dead_letter_queue=last, settings={"max_retries": 1})
    push(server, queue, "travels", content_type="text")
    first = fail_once(server, queue)

    assert [fail_once(server, dead)["attempts"] for _ in range(2)] == [1, 2]

    end = peek(server, queue_named(server, last)["queue_id"])
    assert [(message["id"], text_of(message)) for message in end] == [(first["id"], "travels")]


def test_two_queues_that_are_each_others_dead_letter_queue_pass_a_message_on(server):
    one, two = a_name(), a_name()
    first = server.create_queue(one, consumer=PULL | {"dead_letter_queue": two, "settings": {"max_retries": 0}})
    second = queue_named(server, two)["queue_id"]
    given = PULL | {"dead_letter_queue": one, "settings": {"max_retries": 0}}
    assert server.v4("POST", f"/queues/{second}/consumers", given).status == 200
    push(server, first)

    ids = {fail_once(server, queue)["id"] for queue in (first, second, first, second)}

    assert len(ids) == 1
    assert (backlog(server, first)["backlog_count"], backlog(server, second)["backlog_count"]) == (1, 0)


def test_a_deleted_dead_letter_queue_is_made_again(server):
    name = a_name("dlq")
    queue = server.create_queue(a_name(), consumer=PULL | {"dead_letter_queue": name, "settings": {"max_retries": 0}})
    push(server, queue, "buried", content_type="text")
    lease = pull(server, queue)[0]["lease_id"]
    old = queue_named(server, name)["queue_id"]
    server.v4("DELETE", f"/queues/{old}")

    settle(server, queue, [], [lease])

    made = queue_named(server, name)["queue_id"]
    assert made != old
    assert [message["body"] for message in peek(server, made)] == ["buried"]


def test_the_limits_are_those_of_the_consumer_at_the_moment_of_the_failure(server):
    queue, dead = with_dead_letters(server, max_retries=0)
    push(server, queue)
    lease = pull(server, queue)[0]["lease_id"]
    replace_consumer(server, queue, settings={"max_retries": 5})

    settle(server, queue, [], [lease])

    assert (backlog(server, queue)["backlog_count"], backlog(server, dead)["backlog_count"]) == (1, 0)
    assert pull(server, queue)[0]["attempts"] == 2


def test_the_queues_delay_does_not_apply_to_retries(server, pulled):
    push(server, pulled)
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_delay": 3600}})

    fail_once(server, pulled)

    assert pull(server, pulled)[0]["attempts"] == 2


def test_while_a_lease_runs_nobody_else_gets_the_message_and_then_it_is_back(server, pulled):
    push(server, pulled)
    began = time.monotonic()
    first = pull(server, pulled, lease_ms=LEASE_MS)[0]

    assert pull(server, pulled) == []
    second = pull_within(server, pulled)[0]

    assert time.monotonic() - began >= LEASE_MS / 1000
    assert (second["id"], second["attempts"]) == (first["id"], 2)
    assert second["timestamp_ms"] == first["timestamp_ms"]


def test_a_lapsed_lease_waits_for_the_retry_delay_of_the_consumer(server):
    queue = server.create_queue(a_name(), consumer=PULL | {"settings": {"retry_delay": 1}})
    push(server, queue)
    began = time.monotonic()
    pull(server, queue, lease_ms=LEASE_MS)

    assert pull_within(server, queue)[0]["attempts"] == 2
    assert time.monotonic() - began >= 1 + LEASE_MS / 1000


def test_a_visibility_timeout_of_0_leaves_the_message_ready_at_once(server, pulled):
    push(server, pulled)

    assert [pull(server, pulled, lease_ms=0)[0]["attempts"] for _ in range(3)] == [1, 2, 3]


def test_a_visibility_timeout_of_0_uses_up_attempts_too(server):
    queue, dead = with_dead_letters(server, max_retries=2)
    push(server, queue)

    assert [len(pull(server, queue, lease_ms=0)) for _ in range(4)] == [1, 1, 1, 0]

    assert backlog(server, dead)["backlog_count"] == 1


def test_an_exhausted_lapsed_message_reaches_the_dead_letter_queue_though_nobody_pulls(server):
    queue, dead = with_dead_letters(server)
    push(server, queue)
    first = pull(server, queue, lease_ms=LEASE_MS)[0]

    found = eventually(lambda: peek(server, dead))

    assert [message["id"] for message in found] == [first["id"]]
    assert backlog(server, queue)["backlog_count"] == 0


def test_a_pull_is_never_empty_while_something_is_ready_behind_exhausted_messages(server):
    queue, dead = with_dead_letters(server)
    push_text(server, queue, *(str(number) for number in range(50)))
    assert len(pull(server, queue, 50, lease_ms=0)) == 50
    push(server, queue, "fresh", content_type="text")

    assert [message["body"] for message in pull(server, queue, 1)] == ["fresh"]
    assert backlog(server, dead)["backlog_count"] == 50


def test_pausing_peeking_and_purging_use_up_no_attempt(server, pulled):
    push_text(server, pulled, "stays", "goes")
    for paused in (True, False):
        server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_paused": paused}})
        shown = peek(server, pulled)
    server.v4("POST", f"/queues/{pulled}/messages/purge", {"refs": [{"ref": shown[1]["ref"]}]})

    assert [(message["body"], message["attempts"]) for message in pull(server, pulled)] == [("stays", 1)]


def test_resuming_delivers_what_is_due_at_once(server, pulled):
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_paused": True}})
    push(server, pulled)
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_paused": False}})

    assert len(pull(server, pulled)) == 1


def test_redriven_messages_are_back_where_they_came_from(server):
    queue, dead = with_dead_letters(server)
    push(server, queue, "again", content_type="text")
    before = fail_once(server, queue)

    assert server.v4("POST", f"/queues/{dead}/redrive").result == {"redriven": 1}

    after = pull(server, queue)[0]
    assert (after["id"], after["timestamp_ms"], after["attempts"]) == (before["id"], before["timestamp_ms"], 1)
    assert backlog(server, dead)["backlog_count"] == 0


def test_an_expired_or_acknowledged_lease_of_a_moved_message_changes_nothing_in_either_queue(server):
    queue, dead = with_dead_letters(server)
    push(server, queue)
    lease = fail_once(server, queue)["lease_id"]

    for place in (queue, dead):
        assert settle(server, place, [lease], [lease])["ackCount"] == 0

    assert backlog(server, dead)["backlog_count"] == 1
