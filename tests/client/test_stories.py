"""The same calls do the same on our server and on one that speaks as Cloudflare's pages do."""

from datetime import UTC, datetime

import pytest

from millrace.errors import QueueNotFound
from tests.client.recorded import Recorded


@pytest.fixture
def client(make_client, place):
    made = make_client(place.url + "/client/v4/", getattr(place, "key", "a-token"))
    yield made
    if not isinstance(place, Recorded):
        made.delete_queue("my-queue")


@pytest.fixture
def pulled(client, place):
    """A queue with an http_pull consumer, and two messages in it where they are not made up."""
    if not isinstance(place, Recorded):
        client.create_queue("my-queue")
        client.create_consumer("my-queue", type="http_pull")
        client.send_batch("my-queue", [{"body": "hello", "content_type": "text"}, {"body": {"n": 1}}])
    return client


def test_a_queue_is_created_found_paused_and_listed(client):
    created = client.create_queue("my-queue", delivery_delay=0)
    found = client.queue("my-queue")
    by_id = client.queue(created["queue_id"])
    paused = client.pause("my-queue")
    listed = list(client.queues())

    assert created["queue_id"] == found["queue_id"] == by_id["queue_id"]
    assert paused["settings"]["delivery_paused"] is True
    assert [queue["queue_id"] for queue in listed if queue["queue_name"] == "my-queue"] == [created["queue_id"]]


def test_a_consumer_is_created_replaced_and_deleted(client, place):
    if not isinstance(place, Recorded):
        client.create_queue("my-queue")

    created = client.create_consumer("my-queue", type="http_pull", batch_size=5)
    shown = client.consumer("my-queue")
    replaced = client.replace_consumer("my-queue", type="http_pull")

    assert created["consumer_id"] == shown["consumer_id"] == replaced["consumer_id"]
    assert shown["settings"]["batch_size"] == 5
    assert client.delete_consumer("my-queue") is None


def test_messages_are_sent_received_and_settled(pulled):
    backlog = pulled.metrics("my-queue")

    [text, value] = pulled.receive("my-queue", batch_size=10, visibility_timeout_ms=60_000)
    settled = pulled.settle("my-queue", acks=[text], retries=[(value.lease_id, 600)])

    assert backlog.count == 2
    assert (text.body, text.content_type, text.attempts) == ("hello", "text", 1)
    assert (value.body, value.content_type, value.attempts) == ({"n": 1}, "json", 1)
    assert text.timestamp.tzinfo is UTC
    assert (settled.ack_count, settled.retry_count, settled.warnings) == (1, 1, {})


def test_a_single_send_tells_the_backlog(pulled):
    assert pulled.send("my-queue", b"\x00\xff", "bytes", delay_seconds=60).count >= 2


def test_messages_are_peeked_and_discarded(pulled):
    [text, value] = pulled.peek("my-queue", limit=2)

    warnings = pulled.discard("my-queue", [text.ref, value.ref, "ref-9"])

    assert [text.body, value.body] == ["hello", {"n": 1}]
    assert [text.attempts, value.attempts] == [0, 0]
    assert set(warnings) == {"ref-9"}


def test_a_purge_answers_with_the_queue(pulled):
    assert pulled.purge("my-queue")["queue_name"] == "my-queue"


def test_a_queue_that_is_not_there_is_said_by_name(pulled):
    with pytest.raises(QueueNotFound, match="'no-such-queue' does not exist"):
        pulled.send("no-such-queue", 1)


def test_a_timestamp_is_the_time_of_sending(make_client, recorded):
    [delivery, _] = make_client(recorded.url).receive("my-queue")

    assert delivery.timestamp == datetime(2023, 7, 17, 17, 30, 13, 586000, UTC)


def test_the_account_that_is_named_is_not_asked_for(make_client, recorded):
    make_client(recorded.url, account_id="023e105f4ecef8ad9ca31a8372d0c353").metrics("my-queue")

    assert all(asked.path != "/client/v4/accounts" for asked in recorded.asked)


def test_a_queue_is_looked_up_once(make_client, recorded):
    client = make_client(recorded.url)

    for _ in range(3):
        client.send("my-queue", 1)

    assert [asked.method for asked in recorded.asked] == ["GET", "GET", "POST", "POST", "POST"]


def test_nothing_but_the_idempotency_key_goes_beyond_cloudflares_contract(make_client, recorded):
    client = make_client(recorded.url)

    client.send("my-queue", "hello", "text")
    client.send_batch("my-queue", [{"body": {"n": 1}}], delay_seconds=5)
    client.receive("my-queue")
    client.settle("my-queue", acks=["one"], retries=["two"])

    assert recorded.bodies("/messages") == [{"body": "hello", "content_type": "text"}]
    assert recorded.bodies("/messages/batch") == [
        {"messages": [{"body": {"n": 1}, "content_type": "json"}], "delay_seconds": 5}
    ]
    assert recorded.bodies("/messages/pull") == [{}]
    assert recorded.bodies("/messages/ack") == [{"acks": [{"lease_id": "one"}], "retries": [{"lease_id": "two"}]}]
    ours = {name for asked in recorded.asked for name in asked.headers} - COMMON_HEADERS
    assert ours == {"authorization", "idempotency-key"}


COMMON_HEADERS = {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"}


def test_wait_seconds_is_sent_when_it_is_given(make_client, recorded):
    make_client(recorded.url).receive("my-queue", wait_seconds=0.5)

    assert recorded.bodies("/messages/pull") == [{"wait_seconds": 0.5}]


def test_a_waiting_receive_gets_what_is_sent_meanwhile(make_client, server):
    client = make_client(server.url, server.key)
    server.create_queue("waiting", consumer={"type": "http_pull"}, delivery_delay=0)
    client.send("waiting", "soon", delay_seconds=1)

    [delivery] = client.receive("waiting", wait_seconds=10)

    assert delivery.body == "soon"
    client.delete_queue("waiting")
