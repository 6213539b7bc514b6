"""Deduplication keys: a message whose key was there a moment ago is left out."""

import asyncio

import pytest

from millrace.broker import Broker
from millrace.errors import BacklogFull, InvalidMessage
from millrace.message import ContentType, Outgoing
from millrace.telemetry import Telemetry
from tests.conformance.made import Bench


def broker_of(bench, telemetry=None):
    return Broker(bench.store, bench.clock, telemetry or Telemetry())


async def test_a_repeat_within_the_window_is_not_stored_and_has_the_id_of_the_first(store, clock):
    bench = await Bench.set_up(store, clock, deduplication_seconds=10)
    ((_, first_id),) = await bench.put(b"1", dedupe_key="k")
    clock.advance(9.999)

    repeat = await bench.put(b"other content", dedupe_key="k")

    assert repeat == [(0, first_id)]
    assert await bench.bodies() == [b"1"]


async def test_the_window_counts_from_the_first_and_then_anew(store, clock):
    bench = await Bench.set_up(store, clock, deduplication_seconds=10)
    await bench.put(b"1", dedupe_key="k")
    clock.advance(9)
    await bench.put(b"2", dedupe_key="k")
    clock.advance(1)

    await bench.put(b"3", dedupe_key="k")
    await bench.put(b"4", dedupe_key="k")

    assert await bench.bodies() == [b"1", b"3"]


async def test_the_rest_of_a_batch_is_stored(store, clock):
    bench = await Bench.set_up(store, clock)
    ((_, first_id),) = await bench.put(b"1", dedupe_key="k")
    broker = broker_of(bench)
    outgoing = [
        Outgoing(body=body, dedupe_key=key) for body, key in ((b"2", "k"), (b"3", None), (b"4", "l"), (b"5", "l"))
    ]

    stored = await broker.send_batch(bench.queue, outgoing)

    ids = [place.id for place in stored.places]
    assert [place.key != 0 for place in stored.places] == [False, True, True, False]
    assert (ids[0], ids[3]) == (first_id, ids[2])
    assert await bench.bodies() == [b"1", b"3", b"4"]
    assert (stored.count, stored.bytes) == (3, 3)


async def test_neighbours_with_the_same_key_are_stored_once(store, clock):
    bench = await Bench.set_up(store, clock)

    places = await asyncio.gather(*(bench.put(b"1", dedupe_key="k") for _ in range(20)))

    assert (await bench.count(), len({place[0][1] for place in places})) == (1, 1)


async def test_a_key_belongs_to_its_queue_and_is_no_idempotency_key(store, clock):
    bench, other = await Bench.set_up(store, clock), await Bench.set_up(store, clock, name="other")
    await bench.put(b"1", dedupe_key="k")

    await other.put(b"2", dedupe_key="k")
    await broker_of(bench).send(bench.queue, Outgoing(body=b"3"), idempotency_key="k")

    assert (await other.bodies(), await bench.bodies()) == ([b"2"], [b"1", b"3"])


async def test_a_key_counts_after_settlement_and_purge_and_in_a_full_queue(store, clock):
    bench = await Bench.set_up(store, clock, max_backlog_messages=1)
    await bench.put(b"1", dedupe_key="k")
    await bench.ack((await bench.receive())[0])
    await store.purge(bench.queue.id, clock())
    await bench.put(b"2")

    assert (await bench.put(b"3", dedupe_key="k"))[0][0] == 0
    assert await bench.bodies() == [b"2"]


async def test_a_refused_send_leaves_its_keys_free(store, clock):
    bench = await Bench.set_up(store, clock, max_backlog_messages=1)

    with pytest.raises(BacklogFull):
        await bench.put(b"1", b"2", dedupe_key=None, ordering_key="a")
    with pytest.raises(BacklogFull):
        await broker_of(bench).send_batch(bench.queue, [Outgoing(body=b"1", dedupe_key=key) for key in "kl"])

    assert (await bench.put(b"3", dedupe_key="k"))[0][0] != 0


async def test_equal_content_is_a_key_where_the_queue_says_so(store, clock):
    bench = await Bench.set_up(store, clock, deduplicate_content=True)
    broker = broker_of(bench)
    for body, content_type, key in (
        (b"1", ContentType.JSON, None),
        (b"1", ContentType.JSON, None),
        (b"1", ContentType.TEXT, None),
        (b"1", ContentType.JSON, "k"),
    ):
        await broker.send(bench.queue, Outgoing(body=body, content_type=content_type, dedupe_key=key))

    assert await bench.count() == 3


async def test_the_broker_gives_the_first_id_and_no_ref_and_counts_repeats(store, clock):
    bench, telemetry, told = await Bench.set_up(store, clock), Telemetry(), []
    telemetry.subscribe(
        lambda name, fields: told.append((name, fields["count"])), "message.sent", "message.deduplicated"
    )
    broker = broker_of(bench, telemetry)

    first, again = [await broker.send(bench.queue, Outgoing(body=b"1", dedupe_key="k")) for _ in range(2)]
    await broker.send_batch(bench.queue, [Outgoing(body=b"1", dedupe_key=key) for key in ("k", "l", None)])

    assert (again.id, again.ref, first.ref is None) == (first.id, None, False)
    assert told == [("message.sent", 1), ("message.deduplicated", 1), ("message.deduplicated", 1), ("message.sent", 2)]


async def test_an_idempotency_key_holds_for_a_send_of_repeats_too(store, clock):
    bench = await Bench.set_up(store, clock)
    broker = broker_of(bench)
    first = await broker.send(bench.queue, Outgoing(body=b"1", dedupe_key="k"))

    ids = [
        (await broker.send(bench.queue, Outgoing(body=b"2", dedupe_key="k"), idempotency_key="i")).id for _ in range(2)
    ]

    assert ids == [first.id, first.id]
    assert await bench.count() == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "a\nb", 7])
async def test_what_is_no_key_is_refused(store, clock, key):
    bench = await Bench.set_up(store, clock)

    with pytest.raises(InvalidMessage, match="expected 1 to 255 printable ASCII"):
        await broker_of(bench).send(bench.queue, Outgoing(body=b"1", dedupe_key=key))
