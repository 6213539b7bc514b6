import json
from typing import Any

import pytest

from millrace.batch import MessageBatch
from millrace.message import HIGH, Backlog, Lease, Message
from millrace.resources.answer import Answer
from millrace.runtime.push_wire import PushFailed, encode_push, read_answer
from millrace.settlement import Ack, Reject, Retry

IDS = ["a", "b", "c"]
NOW_MS = 1_700_000_000_000


def message(id: str = "a", body: bytes = b'{"n": 1}', content_type: str = "json", **fields: Any) -> Message:
    known = {"attempts": 2, "failures": 1, "sent_at_ms": NOW_MS + 7, "source": "worker"}
    return Message(id=id, lease=Lease(1, 1), body=body, content_type=content_type, **(known | fields))


def told(body: object, status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=content
    )


def test_a_push_names_the_queue_the_backlog_and_each_message():
    batch = MessageBatch("orders", [message(headers={"X-Correlation-ID": "c1"})], Backlog(5, 100, NOW_MS))

    push = json.loads(encode_push(batch, "p1"))

    assert push == {
        "queue": "orders",
        "batch_id": "p1",
        "messages": [
            {
                "id": "a",
                "attempts": 2,
                "timestamp": "2023-11-14T22:13:20.007Z",
                "timestamp_ms": NOW_MS + 7,
                "content_type": "json",
                "body": {"n": 1},
                "headers": {"X-Correlation-ID": "c1"},
            }
        ],
        "backlog": {"count": 5, "bytes": 100, "oldest_sent_at_ms": NOW_MS},
    }


def test_a_push_tells_priority_and_ordering_key_where_there_are_any():
    asked = message(priority=HIGH, ordering_key="o-1")

    [plain, shown] = json.loads(encode_push(MessageBatch("orders", [message(), asked]), "p1"))["messages"]

    assert (shown["priority"], shown["ordering_key"]) == ("high", "o-1")
    assert not {"priority", "ordering_key"} & plain.keys()


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        (b"null", "json", None),
        ("Grüße".encode(), "text", "Grüße"),
        (b"\xff\x00", "bytes", "/wA="),
        (b"\xff\x0f", "v8", "/w8="),
    ],
)
def test_a_body_is_shown_after_its_content_type(body, content_type, shown):
    push = json.loads(encode_push(MessageBatch("orders", [message(body=body, content_type=content_type)]), "p1"))

    assert push["messages"][0]["body"] == shown
    assert "headers" not in push["messages"][0]
    assert push["backlog"] is None


@pytest.mark.parametrize("body", [b"", b" \n", {}, {"ok": True}, {"outcomes": []}])
@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_an_answer_without_outcomes_acknowledges_all(body, status):
    assert read_answer(told(body, status), IDS, NOW_MS) == [Ack(), Ack(), Ack()]


def test_outcomes_go_by_message_and_the_rest_is_acknowledged():
    outcomes = [
        {"id": "c", "outcome": "reject", "reason": "no such order"},
        {"id": "a", "outcome": "retry", "delay_seconds": 30, "reason": "busy"},
    ]

    assert read_answer(told({"outcomes": outcomes}), IDS, NOW_MS) == [Retry(30, "busy"), Ack(), Reject("no such order")]


def test_a_retry_may_leave_the_delay_and_a_rejection_the_reason_to_us():
    outcomes = [{"id": "a", "outcome": "retry"}, {"id": "b", "outcome": "reject"}, {"id": "c", "outcome": "ack"}]

    assert read_answer(told({"outcomes": outcomes}), IDS, NOW_MS) == [
        Retry(),
        Reject("rejected by the push URL"),
        Ack(),
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"outcome": "ok", "ackAll": True}, [Ack(), Ack(), Ack()]),
        ({"outcome": "ok", "ackAll": False, "retryBatch": {"retry": False}}, [Ack(), Ack(), Ack()]),
        ({"retryBatch": {"retry": True, "delaySeconds": 9}, "explicitAcks": ["b"]}, [Retry(9), Ack(), Retry(9)]),
        ({"ackAll": True, "retryBatch": {"retry": True}}, [Retry(), Retry(), Retry()]),
        ({"ackAll": True, "retryMessages": [{"msgId": "a", "delaySeconds": 5}]}, [Retry(5), Ack(), Ack()]),
        ({"retryMessages": [{"msgId": "c"}]}, [Ack(), Ack(), Retry()]),
        ({"outcome": "exception"}, [Retry(reason="exception")] * 3),
        ({"outcome": "exception", "explicitAcks": ["a"]}, [Ack(), *[Retry(reason="exception")] * 2]),
        (
            {"outcome": "exception", "ackAll": False, "retryBatch": {"retry": False}, "explicitAcks": ["a"]},
            [Ack(), Retry(reason="exception"), Retry(reason="exception")],
        ),
    ],
)
def test_the_answer_of_cloudflares_dispatch_is_understood(said, expected):
    assert read_answer(told(said), IDS, NOW_MS) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"<html>",
        b"\xff",
        b'"\xff"',
        b"[" * 100_000,
        b"[]",
        b'"ok"',
        {"outcomes": {}},
        {"outcomes": ["a"]},
        {"outcomes": [{"id": "a"}]},
        {"outcomes": [{"id": "a", "outcome": "done"}]},
        {"outcomes": [{"id": 1, "outcome": "ack"}]},
        {"outcomes": [{"id": "z", "outcome": "ack"}]},
        {"outcomes": [{"id": "a", "outcome": "ack"}, {"id": "a", "outcome": "retry"}]},
        {"outcomes": [{"id": "a", "outcome": "retry", "delay_seconds": -1}]},
        {"outcomes": [{"id": "a", "outcome": "retry", "delay_seconds": 86_401}]},
        {"outcomes": [{"id": "a", "outcome": "retry", "delay_seconds": "5"}]},
        {"explicitAcks": ["z"]},
        {"explicitAcks": ["a"], "retryMessages": [{"msgId": "a"}]},
        {"retryMessages": [{"msgId": "a", "delaySeconds": 1e9}]},
        {"retryBatch": {"retry": True, "delaySeconds": -1}},
        {"retryBatch": True},
    ],
    ids=str,
)
def test_an_answer_that_cannot_be_understood_settles_nothing(body):
    with pytest.raises(PushFailed, match="but not in a form that is understood") as caught:
        read_answer(told(body), IDS, NOW_MS)

    assert (caught.value.status, caught.value.retry_after_seconds) == (200, None)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 408, 410, 425, 429, 500, 502, 503, 101])
def test_a_status_that_is_not_2xx_is_a_failure_whatever_the_body_says(status):
    with pytest.raises(PushFailed, match=f"the push URL answered {status}: ") as caught:
        read_answer(told({"outcomes": []}, status), IDS, NOW_MS)

    assert (caught.value.status, caught.value.retry_after_seconds) == (status, None)


def test_the_sentence_for_a_redirect_says_that_none_is_followed():
    with pytest.raises(PushFailed, match="a redirect is never followed"):
        read_answer(told(b"", 302, location="http://10.0.0.1/"), IDS, NOW_MS)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 1),
        ("999999", 3600),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 1),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("", None),
    ],
)
def test_retry_after_is_read_within_a_second_and_an_hour(status, text, seconds):
    with pytest.raises(PushFailed) as caught:
        read_answer(told(b"", status, retry_after=text), IDS, NOW_MS)

    assert caught.value.retry_after_seconds == seconds


def test_retry_after_counts_for_429_and_503_only():
    with pytest.raises(PushFailed) as caught:
        read_answer(told(b"", 500, retry_after="120"), IDS, NOW_MS)

    assert caught.value.retry_after_seconds is None
