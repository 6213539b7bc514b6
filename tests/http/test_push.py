import base64
import json
import time

import pytest

from tests.http.wire import assert_failure, backlog, peek, pull, pull_within, push

MESSAGE, BATCH = 128_000, 256_000


def push_raw(server, queue, body):
    return server.v4("POST", f"/queues/{queue}/messages", body)


def push_batch(server, queue, messages, **more):
    return server.v4("POST", f"/queues/{queue}/messages/batch", {"messages": messages, **more})


def of_size(kind, size):
    """Give a body of that many stored bytes."""
    if kind == "text":
        return "x" * size
    if kind == "json":
        return "x" * (size - 2)
    return base64.b64encode(b"x" * size).decode()


def test_a_push_answers_the_backlog_with_itself(server, queue):
    before = time.time() * 1000

    first = push(server, queue, "hello", content_type="text").result
    second = push(server, queue, {"n": 1}).result

    metrics = first["metadata"]["metrics"]
    assert list(first) == ["metadata"]
    assert (metrics["backlog_count"], metrics["backlog_bytes"]) == (1, 5)
    assert abs(metrics["oldest_message_timestamp_ms"] - before) < 60_000
    assert second["metadata"]["metrics"]["backlog_count"] == 2
    assert second["metadata"]["metrics"]["oldest_message_timestamp_ms"] == metrics["oldest_message_timestamp_ms"]


@pytest.mark.parametrize(
    ("kind", "pushed", "stored", "shown"),
    [
        ("text", "héllo 🎈", "héllo 🎈".encode(), "héllo 🎈"),
        ("text", "", b"", ""),
        ("text", "a\x00b", b"a\x00b", "a\x00b"),
        ("bytes", "/+8=", b"\xff\xef", "/+8="),
        ("bytes", "", b"", ""),
        ("v8", "/w9vIgFhSQJ7AQ==", b'\xff\x0fo"\x01aI\x02{\x01', "/w9vIgFhSQJ7AQ=="),
    ],
)
def test_each_content_type_comes_back_as_it_was_pushed(server, pulled, kind, pushed, stored, shown):
    assert push(server, pulled, pushed, content_type=kind).status == 200

    for message in (peek(server, pulled)[0], pull(server, pulled)[0]):
        assert message["body"] == shown
        assert message["metadata"] == {"CF-Content-Type": kind, "CF-sourceMessageSource": "http"}
    assert backlog(server, pulled)["backlog_bytes"] == len(stored)


@pytest.mark.parametrize(
    "text",
    [
        b'{"b":1,"a":[true,null,-0.0,1.0,1e2],"z":{}}',
        b"9007199254740993",
        b"123456789012345678901234567890",
        b"1.0",
        b"1",
        b"null",
        b"false",
        b'""',
        b'"\\u00e9\\/\\ud83c\\udf88"',
        '"é🎈"'.encode(),
        b'{ "a" : 1,\n "a":2 }',
        b"0.1000000000000000055511151231257827",
    ],
)
def test_json_is_kept_byte_for_byte_and_comes_back_as_base64(server, pulled, text):
    assert push_raw(server, pulled, b'{"content_type":"json","body": \t\r\n' + text + b" \n}").status == 200

    for message in (peek(server, pulled)[0], pull(server, pulled)[0]):
        assert base64.b64decode(message["body"], validate=True) == text
        assert message["metadata"]["CF-Content-Type"] == "json"
    assert backlog(server, pulled)["backlog_bytes"] == len(text)


def test_json_is_the_default_content_type(server, pulled):
    push_raw(server, pulled, b'{"body":"x"}')
    push_raw(server, pulled, b'{"body":"y","content_type":null}')

    assert [(message["metadata"]["CF-Content-Type"], message["body"]) for message in pull(server, pulled)] == [
        ("json", base64.b64encode(b'"x"').decode()),
        ("json", base64.b64encode(b'"y"').decode()),
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"body": 5, "content_type": "text"},
        {"body": None, "content_type": "text"},
        {"body": {"a": 1}, "content_type": "text"},
        {"body": 5, "content_type": "bytes"},
        {"body": "a", "content_type": "bytes"},
        {"body": "YQ", "content_type": "bytes"},
        {"body": "YQ==YQ==", "content_type": "bytes"},
        {"body": "Y Q==", "content_type": "bytes"},
        {"body": "_-8=", "content_type": "bytes"},
        {"body": "é", "content_type": "v8"},
        {"body": "====", "content_type": "v8"},
        {"body": 1, "content_type": "yaml"},
        {"body": 1, "content_type": "JSON "},
        {"body": 1, "content_type": 7},
        {"body": 1, "content_type": ""},
    ],
)
def test_a_body_that_does_not_go_with_its_content_type_is_refused(server, queue, given):
    reply = push_raw(server, queue, given)
    batch = push_batch(server, queue, [{"body": 1}, given])

    for each in (reply, batch):
        assert each.status == 400
        assert each.code in (10203, 10207)
    assert backlog(server, queue)["backlog_count"] == 0


@pytest.mark.parametrize("body", [{}, {"content_type": "json"}, [], "x", 5, {"bodies": 1}])
def test_a_push_without_a_body_is_refused_with_10207(server, queue, body):
    assert_failure(push_raw(server, queue, body), 400, 10207)


@pytest.mark.parametrize("body", [b"", b"{", b'{"body":', b'{"body":1}x', b"{'body':1}", b"\xff"])
def test_a_push_that_is_not_json_is_refused(server, queue, body):
    reply = push_raw(server, queue, body)

    assert (reply.status, reply.code) == (400, 10207 if body == b"" else 10208)


@pytest.mark.parametrize("kind", ["text", "json", "bytes", "v8"])
def test_a_message_may_have_128000_stored_bytes_and_not_one_more(server, pulled, kind):
    assert push(server, pulled, of_size(kind, MESSAGE), content_type=kind).status == 200
    assert_failure(push(server, pulled, of_size(kind, MESSAGE + 1), content_type=kind), 413, 10204)

    assert backlog(server, pulled)["backlog_bytes"] == MESSAGE
    assert pull(server, pulled)[0]["body"] == (
        base64.b64encode(b'"' + b"x" * (MESSAGE - 2) + b'"').decode() if kind == "json" else of_size(kind, MESSAGE)
    )


def test_the_size_of_a_text_is_counted_in_utf_8_bytes(server, queue):
    assert push(server, queue, "é" * 64_000, content_type="text").status == 200
    assert_failure(push(server, queue, "é" * 64_001, content_type="text"), 413, 10204)


def test_white_space_around_json_does_not_count(server, queue):
    padded = b'{"body":' + b" " * 1000 + b'"' + b"x" * (MESSAGE - 2) + b'"' + b" " * 1000 + b"}"

    assert push_raw(server, queue, padded).status == 200


def test_a_batch_is_stored_in_order(server, pulled):
    messages = [{"body": str(number), "content_type": "text"} for number in range(100)]

    result = push_batch(server, pulled, messages).result

    assert result["metadata"]["metrics"]["backlog_count"] == 100
    assert [message["body"] for message in pull(server, pulled, 100)] == [str(number) for number in range(100)]


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_of_none_or_of_more_than_100_is_refused_with_10206(server, queue, count):
    assert_failure(push_batch(server, queue, [{"body": 1}] * count), 413, 10206)


def test_a_batch_may_have_256000_stored_bytes_in_all_and_not_one_more(server, queue):
    half = {"body": "x" * MESSAGE, "content_type": "text"}

    reply = push_batch(server, queue, [half, half, {"body": "y", "content_type": "text"}])
    assert_failure(reply, 413, 10205)
    assert reply.json["errors"][0]["message"] == f"batch size of {BATCH + 1} bytes exceeds limit of {BATCH} bytes"
    assert push_batch(server, queue, [half, half, {"body": "", "content_type": "text"}]).status == 200
    assert backlog(server, queue)["backlog_bytes"] == BATCH


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        ({"content_type": "json"}, 400, 10207),
        ({"body": 5, "content_type": "text"}, 400, 10203),
        ({"body": 1, "delay_seconds": 86401}, 400, 10203),
        ({"body": 1, "delay_seconds": -1}, 400, 10203),
        ({"body": "x" * MESSAGE}, 413, 10204),
        ({"body": 1, "content_type": "xml"}, 400, 10203),
        (7, 400, 10207),
        (None, 400, 10207),
    ],
)
def test_one_bad_item_refuses_the_whole_batch(server, queue, bad, status, code):
    for position in (0, 1, 99):
        messages = [{"body": 1}] * 99
        messages.insert(position, bad)
        assert_failure(push_batch(server, queue, messages), status, code)

    assert backlog(server, queue) == {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}


@pytest.mark.parametrize("body", [{}, {"messages": None}, {"messages": {}}, {"messages": "x"}, [], [{"body": 1}]])
def test_a_batch_has_a_list_of_messages(server, queue, body):
    assert_failure(server.v4("POST", f"/queues/{queue}/messages/batch", body), 400, 10207)


@pytest.mark.parametrize("delay", [-1, 86401, "5", True, [], 1e300])
def test_a_delay_out_of_range_is_refused(server, queue, delay):
    assert_failure(push(server, queue, 1, delay_seconds=delay), 400, 10203)
    assert_failure(push_batch(server, queue, [{"body": 1}], delay_seconds=delay), 400, 10202)

    assert backlog(server, queue)["backlog_count"] == 0


@pytest.mark.parametrize("delay", [0, 86400, None])
def test_the_ends_of_the_range_of_delays_are_within(server, queue, delay):
    assert push(server, queue, 1, delay_seconds=delay).status == 200
    assert push_batch(server, queue, [{"body": 1, "delay_seconds": delay}], delay_seconds=delay).status == 200


def test_a_delayed_message_comes_when_its_time_has_come_and_not_before(server, pulled):
    began = time.monotonic()
    push(server, pulled, "later", delay_seconds=1)
    push(server, pulled, "now")

    assert len(pull(server, pulled)) == 1
    assert len(pull_within(server, pulled)) == 1
    assert time.monotonic() - began >= 1


def test_the_nearest_delay_counts_item_before_batch_before_queue(server, pulled):
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_delay": 3600}})

    push(server, pulled, "one with 0", delay_seconds=0)
    push(server, pulled, "one without")
    push_batch(
        server, pulled, [{"body": "in a batch with 0"}, {"body": "has 60", "delay_seconds": 60}], delay_seconds=0
    )
    push_batch(server, pulled, [{"body": "has 0", "delay_seconds": 0}, {"body": "as the batch"}], delay_seconds=60)
    push_batch(server, pulled, [{"body": "as the queue"}])

    bodies = [json.loads(base64.b64decode(message["body"])) for message in pull(server, pulled, 100)]
    assert bodies == ["one with 0", "in a batch with 0", "has 0"]
    assert backlog(server, pulled)["backlog_count"] == 7


def test_a_changed_delay_of_the_queue_does_not_move_stored_messages(server, pulled):
    push(server, pulled, "stored")
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_delay": 3600}})

    assert len(pull(server, pulled)) == 1


@pytest.mark.parametrize("settings", [{}, {"delivery_paused": True}])
def test_a_queue_takes_messages_without_a_consumer_and_while_paused(server, settings):
    queue = server.create_queue(f"takes-{len(settings)}", **settings)

    assert push(server, queue).status == 200
    assert push_batch(server, queue, [{"body": 1}, {"body": 2}]).status == 200
    assert backlog(server, queue)["backlog_count"] == 3


def test_two_equal_pushes_are_two_messages(server, queue):
    push(server, queue, "same")
    push(server, queue, "same")

    first, second = peek(server, queue)
    assert first["id"] != second["id"]
