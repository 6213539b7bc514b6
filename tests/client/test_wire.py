"""How messages are split into parts, and how bodies go out and come back."""

import base64
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace import Client, limits
from millrace.bindings import make_outgoing
from millrace.client.answers import Envelope, PageInfo, is_last
from millrace.client.deliveries import PulledMessage, delivery_of
from millrace.client.wire import leases_object, message_object, parts_of
from millrace.message import Outgoing
from tests.client.recorded import QUEUE, Reply

SPLIT = [
    ("nothing", [], []),
    ("one", [5], [1]),
    ("a full count", [1] * 100, [100]),
    ("one more than that", [1] * 101, [100, 1]),
    ("exactly the bytes", [128_000, 128_000], [2]),
    ("one byte more than that", [128_000, 128_000, 1], [2, 1]),
    ("one that is too large alone", [1, 300_000, 1], [1, 1, 1]),
    ("empty bodies", [0] * 250, [100, 100, 50]),
]


@pytest.mark.parametrize(("sizes", "expected"), [case[1:] for case in SPLIT], ids=[case[0] for case in SPLIT])
def test_messages_are_split_by_count_and_bytes(sizes, expected):
    assert [len(part) for part in parts_of([_of(size) for size in sizes])] == expected


@given(st.lists(st.integers(0, 140_000), max_size=250))
def test_parts_have_all_messages_in_order_and_none_could_take_the_next(sizes):
    messages = [_of(size) for size in sizes]

    parts = list(parts_of(messages))

    assert [message for part in parts for message in part] == messages
    for part, following in pairwise(parts):
        assert len(part) == limits.BATCH_MESSAGES or _bytes([*part, following[0]]) > limits.BATCH_BYTES
    assert all(len(part) == 1 or _bytes(part) <= limits.BATCH_BYTES for part in parts)


BODIES = [
    ("json", {"n": [1, None, "ä"]}),
    ("json", "a string"),
    ("text", "plain ä\n"),
    ("bytes", b"\x00\xff"),
    ("v8", b"\xff\x0f"),
]


@pytest.mark.parametrize(("content_type", "value"), BODIES)
def test_a_body_comes_back_from_the_server_as_it_was_sent(make_client, server, content_type, value):
    client = make_client(server.url, server.key)
    server.create_queue("bodies", consumer={"type": "http_pull"})

    client.send("bodies", value, content_type)

    [delivery] = client.receive("bodies")
    client.delete_queue("bodies")
    assert (delivery.body, delivery.content_type) == (value, content_type)


UNUSUAL = [
    ("base64 that is no JSON", base64.b64encode(b"\xff").decode(), {"CF-Content-Type": "json"}, b"\xff"),
    ("a string where base64 should be", '{"n": 1}', None, {"n": 1}),
    ("no base64 and no JSON", "hello!", {}, b"hello!"),
    ("a content type of tomorrow", base64.b64encode(b"x").decode(), {"CF-Content-Type": "cbor"}, b"x"),
]


@pytest.mark.parametrize(("body", "metadata", "expected"), [case[1:] for case in UNUSUAL], ids=[c[0] for c in UNUSUAL])
def test_an_unusual_body_is_given_as_well_as_it_can_be(body, metadata, expected):
    delivery = delivery_of(PulledMessage("id", "lease", body, metadata=metadata))

    assert delivery.body == expected


def test_what_cloudflare_does_not_have_is_written_only_where_it_is_asked_for():
    at = datetime(2026, 12, 24, 18, tzinfo=UTC)
    asked = {"send_at": at, "priority": "high", "ordering_key": "o", "dedupe_key": "d", "headers": {"a": "b"}}

    plain = message_object(make_outgoing(1, headers={}, priority="medium"))
    full = message_object(make_outgoing(1, **asked))

    assert plain.keys() == {"body", "content_type"}
    assert full == plain | asked | {"send_at": 1_798_135_200_000}


def test_leases_are_settled_by_id_or_delivery():
    delivery = delivery_of(PulledMessage("id", "one", "e30="))

    body = leases_object([delivery, "two"], ["three", (delivery, 9), ("four", None)], [("five", "no such user")], 7)

    assert body == {
        "acks": [{"lease_id": "one"}, {"lease_id": "two"}],
        "retries": [
            {"lease_id": "three", "delay_seconds": 7},
            {"lease_id": "one", "delay_seconds": 9},
            {"lease_id": "four"},
        ],
        "rejects": [{"lease_id": "five", "reason": "no such user"}],
    }


PAGES = [
    ("the numbers are missing", [1], None, True),
    ("all were seen", [1], PageInfo(total_count=5), True),
    ("more are there", [1], PageInfo(total_count=6), False),
    ("only pages are counted, and this is the last", [1], PageInfo(total_pages=2), True),
    ("only pages are counted, and one is to come", [1], PageInfo(total_pages=3), False),
    ("nothing is counted", [1], PageInfo(), True),
    ("the page is empty", [], PageInfo(total_count=6), True),
]


@pytest.mark.parametrize(("rows", "info", "expected"), [case[1:] for case in PAGES], ids=[case[0] for case in PAGES])
def test_when_a_page_is_the_last(rows, info, expected):
    assert is_last(Envelope(success=True, result=rows, result_info=info), seen=5, page=2) is expected


def test_all_pages_of_queues_are_turned(make_client, recorded):
    client = make_client(recorded.url)
    client.account_id()
    recorded.replies += [_page(1), _page(2), _page(3)]

    names = [queue["queue_name"] for queue in client.queues()]

    assert names == ["queue-1", "queue-2", "queue-3"]
    assert [asked.query["page"] for asked in recorded.asked[1:]] == [["1"], ["2"], ["3"]]


def test_a_page_is_asked_for_when_its_first_queue_is_wanted(recorded):
    with Client(recorded.url) as client:
        client.account_id()
        recorded.replies += [_page(1), _page(2), _page(3)]

        next(client.queues())

    assert len(recorded.asked) == 2


def test_peek_turns_pages_up_to_its_limit_or_to_the_end(make_client, server):
    client = make_client(server.url, server.key)
    client.create_queue("deep")
    client.send_batch("deep", ({"body": number} for number in range(250)))

    some, everything = list(client.peek("deep", 101)), list(client.peek("deep"))

    client.delete_queue("deep")
    assert [message.body for message in some] == list(range(101))
    assert [message.body for message in everything] == list(range(250))


def test_a_batch_of_nothing_tells_the_backlog(make_client, server):
    client = make_client(server.url, server.key)
    client.create_queue("nothing")

    backlog = client.send_batch("nothing", [])

    client.delete_queue("nothing")
    assert backlog.count == 0


def test_the_same_key_stores_once(make_client, server):
    client = make_client(server.url, server.key)
    client.create_queue("keyed")

    for _ in range(2):
        client.send_batch("keyed", ({"body": number} for number in range(150)), idempotency_key="import-7")

    backlog = client.metrics("keyed")
    client.delete_queue("keyed")
    assert backlog.count == 150


def test_leases_are_extended_and_dead_letters_redriven(make_client, server):
    client = make_client(server.url, server.key)
    client.create_queue("extended")
    client.create_consumer("extended", type="http_pull", dead_letter_queue="extended-dlq", max_retries=0)
    client.send("extended", "a body")
    received = client.receive("extended", visibility_timeout_ms=1)

    extended = client.extend("extended", [*received, "no-lease"], 60_000)
    settled = client.settle("extended", rejects=[(received[0], "no such user")])
    moved = client.redrive("extended-dlq")

    client.delete_queue("extended")
    assert (extended.extended, set(extended.warnings)) == (1, {"no-lease"})
    assert (settled.reject_count, moved) == (1, 1)


def _page(number: int) -> Reply:
    queue = {**QUEUE, "queue_name": f"queue-{number}"}
    return Reply(200, {"success": True, "result": [queue], "result_info": {"total_count": 3}})


def _of(size: int) -> Outgoing:
    return Outgoing(body=b"x" * size)


def _bytes(messages: list[Outgoing]) -> int:
    return sum(len(message.body) for message in messages)
