"""The header Idempotency-Key of both push routes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.http.wire import assert_failure, backlog, pull, settle

ONE = {"body": "hello", "content_type": "text"}


def push(server, queue, body=ONE, key="a key", path=""):
    return server.v4("POST", f"/queues/{queue}/messages{path}", body, headers={"Idempotency-Key": key})


def test_a_repeated_push_is_stored_once_and_answered_with_the_present_metrics(server, queue):
    first = push(server, queue)
    server.v4("POST", f"/queues/{queue}/messages", ONE)

    repeated = push(server, queue)

    assert first.result["metadata"]["metrics"]["backlog_count"] == 1
    assert repeated.result == {"metadata": {"metrics": backlog(server, queue)}}
    assert backlog(server, queue)["backlog_count"] == 2


def test_a_repeated_batch_is_stored_once(server, queue):
    batch = {"messages": [ONE, {"body": {"n": 1}}], "delay_seconds": 5}

    answers = [push(server, queue, batch, path="/batch").result for _ in range(2)]

    assert answers[0] == answers[1]
    assert backlog(server, queue)["backlog_count"] == 2


@pytest.mark.parametrize(
    "other", [{"body": "hullo", "content_type": "text"}, {"body": "hello"}, {**ONE, "delay_seconds": 0}]
)
def test_other_content_with_the_same_key_is_a_conflict(server, queue, other):
    push(server, queue)

    reply = push(server, queue, other)

    assert_failure(reply, 409, 10409)
    assert reply.headers["x-should-retry"] == "false"
    assert backlog(server, queue)["backlog_count"] == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel"])
@pytest.mark.parametrize(("path", "body"), [("", ONE), ("/batch", {"messages": [ONE]})])
def test_a_key_of_wrong_length_or_characters_is_refused(server, queue, key, path, body):
    assert_failure(push(server, queue, body, key, path), 400, 10203)
    assert backlog(server, queue)["backlog_count"] == 0


def test_a_key_may_have_255_characters_of_any_printable_kind(server, queue):
    key = '"' + "k e/y:" * 42 + '"~'

    for _ in range(2):
        assert push(server, queue, key=key).status == 200

    assert (len(key), backlog(server, queue)["backlog_count"]) == (255, 1)


def test_requests_at_once_with_one_key_are_stored_once(server, queue):
    with ThreadPoolExecutor(16) as callers:
        replies = list(callers.map(lambda _: push(server, queue), range(64)))

    assert {reply.status for reply in replies} == {200}
    assert backlog(server, queue)["backlog_count"] == 1


def test_a_key_guards_after_its_message_was_acknowledged(server, pulled):
    push(server, pulled)
    settle(server, pulled, [pull(server, pulled)[0]["lease_id"]])

    assert push(server, pulled).status == 200
    assert backlog(server, pulled)["backlog_count"] == 0


def test_a_push_that_was_refused_leaves_its_key_free(server, queue):
    assert_failure(push(server, queue, {"body": "x" * 128_001, "content_type": "text"}), 413, 10204)

    assert push(server, queue).status == 200
    assert backlog(server, queue)["backlog_count"] == 1


def test_repeats_are_not_counted_as_sent(server):
    queue = server.create_queue("counted-once")
    for _ in range(3):
        push(server, queue)

    shown = server.call("GET", "/metrics").body.decode()

    assert 'millrace_message_sent_total{queue="counted-once"} 1.0' in shown


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_key_outlasts_the_end_of_the_server(stopped, end):
    with stopped.start() as server:
        queue = server.create_queue("q")
        push(server, queue)

        getattr(server, end)()
        server.start()

        assert push(server, queue).status == 200
        assert_failure(push(server, queue, {"body": 1}), 409, 10409)
        assert backlog(server, queue)["backlog_count"] == 1


def test_sends_that_a_kill_cut_off_are_stored_once_when_they_are_repeated(stopped):
    with stopped.start() as server:
        queue, answered, enough = server.create_queue("q"), count(1), threading.Event()

        def send(key):
            push(server, queue, key=str(key))
            if next(answered) == 30:
                enough.set()

        with ThreadPoolExecutor(8) as callers:
            callers.map(send, range(300))  # what the kill cuts off raises in its own thread only
            assert enough.wait(10)
            server.kill()

        server.start()
        assert backlog(server, queue)["backlog_count"] >= 30
        with ThreadPoolExecutor(8) as callers:
            replies = list(callers.map(lambda key: push(server, queue, key=str(key)), range(300)))

        assert {reply.status for reply in replies} == {200}
        assert backlog(server, queue)["backlog_count"] == 300


def test_the_document_shows_the_header_on_both_pushes_and_nowhere_else_below_queues(server):
    paths = server.call("GET", "/openapi.json").json["paths"]

    showing = {
        path.partition("{queue_id}")[2]
        for path, item in paths.items()
        for operation in item.values()
        for parameter in operation["parameters"]
        if path.startswith("/client/v4/") and (parameter["in"], parameter["name"]) == ("header", "Idempotency-Key")
    }

    assert showing == {"/messages", "/messages/batch"}
