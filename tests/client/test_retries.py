"""What is tried again, after how long, and that nothing is sent twice by it."""

import asyncio
import socket

import pytest

from millrace import AsyncClient
from millrace.client.answers import Answer
from millrace.client.retries import NONE, Retries, pause_seconds
from millrace.client.wire import part_key
from millrace.errors import (
    BacklogFull,
    QueueNameTaken,
    QueueNotFound,
    ServerFailed,
    ServerUnreachable,
    StoreUnavailable,
)
from tests.client.recorded import CLOSE, HOLD, METRICS, Q, Recorded, Reply, refusal

BUSY = Reply(503, refusal(15000, "busy"))
BROKEN = Reply(500, refusal(15000, "unknown"))
RETRIES = Retries()

PAUSES = [
    ("a busy server", Answer(503, {}, b""), 1, False, 0.25),
    ("the second time longer", Answer(503, {}, b""), 2, False, 0.5),
    ("the third time longer still", Answer(503, {}, b""), 3, False, 1.0),
    ("no fourth time", Answer(503, {}, b""), 4, False, None),
    ("an error of the server", Answer(500, {}, b""), 1, False, 0.25),
    ("an error of the server, of what must not happen twice", Answer(500, {}, b""), 1, True, None),
    ("a gateway's error", Answer(502, {}, b""), 1, False, 0.25),
    ("a request that took too long", Answer(408, {}, b""), 1, False, 0.25),
    ("too many requests, of what must not happen twice", Answer(429, {}, b""), 1, True, 0.25),
    ("a busy server, of what must not happen twice", Answer(503, {}, b""), 1, True, 0.25),
    ("a conflict", Answer(409, {}, b""), 1, False, None),
    ("a wrong value", Answer(400, {}, b""), 1, False, None),
    ("what the server calls useless", Answer(503, {"x-should-retry": "false"}, b""), 1, False, None),
    ("seconds", Answer(429, {"retry-after": "3"}, b""), 1, False, 3),
    ("milliseconds first", Answer(429, {"retry-after": "3", "retry-after-ms": "20"}, b""), 1, False, 0.02),
    ("not a number", Answer(429, {"retry-after": "soon"}, b""), 1, False, 0.25),
    (
        "a date",
        Answer(503, {"retry-after": "Sun, 22 Nov 2026 08:00:09 GMT", "date": "Sun, 22 Nov 2026 08:00:00 GMT"}, b""),
        1,
        False,
        9,
    ),
    ("more than there is time for", Answer(429, {"retry-after": "61"}, b""), 1, False, None),
    ("a server that was not there", ServerUnreachable("", was_connected=False), 1, True, 0.25),
    ("a connection that broke", ServerUnreachable("", was_connected=True), 1, False, 0.25),
    (
        "a connection that broke, of what must not happen twice",
        ServerUnreachable("", was_connected=True),
        1,
        True,
        None,
    ),
]


@pytest.mark.parametrize(
    ("found", "tried", "once", "expected"), [case[1:] for case in PAUSES], ids=[c[0] for c in PAUSES]
)
def test_the_pause_before_another_try(found, tried, once, expected):
    assert pause_seconds(found, tried, 0, RETRIES, chance=1, once=once) == expected


@pytest.mark.parametrize("header", ["inf", "nan", "1e999", "soon"])
def test_a_retry_after_that_names_no_time_counts_as_none(header):
    assert Answer(429, {"retry-after": header}, b"").retry_after is None


def test_chance_shortens_a_pause_to_half_at_most():
    assert pause_seconds(Answer(503, {}, b""), 1, 0, RETRIES, chance=0, once=False) == 0.125


def test_pauses_grow_up_to_their_cap():
    many = Retries(count=2000, cap_seconds=8)

    assert pause_seconds(Answer(503, {}, b""), 1999, 0, many, chance=1, once=False) == 8


def test_no_try_begins_after_the_time_that_is_allowed():
    assert pause_seconds(Answer(503, {}, b""), 1, 59.9, RETRIES, chance=1, once=False) is None


def test_a_send_whose_answer_was_lost_is_made_again_with_the_same_key(steady, recorded):
    client, _ = steady
    client.metrics("my-queue")
    recorded.replies += [CLOSE, BUSY]

    client.send("my-queue", {"n": 1})

    sends = [asked for asked in recorded.asked if asked.path.endswith("/messages")]
    assert [asked.body for asked in sends] == [{"body": {"n": 1}, "content_type": "json"}] * 3
    assert len({asked.headers["idempotency-key"] for asked in sends}) == 1


def test_two_sends_have_two_keys(steady, recorded):
    client, _ = steady

    client.send("my-queue", 1)
    client.send("my-queue", 1)

    keys = {asked.headers["idempotency-key"] for asked in recorded.asked if asked.path.endswith("/messages")}
    assert len(keys) == 2


def test_the_callers_key_goes_with_every_part(steady, recorded):
    client, _ = steady

    client.send_batch("my-queue", [{"body": n} for n in range(250)], idempotency_key="import-7")

    sends = [asked for asked in recorded.asked if asked.path.endswith("/batch")]
    assert [asked.headers["idempotency-key"] for asked in sends] == [
        "import-7",
        part_key("import-7", 2),
        part_key("import-7", 3),
    ]


def test_pauses_are_slept_one_after_the_other(steady, recorded):
    client, slept = steady
    client.metrics("my-queue")
    recorded.replies += [BUSY, Reply(429, refusal(10250, "slow"), {"retry-after": "2"}), BUSY]

    client.metrics("my-queue")

    assert slept == [0.25, 2, 1]


def test_the_last_error_is_raised_when_no_try_is_left(steady, recorded):
    client, slept = steady
    client.metrics("my-queue")
    recorded.replies += [BUSY] * 4

    with pytest.raises(StoreUnavailable):
        client.metrics("my-queue")

    assert len(slept) == 3


def test_a_client_without_retries_asks_once(make_client, recorded):
    client = make_client(recorded.url, retries=NONE)
    client.metrics("my-queue")
    recorded.replies += [BROKEN]

    with pytest.raises(ServerFailed):
        client.metrics("my-queue")


def test_a_queue_whose_answer_was_lost_is_not_created_twice(steady, recorded):
    client, _ = steady
    client.account_id()
    recorded.replies += [CLOSE]

    with pytest.raises(ServerUnreachable) as raised:
        client.create_queue("my-queue")

    assert raised.value.was_connected
    assert [asked.method for asked in recorded.asked] == ["GET", "POST"]


def test_a_name_that_is_taken_is_said_at_once(steady, recorded):
    client, slept = steady
    client.account_id()
    recorded.replies += [Reply(409, refusal(11009, "taken"), {"x-should-retry": "false"})]

    with pytest.raises(QueueNameTaken):
        client.create_queue("my-queue")

    assert slept == []


def test_a_server_that_is_not_there_is_tried_again(make_client):
    slept: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = make_client(url, slept=slept)

    with pytest.raises(ConnectionError, match=url) as raised:
        client.create_queue("my-queue")

    assert slept == [0.25, 0.5, 1]
    assert not raised.value.was_connected


def test_the_error_of_a_part_says_how_many_were_sent_before(steady, recorded):
    client, _ = steady
    client.metrics("my-queue")
    pushed = Reply(200, {"success": True, "errors": [], "messages": [], "result": {"metadata": {"metrics": METRICS}}})
    recorded.replies += [pushed, pushed, Reply(429, refusal(10251, "full"), {"x-should-retry": "false"})]

    with pytest.raises(BacklogFull) as raised:
        client.send_batch("my-queue", [{"body": n} for n in range(250)])

    assert raised.value.sent == 200


def test_a_queue_made_anew_under_its_name_is_found_again(steady, recorded):
    client, _ = steady
    client.send("my-queue", 1)
    renewed = "f" * 32
    recorded.answers["GET", Q.rpartition("/")[0]] = [{"queue_id": renewed, "queue_name": "my-queue"}]
    recorded.answers["POST", Q.rpartition("/")[0] + f"/{renewed}/messages"] = None
    recorded.replies += [Reply(404, refusal(11000, "queue not found"))]

    client.send("my-queue", 2)

    assert recorded.asked[-1].path.endswith(f"/{renewed}/messages")


def test_a_queue_that_is_gone_is_looked_up_once_more(steady, recorded):
    client, _ = steady
    client.send("my-queue", 1)
    recorded.answers["GET", Q.rpartition("/")[0]] = []
    recorded.replies += [Reply(404, refusal(11000, "queue not found"))]

    with pytest.raises(QueueNotFound, match="'my-queue' does not exist"):
        client.send("my-queue", 2)


async def test_a_cancelled_call_closes_its_connection(recorded: Recorded):
    async with AsyncClient(recorded.url, "a-token") as client:
        await client.metrics("my-queue")
        recorded.replies += [HOLD]
        waiting = asyncio.create_task(client.receive("my-queue", wait_seconds=20))
        await asyncio.to_thread(recorded.held.wait, 5)

        waiting.cancel()

        assert await asyncio.to_thread(recorded.gone.wait, 5)


@pytest.fixture
def steady(make_client, recorded):
    """A client without chance, and what it slept."""
    slept: list[float] = []
    return make_client(recorded.url, slept=slept), slept
