"""Rows of an application and messages commit together, with all that a message may ask for."""

import pytest

from millrace.broker import Broker
from millrace.errors import BacklogFull
from millrace.message import HIGH, Lease, Outgoing
from millrace.placing import Placed
from millrace.queue import Forward
from millrace.settlement import Ack, Reject
from millrace.telemetry import Telemetry
from millrace.work import Work
from tests.conformance.made import Bench


async def test_what_was_sent_is_settled_by_its_place(store, clock):
    bench = await Bench.set_up(store, clock)

    def act(tx):
        work = Work(tx, clock)
        (plain, ranked) = work.send(bench.queue.id, [Outgoing(body=b"1"), Outgoing(body=b"2", priority=HIGH)])
        received = work.receive(bench.queue.id, 10, 1000)
        leases = [(Lease(place.key, received[0].lease.receipt), Ack()) for place in (plain, ranked)]
        return received, work.settle(bench.queue.id, leases), work.events

    received, settled, events = await store.write(act)

    assert [message.body for message in received] == [b"2", b"1"]
    assert (None in settled, await bench.count()) == (False, 0)
    assert [(name, fields["count"]) for name, fields in events] == [
        ("message.sent", 2),
        ("message.received", 2),
        ("message.acked", 2),
    ]


async def test_a_repeat_has_the_first_id_and_key_0(store, clock):
    bench = await Bench.set_up(store, clock)
    first = await Broker(store, clock, Telemetry()).send(bench.queue, Outgoing(body=b"1", dedupe_key="k"))

    def act(tx):
        work = Work(tx, clock)
        return work.send(bench.queue.id, [Outgoing(body=b"1", dedupe_key="k")]), work.events

    places, events = await store.write(act)

    assert places == [(first.id, 0)]
    assert [(name, fields["count"]) for name, fields in events] == [("message.deduplicated", 1)]


async def test_copies_in_other_queues_are_undone_with_the_rest(store, clock):
    bench = await Bench.set_up(store, clock, forwards=(Forward("copies"),))

    def act(tx):
        Work(tx, clock).send(bench.queue.id, [Outgoing(body=b"1")])
        raise BacklogFull("of another")

    with pytest.raises(BacklogFull):
        await store.write(act)

    assert (await bench.count(), await store.queue_named("acc", "copies")) == (0, None)


async def test_two_sends_of_one_transaction_keep_the_order_of_a_key(store, clock):
    bench = await Bench.set_up(store, clock)

    def act(tx):
        work = Work(tx, clock)
        for body in (b"1", b"2"):
            work.send(bench.queue.id, [Outgoing(body=body, ordering_key="a")])

    await store.write(act)

    assert await bench.bodies() == [b"1"]


async def test_what_is_scheduled_is_moved_and_taken_back_by_its_place(store, clock):
    bench = await Bench.set_up(store, clock)

    def act(tx):
        work = Work(tx, clock)
        places = work.send(bench.queue.id, [Outgoing(body=body, delay_seconds=60) for body in (b"1", b"2")])
        return work.cancel(bench.queue.id, places[:1]), work.reschedule(bench.queue.id, places[1], clock())

    assert await store.write(act) == ([True], True)
    assert await bench.bodies() == [b"2"]


async def test_what_nobody_has_received_is_taken_back_scheduled_or_due(store, clock):
    bench = await Bench.set_up(store, clock)

    def act(tx):
        work = Work(tx, clock)
        places = work.send(
            bench.queue.id, [Outgoing(body=b"1"), Outgoing(body=b"2"), Outgoing(body=b"3", delay_seconds=9)]
        )
        work.receive(bench.queue.id, 1, 1000)
        return work.take_back(bench.queue.id, places)

    assert await store.write(act) == [False, True, True]
    assert await bench.count() == 1


async def test_a_dead_letter_is_found_by_the_place_of_its_send_and_moved_back_once(store, clock):
    bench = await Bench.set_up(store, clock, dead_letter_queue="dead")

    def bury(tx):
        work = Work(tx, clock)
        places = work.send(bench.queue.id, [Outgoing(body=b"1"), Outgoing(body=b"2")])
        received = work.receive(bench.queue.id, 10, 1000)
        work.settle(bench.queue.id, [(message.lease, Reject("broken")) for message in received])
        return places

    place, other = await store.write(bury)
    dead = await store.queue_named("acc", "dead")

    def redrive(tx):
        work = Work(tx, clock)
        moved = [work.redrive(dead.id, one) for one in (place, place, Placed("another", other.key))]
        return moved, work.take_back(bench.queue.id, [place]), work.events

    moved, taken_back, events = await store.write(redrive)

    assert (moved, taken_back) == ([True, False, False], [True])
    assert [(name, fields["count"]) for name, fields in events] == [("message.redriven", 1)]


async def test_sending_nothing_in_a_transaction_is_nothing(store, clock):
    bench = await Bench.set_up(store, clock)

    assert await store.write(lambda tx: Work(tx, clock).send(bench.queue.id, [])) == []
