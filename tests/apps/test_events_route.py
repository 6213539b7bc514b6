"""`POST /events` as an integrator sees it. The row ids stand for the requirements that a test holds."""

import base64
import http.client
import json
import re
import time
from urllib.parse import urlsplit

import pytest

from tests.http.wire import ISO_MS, UUID4, assert_failure, assert_refusal, backlog, peek, queue_named
from tests.support import KEY

LIMIT = 128_000


@pytest.fixture
def event_queue(server):
    """The queue of events, emptied; its id."""
    queue = queue_named(server, "event-queue")["queue_id"]
    server.v4("POST", f"/queues/{queue}/purge", {"delete_messages_permanently": True})
    return queue


def post(server, body, **more):
    return server.call("POST", "/events", body, **more)


def stored(server, queue):
    """Give the bytes of each message of the queue."""
    return [base64.b64decode(message["body"]) for message in peek(server, queue)]


def of_size(size):
    begin, end = b'{"payload":{"a":"', b'"}}'
    return begin + b"x" * (size - len(begin) - len(end)) + end


def test_an_event_is_queued_and_answered_with_the_exact_keys(server, event_queue):
    """S4-01, S4-02, S4-03, S4-05."""
    reply = post(server, {"payload": {"test": "data"}})

    assert reply.status == 200
    assert list(reply.json) == ["data", "timestamp"]
    data = reply.json["data"]
    assert list(data) == ["event_id", "status", "timestamp"]
    assert re.fullmatch(UUID4, data["event_id"])
    assert data["status"] == "accepted"
    assert re.fullmatch(ISO_MS, data["timestamp"])
    assert reply.json["timestamp"] == data["timestamp"]
    assert len(peek(server, event_queue)) == 1


def test_every_answer_is_json_with_a_correlation_id(server):
    """S4-04, X30."""
    replies = [
        post(server, {"payload": {}}),
        post(server, {}),
        post(server, {}, key="wrong"),
        server.call("GET", "/events"),
    ]

    assert [reply.status for reply in replies] == [200, 400, 401, 405]
    assert {reply.headers["content-type"] for reply in replies} == {"application/json"}
    ids = [reply.headers["x-correlation-id"] for reply in replies]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(UUID4, each) for each in ids)


def test_a_valid_correlation_id_is_reused_in_header_log_message_and_error(server, event_queue):
    """S4-04, S4-33, S4-35."""
    mine = "11111111-2222-4333-8444-555555555555"

    accepted = post(server, {"payload": {}}, headers={"X-Correlation-ID": mine})
    refused = post(server, {}, headers={"X-Correlation-ID": mine})

    assert accepted.headers["x-correlation-id"] == refused.headers["x-correlation-id"] == mine
    assert refused.json["error"]["correlation_id"] == mine
    message = peek(server, event_queue)[0]
    assert message["metadata"]["X-Correlation-ID"] == mine
    assert mine not in base64.b64decode(message["body"]).decode()
    server.wait_for_text(mine)


@pytest.mark.parametrize("other", ["x", "11111111-2222-4333-8444-55555555555", "<script>", "1" * 3000])
def test_an_invalid_correlation_id_is_replaced(server, other):
    """S4-04."""
    reply = post(server, {"payload": {}}, headers={"X-Correlation-ID": other})

    assert re.fullmatch(UUID4, reply.headers["x-correlation-id"])


def test_the_message_holds_exactly_the_four_keys(server, event_queue):
    """S4-08, S4-46."""
    with_metadata = post(server, {"payload": {"a": 1}, "metadata": {"b": [2]}, "else": 3}).json["data"]
    without = post(server, {"payload": {"a": 1}}).json["data"]

    first, second = (json.loads(body) for body in stored(server, event_queue))
    assert first == {
        "event_id": with_metadata["event_id"],
        "payload": {"a": 1},
        "metadata": {"b": [2]},
        "timestamp": with_metadata["timestamp"],
    }
    assert second == {"event_id": without["event_id"], "payload": {"a": 1}, "timestamp": without["timestamp"]}
    assert {message["metadata"]["CF-Content-Type"] for message in peek(server, event_queue)} == {"json"}


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b'{"max":9007199254740991,"more":9007199254740993,"far":123456789012345678901234567890}',
        b'{"one":1,"float":1.0,"exp":1e2,"neg":-0.0,"small":0.1000000000000000055511151231257827}',
        '{"emoji":"🎈","accent":"é","escaped":"\\u00e9\\ud83c\\udf88","slash":"\\/"}'.encode(),
        b'{"z":1,"a":2,"m":{"z":[1,[2,[3,{}]]],"a":null}}',
        b'{ "spaced" : [ 1 , 2 ] }',
        b'{"a":1,"a":2}',
        b'{"nothing":null,"yes":true,"no":false,"empty":"","nul":"\\u0000"}',
    ],
)
def test_payload_and_metadata_are_kept_byte_for_byte(server, event_queue, payload):
    """S4-08, S4-09."""
    assert post(server, b'{"payload":' + payload + b',"metadata":' + payload + b"}").status == 200

    body = stored(server, event_queue)[0]
    assert b'"payload":' + payload + b"," in body
    assert b'"metadata":' + payload in body
    assert json.loads(body)["payload"] == json.loads(payload)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"payload":{"a":NaN}}',
        b'{"payload":{"a":1e400}}',
        b'{"payload":{"a":"\\ud800"}}',
        b'{"payload":{"\xff":1}}',
        b'{"payload":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b"null",
        b"[]",
        b'"payload"',
        b"{}",
        b'{"Payload":{}}',
        b'{"payload":null}',
        b'{"payload":[]}',
        b'{"payload":"{}"}',
        b'{"payload":5}',
        b'{"payload":true}',
        b'{"payload":{},"metadata":null}',
        b'{"payload":{},"metadata":[]}',
        b'{"payload":{},"metadata":"x"}',
        b'{"payload":{},"metadata":5}',
        b'{"metadata":{}}',
    ],
)
def test_what_is_no_event_is_refused_and_not_queued(server, event_queue, body):
    """S4-06, S4-10, S4-29."""
    assert_refusal(post(server, body), 400, "VALIDATION_ERROR")

    assert backlog(server, event_queue)["backlog_count"] == 0


@pytest.mark.parametrize("key", [None, "wrong", "sk_test_abc123xyz789", KEY[:-1]])
def test_without_a_valid_key_nothing_is_queued(server, event_queue, key):
    """S4-06, S4-27."""
    for body in ({"payload": {}}, b"{nonsense"):
        assert_refusal(post(server, body, key=key), 401, "UNAUTHORIZED")

    assert backlog(server, event_queue)["backlog_count"] == 0


def test_keys_carry_their_prefix_and_a_revoked_key_is_refused(server):
    """S4-27, S4-28."""
    made = server.call("POST", "/api/keys", {"role": "producer", "test": True}).json
    assert made["secret"].startswith("sk_test_")
    assert post(server, {"payload": {}}, key=made["secret"]).status == 200

    server.call("DELETE", f"/api/keys/{made['id']}")

    assert_refusal(post(server, {"payload": {}}, key=made["secret"]), 401, "UNAUTHORIZED")


def test_a_body_of_128000_bytes_is_accepted_and_of_one_more_refused(server, event_queue):
    """S4-30, X36."""
    assert post(server, of_size(LIMIT)).status == 200
    assert_refusal(post(server, of_size(LIMIT + 1)), 413, "PAYLOAD_TOO_LARGE")
    assert_refusal(post(server, of_size(2_000_000)), 413, "PAYLOAD_TOO_LARGE")

    assert [of_size(LIMIT)[11:-1] in body for body in stored(server, event_queue)] == [True]


def test_a_full_sized_event_is_accepted_for_the_dead_letter_queue_too(server):
    """S4-21, S4-30."""
    assert server.call("POST", "/events?debug=dlq_routing", of_size(LIMIT)).status == 200


def test_a_producer_sends_events_and_can_neither_pull_nor_peek_nor_purge(server, event_queue):
    """S4-42."""
    key = server.call("POST", "/api/keys", {"role": "producer"}).json["secret"]
    assert post(server, {"payload": {}}, key=key).status == 200

    for rest, body in [
        ("/messages/pull", {}),
        ("/messages/peek", {}),
        ("/messages/ack", {}),
        ("/messages/purge", {"refs": []}),
        ("/purge", {"delete_messages_permanently": True}),
    ]:
        assert_failure(server.v4("POST", f"/queues/{event_queue}{rest}", body, key=key), 403, 10000)
    assert backlog(server, event_queue)["backlog_count"] == 1


def test_a_consumer_key_sends_no_events(server, event_queue):
    """S4-42."""
    key = server.call("POST", "/api/keys", {"role": "consumer"}).json["secret"]

    assert_refusal(post(server, {"payload": {}}, key=key), 403, "FORBIDDEN")

    assert backlog(server, event_queue)["backlog_count"] == 0


def test_every_refusal_has_the_one_error_shape(server):
    """S4-45, X49."""
    assert_refusal(server.call("GET", "/events"), 405, "METHOD_NOT_ALLOWED")
    assert_refusal(server.call("DELETE", "/events"), 405, "METHOD_NOT_ALLOWED")
    assert_refusal(server.call("POST", "/events/nowhere", {}), 404, "NOT_FOUND")
    assert_refusal(post(server, {"payload": {}}, headers={"Content-Encoding": "gzip"}), 415, "UNSUPPORTED_ENCODING")
    stamp = post(server, {}).json["error"]["timestamp"]
    assert re.fullmatch(ISO_MS, stamp)


def test_an_accepted_event_has_its_log_line(server):
    """S4-33."""
    reply = post(server, {"payload": {"secret": "not in the log"}})
    event_id = reply.json["data"]["event_id"]

    server.wait_for_text(event_id)

    line = next(line for line in server.log_lines() if line.get("event_id") == event_id)
    assert (line["level"], line["message"]) == ("info", "Event queued successfully")
    assert line["correlation_id"] == reply.headers["x-correlation-id"]
    assert re.fullmatch(ISO_MS, line["timestamp"])
    assert "not in the log" not in server.text


def test_a_thousand_events_have_a_thousand_ids_and_are_accepted_fast(server, event_queue):
    """S4-31, S4-32, S4-41."""
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=15)
    ids, times = set(), []
    for number in range(1000):
        began = time.monotonic()
        connection.request("POST", "/events", b'{"payload":{"n":%d}}' % number, {"Authorization": f"Bearer {KEY}"})
        ids.add(json.loads(connection.getresponse().read())["data"]["event_id"])
        times.append(time.monotonic() - began)
    connection.close()

    assert len(ids) == 1000
    assert backlog(server, event_queue)["backlog_count"] == 1000
    assert sorted(times)[950] < 0.1
    metrics = server.call("GET", "/metrics").body.decode()
    within_50_ms = float(re.search(r'millrace_send_seconds_bucket\{le="0.05"\} (\S+)', metrics)[1])
    assert within_50_ms >= 0.95 * float(re.search(r"millrace_send_seconds_count (\S+)", metrics)[1])
