"""What a message may be sent with beyond Cloudflare's: priority, ordering key, deduplication key, headers."""

import pytest

from tests.http.wire import PULL, a_name, assert_failure, backlog, peek, pull, push, settle, text_of

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CORRELATION = "24352d04-f122-4e8e-8863-81cfc8f378fd"
OURS = {"priority", "ordering_key", "headers"}


def texts(messages):
    return [text_of(message) for message in messages]


def push_with(server, queue, sent_with, **more):
    return server.v4("POST", f"/queues/{queue}/messages", {"body": "hello", **more}, headers=sent_with)


def test_a_message_that_asks_for_nothing_shows_nothing_of_ours(server, pulled):
    answer = push(server, pulled)

    [peeked], [taken] = peek(server, pulled), pull(server, pulled)

    assert answer.result.keys() == {"metadata"}
    assert not OURS & peeked.keys()
    assert not OURS & taken.keys()
    assert taken["metadata"] == {"CF-Content-Type": "json", "CF-sourceMessageSource": "http"}


def test_urgent_messages_go_first_and_show_their_priority(server, pulled):
    for word in ("low", "normal", "high", "medium"):
        push(server, pulled, word, content_type="text", priority=word)

    taken = pull(server, pulled)

    assert texts(taken) == ["high", "normal", "medium", "low"]
    assert [message.get("priority") for message in taken] == ["high", None, None, "low"]


def test_each_message_of_a_batch_has_its_own_priority(server, pulled):
    batch = [{"body": 1, "priority": "low"}, {"body": 2}, {"body": 3, "priority": "high"}]

    server.v4("POST", f"/queues/{pulled}/messages/batch", {"messages": batch})

    assert texts(pull(server, pulled)) == ["3", "2", "1"]


def test_no_head_start_is_the_order_of_arrival(server):
    queue = server.create_queue(a_name(), consumer={**PULL, "settings": {"head_start_seconds": 0}})
    for word in ("low", "high"):
        push(server, queue, word, content_type="text", priority=word)

    assert texts(pull(server, queue)) == ["low", "high"]


def test_an_urgent_message_sends_the_batch_off_where_the_consumer_says_so(server):
    settings = {"flush_on": "high", "max_wait_time_ms": 60_000}
    queue = server.create_queue(a_name(), consumer={"type": "worker", "script_name": "w", "settings": settings})

    def take():
        return server.v4("POST", f"/queues/{queue}/messages/pull", {"worker": True}).result["messages"]

    push(server, queue, 1)
    before = take()
    push(server, queue, 2, priority="high")

    assert before == []
    assert texts(take()) == ["2", "1"]


def test_messages_of_one_key_come_one_after_the_other(server, pulled):
    for number in range(3):
        push(server, pulled, number, ordering_key="order-4711")
    push(server, pulled, 9)

    first = pull(server, pulled)
    settle(server, pulled, [first[0]["lease_id"]])
    second = pull(server, pulled)

    assert texts(first) == ["0", "9"]
    assert [message.get("ordering_key") for message in first] == ["order-4711", None]
    assert texts(second) == ["1"]


def test_a_key_that_comes_again_within_the_window_stores_nothing(server, pulled):
    push(server, pulled, 1, dedupe_key="order-4711-paid")

    again = push(server, pulled, 2, dedupe_key="order-4711-paid")
    batch = {"messages": [{"body": 3, "dedupe_key": "order-4711-paid"}, {"body": 4, "dedupe_key": "another"}]}
    server.v4("POST", f"/queues/{pulled}/messages/batch", batch)

    assert again.status == 200
    assert texts(pull(server, pulled)) == ["1", "4"]


def test_headers_travel_beside_the_body(server, pulled):
    push(server, pulled, headers={"Tenant": "shop-1", "traceparent": TRACE})

    [peeked], [taken] = peek(server, pulled), pull(server, pulled)

    assert taken["headers"] == peeked["headers"] == {"Tenant": "shop-1", "traceparent": TRACE}
    assert taken["metadata"]["Tenant"] == "shop-1"


def test_a_header_does_not_pass_for_metadata_of_ours(server, pulled):
    push(server, pulled, headers={"CF-Content-Type": "text"})

    [taken] = pull(server, pulled)

    assert taken["metadata"]["CF-Content-Type"] == "json"
    assert text_of(taken) == '"hello"'


def test_trace_and_correlation_id_of_the_request_go_with_its_messages(server, pulled):
    push_with(server, pulled, {"traceparent": TRACE, "X-Correlation-ID": CORRELATION})

    [taken] = pull(server, pulled)

    assert taken["headers"] == {"traceparent": TRACE, "X-Correlation-ID": CORRELATION}


def test_headers_of_a_message_win_over_those_of_its_request(server, pulled):
    own = {"Traceparent": TRACE.replace("4bf9", "ffff")}

    push_with(server, pulled, {"traceparent": TRACE, "X-Correlation-ID": CORRELATION}, headers=own)

    [taken] = pull(server, pulled)
    assert taken["headers"] == {**own, "X-Correlation-ID": CORRELATION}


@pytest.mark.parametrize(
    "trace",
    ["", "hello", TRACE.upper(), TRACE[:-1], f"ff{TRACE[2:]}", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"{TRACE}-more"],
)
def test_a_traceparent_of_another_shape_is_not_carried_on(server, pulled, trace):
    push_with(server, pulled, {"traceparent": trace, "X-Correlation-ID": "not a UUID"})

    [taken] = pull(server, pulled)

    assert "headers" not in taken


def test_a_repeat_with_an_idempotency_key_may_have_another_trace(server, queue):
    for trace in (TRACE, TRACE.replace("4bf9", "ffff")):
        assert push_with(server, queue, {"Idempotency-Key": "a key", "traceparent": trace}).status == 200

    assert backlog(server, queue)["backlog_count"] == 1


WRONG = [
    ({"priority": "urgent"}, "priority is 'urgent'; expected 'low' or 'normal' or 'medium' or 'high'"),
    ({"priority": 2}, "$.priority"),
    ({"ordering_key": ""}, "ordering_key is ''; expected 1 to 128"),
    ({"ordering_key": "k" * 129}, "expected 1 to 128"),
    ({"ordering_key": "schlüssel"}, "printable ASCII"),
    ({"dedupe_key": "k" * 256}, "expected 1 to 255"),
    ({"dedupe_key": 1}, "$.dedupe_key"),
    ({"headers": {"a b": "c"}}, "header name 'a b' is not valid"),
    ({"headers": {"a": "two\nlines"}}, "the value of header a"),
    ({"headers": {"a": 1}}, "$.headers"),
    ({"headers": {f"h{n}": "v" for n in range(33)}}, "at most 32"),
    ({"headers": {"a": "v" * 9000}}, "8192 bytes"),
    ({"headers": {"a": "1", "A": "2"}}, "twice"),
    ({"send_at": "tomorrow"}, "send_at is 'tomorrow'; expected a time with its offset"),
    ({"send_at": "2026-12-24T18:00:00"}, "with its offset"),
    ({"send_at": "2026-02-30T18:00:00Z"}, "expected a time"),
    ({"send_at": "1969-12-31T23:59:59Z"}, "expected epoch milliseconds"),
    ({"send_at": -1}, "$.send_at"),
    ({"send_at": 1 << 53}, "$.send_at"),
    ({"send_at": True}, "$.send_at"),
    ({"send_at": "2026-12-24T18:00:00Z", "delay_seconds": 5}, "both given"),
]


@pytest.mark.parametrize(("given", "why"), WRONG, ids=[str(given)[:60] for given, _ in WRONG])
def test_what_is_wrong_is_said_and_nothing_is_stored(server, queue, given, why):
    alone = push(server, queue, **given)
    in_batch = server.v4("POST", f"/queues/{queue}/messages/batch", {"messages": [{"body": 1}, {"body": 2, **given}]})

    for reply in (alone, in_batch):
        assert_failure(reply, 400, 10203)
    assert why in alone.json["errors"][0]["message"]
    assert backlog(server, queue)["backlog_count"] == 0
