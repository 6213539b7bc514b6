"""Messages with a time: sent at it, taken back before it, moved to another."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.http.wire import a_name, assert_failure, backlog, peek, pull, pull_within, push

FAR = "2126-12-24T18:00:00+01:00"


def scheduled(server, queue, send_at=FAR, **more):
    return push(server, queue, send_at=send_at, **more).result


def reschedule(server, queue, ref, send_at):
    return server.v4("POST", f"/queues/{queue}/messages/reschedule", {"ref": ref, "send_at": send_at})


def cancel(server, queue, *refs):
    return server.v4("POST", f"/queues/{queue}/messages/cancel", {"refs": list(refs)})


def in_ms(milliseconds):
    return time.time_ns() // 1_000_000 + milliseconds


def test_a_message_with_a_time_is_answered_with_what_names_it(server, pulled):
    answer = scheduled(server, pulled)

    [peeked] = peek(server, pulled)
    assert (answer["id"], answer["ref"]) == (peeked["id"], peeked["ref"])
    assert answer["metadata"]["metrics"]["backlog_count"] == 1
    assert pull(server, pulled) == []


@pytest.mark.parametrize(
    "write", [lambda at: at.isoformat(), lambda at: int(at.timestamp() * 1000)], ids=["RFC 3339", "milliseconds"]
)
def test_it_is_delivered_when_its_time_has_come(server, pulled, write):
    at = datetime.now(UTC) + timedelta(seconds=0.3)

    scheduled(server, pulled, write(at))

    assert pull(server, pulled) == []
    assert len(pull_within(server, pulled)) == 1
    assert datetime.now(UTC) >= at - timedelta(milliseconds=50)


def test_a_time_gone_by_is_now(server, pulled):
    scheduled(server, pulled, "2020-01-01T00:00:00Z")

    assert len(pull(server, pulled)) == 1


def test_a_repeat_names_the_first_message_and_has_no_ref(server, queue):
    first = scheduled(server, queue, dedupe_key="once")

    again = scheduled(server, queue, dedupe_key="once")

    assert again["id"] == first["id"]
    assert "ref" not in again


def test_a_scheduled_message_is_taken_back(server, pulled):
    kept, gone = scheduled(server, pulled), scheduled(server, pulled)

    answer = cancel(server, pulled, gone["ref"], gone["ref"]).result

    assert answer == {"cancelled": 1, "warnings": {}}
    assert [message["ref"] for message in peek(server, pulled)] == [kept["ref"]]


def test_what_is_ready_leased_or_unknown_is_not_taken_back(server, pulled):
    push(server, pulled, 1)
    push(server, pulled, 2)
    pull(server, pulled, 1)
    leased, ready = (message["ref"] for message in peek(server, pulled))

    answer = cancel(server, pulled, leased, ready, "no ref").result

    assert answer["cancelled"] == 0
    assert answer["warnings"].keys() == {leased, ready, "no ref"}
    assert all("not scheduled" in why for why in answer["warnings"].values())
    assert backlog(server, pulled)["backlog_count"] == 2


def test_a_delayed_message_is_taken_back_too(server, queue):
    push(server, queue, delay_seconds=600)
    [message] = peek(server, queue)

    assert cancel(server, queue, message["ref"]).result["cancelled"] == 1


def test_a_scheduled_message_gets_another_time(server, pulled):
    ref = scheduled(server, pulled)["ref"]

    later = reschedule(server, pulled, ref, "2127-01-01T00:00:00Z")
    now = reschedule(server, pulled, ref, in_ms(0))

    assert later.result == {"ref": ref, "send_at": "2127-01-01T00:00:00.000Z"}
    assert now.status == 200
    assert len(pull_within(server, pulled)) == 1


def test_what_is_not_scheduled_any_more_gets_no_other_time(server, pulled):
    push(server, pulled)
    [message] = peek(server, pulled)

    for ref in (message["ref"], "f" * 48, ""):
        reply = reschedule(server, pulled, ref, FAR)

        assert_failure(reply, 409, 10253)
        assert "not scheduled" in reply.json["errors"][0]["message"]
        assert reply.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("cancel", {}),
        ("cancel", {"refs": "a"}),
        ("cancel", {"refs": [1]}),
        ("reschedule", {"ref": "a"}),
        ("reschedule", {"send_at": FAR}),
        ("reschedule", {"ref": "a", "send_at": "soon"}),
        ("reschedule", {"ref": "a", "send_at": "1969-01-01T00:00:00Z"}),
        ("reschedule", {"ref": "a", "send_at": -5}),
        ("reschedule", {"ref": "a", "send_at": None}),
    ],
)
def test_a_body_of_another_shape_is_refused(server, queue, verb, body):
    assert_failure(server.v4("POST", f"/queues/{queue}/messages/{verb}", body), 400, 10026)


@pytest.mark.parametrize(("verb", "body"), [("cancel", {"refs": []}), ("reschedule", {"ref": "a", "send_at": FAR})])
def test_a_queue_that_is_not_there_is_said(server, verb, body):
    assert_failure(server.v4("POST", f"/queues/{'0' * 32}/messages/{verb}", body), 404, 11000)


@pytest.mark.parametrize(
    ("role", "cancels", "reschedules"),
    [("operator", 200, 200), ("producer", 403, 200), ("consumer", 403, 403)],
)
def test_who_sends_may_choose_the_time_and_who_purges_may_take_back(server, role, cancels, reschedules):
    queue = server.create_queue(a_name())
    ref = scheduled(server, queue)["ref"]
    key = server.call("POST", "/api/keys", {"role": role}).json["secret"]

    moved = server.v4("POST", f"/queues/{queue}/messages/reschedule", {"ref": ref, "send_at": FAR}, key=key)
    taken = server.v4("POST", f"/queues/{queue}/messages/cancel", {"refs": [ref]}, key=key)

    assert (taken.status, moved.status) == (cancels, reschedules)
