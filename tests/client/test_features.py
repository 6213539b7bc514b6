"""What a client can ask of our server beyond Cloudflare's: times, priorities, keys, headers, redrive."""

from datetime import UTC, datetime, timedelta

import pytest

from millrace import Client, MessageBatch
from millrace.bindings import make_outgoing, read_outgoing
from millrace.client.async_calls import AsyncCalls
from millrace.client.feed import RemoteFeed
from millrace.client.retries import NONE
from millrace.errors import InvalidInput, InvalidMessage, InvalidQueueSettings, NotScheduled

FAR = datetime(2126, 12, 24, 18, tzinfo=UTC)


@pytest.fixture
def client(make_client, server):
    made = make_client(server.url, server.key)
    made.create_queue("features")
    made.create_consumer("features", type="http_pull")
    yield made
    made.delete_queue("features")


def test_a_scheduled_message_is_moved_and_taken_back(client):
    sent = client.send("features", 1, send_at=FAR)

    client.reschedule("features", sent.ref, FAR + timedelta(days=1))
    first = client.cancel("features", [sent.ref])
    again = client.cancel("features", [sent.ref])

    assert sent.count == 1
    assert (first, again.keys()) == ({}, {sent.ref})
    with pytest.raises(NotScheduled, match="not scheduled"):
        client.reschedule("features", sent.ref, FAR)


def test_a_message_without_a_time_has_no_ref(client):
    sent = client.send("features", 1)

    assert (sent.count, sent.id, sent.ref) == (1, None, None)


def test_priority_keys_and_headers_arrive(client):
    batch = [{"body": "late", "priority": "low"}, {"body": "soon", "priority": "high", "headers": {"a": "b"}}]
    client.send_batch("features", batch)
    client.send("features", "in order", ordering_key="o-1", dedupe_key="d-1")
    client.send("features", "a double", dedupe_key="d-1")

    peeked = list(client.peek("features"))
    soon, ordered, late = client.receive("features")

    assert [message.priority for message in peeked] == ["low", "high", "normal"]
    assert (soon.body, soon.priority, soon.headers) == ("soon", "high", {"a": "b"})
    assert (ordered.body, ordered.ordering_key, ordered.headers) == ("in order", "o-1", {})
    assert (late.body, late.priority, late.ordering_key) == ("late", "low", None)


def test_chosen_dead_letters_are_redriven(make_client, server):
    client = make_client(server.url, server.key)
    client.create_queue("chosen")
    client.create_consumer("chosen", type="http_pull", dead_letter_queue="chosen-dlq")
    client.send_batch("chosen", [{"body": number} for number in range(3)])
    rejects = [(delivery, f"reason {delivery.body}") for delivery in client.receive("chosen")]
    client.settle("chosen", rejects=rejects)
    now = datetime.now(UTC)

    moved = [
        client.redrive("chosen-dlq", sent_before=now - timedelta(days=1)),
        client.redrive("chosen-dlq", reason="reason 2", origin="chosen", sent_after=now - timedelta(days=1)),
        client.redrive("chosen-dlq", ids=[rejects[0][0].id], per_second=5),
        client.redrive("chosen-dlq", limit=1),
    ]

    left = list(client.peek("chosen-dlq"))
    client.delete_queue("chosen")
    client.delete_queue("chosen-dlq")
    assert (moved, left) == ([0, 1, 1, 1], [])


def test_settings_of_ours_are_set_and_refused(make_client, server):
    client = make_client(server.url, server.key)
    client.create_queue("kept-once", deduplicate_content=True, deduplication_seconds=60)

    changed = client.change_queue("kept-once", forwards=[{"queue": "copies"}], auto_redrive={"after_seconds": 60})

    with pytest.raises(InvalidQueueSettings):
        client.change_queue("kept-once", deduplication_seconds=0)
    client.delete_queue("kept-once")
    assert changed["settings"]["forwards"] == [{"queue": "copies"}]
    assert changed["settings"]["auto_redrive"] == {"after_seconds": 60, "max_times": 1}


def test_a_binding_sends_with_the_same_options(server):
    with Client(server.url, server.key) as client:
        client.create_queue("bound")
        bound = client.bindings({"BOUND": "bound"}).BOUND

        bound.send({"n": 1}, priority="high", headers={"a": "b"})
        bound.send_batch([{"body": 2, "send_at": FAR}])

        one, two = client.peek("bound")
        cancelled = client.cancel("bound", [two.ref])

    assert (one.priority, one.headers, cancelled) == ("high", {"a": "b"}, {})


WRONG = [
    ({"send_at": datetime(2026, 12, 24, 18)}, "expected a datetime with a time zone"),  # noqa: DTZ001
    ({"send_at": "2026-12-24T18:00:00Z"}, "expected a datetime with a time zone"),
    ({"priority": "urgent"}, "priority is 'urgent'; expected"),
    ({"priority": 1}, "priority is '1'; expected"),
]


@pytest.mark.parametrize(("options", "why"), WRONG)
def test_what_is_wrong_is_said_before_anything_is_sent(options, why):
    for make in (lambda: make_outgoing(1, **options), lambda: read_outgoing({"body": 1, **options})):
        with pytest.raises(InvalidMessage, match=why):
            make()


def test_a_key_that_nobody_knows_is_named_with_those_there_are():
    with pytest.raises(InvalidMessage, match=r"\['body', 'colour'\].*send_at, priority"):
        read_outgoing({"body": 1, "colour": "red"})


def test_times_need_a_zone_and_refs_are_several(make_client, server):
    client = make_client(server.url, server.key)
    noon = datetime(2026, 12, 24, 12)  # noqa: DTZ001

    with pytest.raises(InvalidInput, match="send_at"):
        client.reschedule("any", "ref", noon)
    with pytest.raises(InvalidInput, match="sent_after"):
        client.redrive("any", sent_after=noon)
    with pytest.raises(InvalidInput, match="refs is a single str"):
        client.cancel("any", "ref")


async def test_a_handler_elsewhere_is_given_them(server):
    queue = server.create_queue("elsewhere", consumer={"type": "http_pull"})
    asked = {"priority": "high", "ordering_key": "o-1", "headers": {"a": "b"}}
    server.v4("POST", f"/queues/{queue}/messages/batch", {"messages": [{"body": 1, **asked}, {"body": 2}]})
    calls = AsyncCalls(server.url, server.key, None, retries=NONE, timeout_seconds=10, chance=lambda: 1)
    feed = RemoteFeed(calls, "elsewhere")

    taken = await feed.receive(await feed.settings())

    await calls.close()
    one, two = MessageBatch("elsewhere", taken.messages).messages
    assert (one.priority, one.ordering_key, one.headers) == ("high", "o-1", {"a": "b"})
    assert (two.priority, two.ordering_key, two.headers) == ("normal", None, {})
