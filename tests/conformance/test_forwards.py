"""Forwards: a queue's messages go to other queues, too, in the transaction of their send."""

import asyncio

import pytest

from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.errors import BacklogFull, InvalidQueueSettings
from millrace.message import HIGH, Outgoing
from millrace.queue import Forward
from millrace.settlement import Reject
from millrace.telemetry import Telemetry
from tests.conformance.made import Bench, queue


def to(*names, **headers):
    return {"forwards": tuple(Forward(name, headers) for name in names)}


async def test_each_target_gets_a_copy_of_its_own_with_the_same_id(store, clock):
    bench = await Bench.set_up(store, clock, **to("mail", "stock"))
    ((_, sent),) = await bench.put(b"1", headers={"Kind": "order"})

    mail, stock = await bench.of("mail"), await bench.of("stock")
    (copy,) = await mail.receive()
    await mail.ack(copy)

    assert (copy.id, copy.body, copy.headers) == (sent, b"1", {"Kind": "order"})
    assert [message.id for message in await stock.receive()] == [sent]
    assert [message.id for message in await bench.receive()] == [sent]


async def test_only_messages_with_the_headers_asked_for_are_forwarded(store, clock):
    bench = await Bench.set_up(store, clock, **to("mail", Kind="order", Land="fr"))
    for headers in (
        {"kind": "order", "LAND": "fr", "More": "x"},
        {"Kind": "order", "Land": "FR"},
        {"Kind": "order"},
        None,
    ):
        await bench.put(b"1", headers=headers)

    assert await (await bench.of("mail")).count() == 1
    assert await bench.count() == 4


async def test_two_rules_for_one_target_give_one_copy(store, clock):
    rules = (Forward("mail", {"A": "1"}), Forward("mail", {"B": "1"}))
    bench = await Bench.set_up(store, clock, forwards=rules)

    await bench.put(b"1", headers={"A": "1", "B": "1"})

    assert await (await bench.of("mail")).count() == 1


async def test_a_queue_that_only_forwards_keeps_what_no_rule_takes(store, clock):
    bench = await Bench.set_up(store, clock, forward_only=True, **to("mail", Kind="order"))
    broker = Broker(store, clock, Telemetry())

    taken = await broker.send(bench.queue, Outgoing(body=b"1", headers={"Kind": "order"}))
    left = await broker.send(bench.queue, Outgoing(body=b"2"))

    assert (taken.ref, left.ref is None) == (None, False)
    assert await bench.bodies() == [b"2"]
    assert [message.id for message in await (await bench.of("mail")).receive()] == [taken.id]


async def test_each_queue_that_a_send_has_reached_is_told_of(store, clock):
    bench = await Bench.set_up(store, clock, forward_only=True, **to("mail", Kind="order"))
    told, telemetry = [], Telemetry()
    telemetry.subscribe(lambda name, fields: told.append((fields["queue"], fields["count"])), "message.sent")
    orders = [Outgoing(body=b"1", headers={"Kind": "order"})] * 2

    await Broker(store, clock, telemetry).send_batch(bench.queue, [*orders, Outgoing(body=b"2")])

    assert told == [("q", 1), ("mail", 2)]


async def test_a_copy_has_the_delay_of_its_queue_unless_the_sender_gave_one(store, clock):
    await Bench.set_up(store, clock, name="slow", delivery_delay=60)
    bench = await Bench.set_up(store, clock, delivery_delay=5, **to("slow"))
    broker = Broker(store, clock, Telemetry())

    await broker.send(bench.queue, Outgoing(body=b"queue's"))
    await broker.send(bench.queue, Outgoing(body=b"own", delay_seconds=10))
    await broker.send(bench.queue, Outgoing(body=b"timed", send_at_ms=clock() + 20_000))
    await broker.send_batch(bench.queue, [Outgoing(body=b"batch")], delay_seconds=30)

    slow = await bench.of("slow")
    arrived = {}
    for _ in range(4):
        seconds = ((await slow.take()).next_due_at_ms - clock()) / 1000
        clock.advance(seconds)
        arrived |= {message.body: seconds for message in await slow.receive(lease_seconds=1000)}
    assert arrived == {b"own": 10, b"timed": 10, b"batch": 10, b"queue's": 30}


async def test_copies_are_not_forwarded_again(store, clock):
    await Bench.set_up(store, clock, name="mail", **to("q"))
    bench = await Bench.set_up(store, clock, **to("mail"))

    await bench.put(b"1")

    assert (await bench.count(), await (await bench.of("mail")).count()) == (1, 1)


async def test_a_full_target_refuses_the_whole_send_by_name_and_nothing_is_made(store, clock):
    full = await Bench.set_up(store, clock, name="full", max_backlog_messages=1)
    bench = await Bench.set_up(store, clock, **to("full", "missing"))
    await bench.put(b"1")

    with pytest.raises(BacklogFull, match="'full'"):
        await bench.put(b"2", dedupe_key="k")

    assert (await bench.count(), await full.count()) == (1, 1)
    assert await (await bench.of("missing")).count() == 1
    await full.ack((await full.receive())[0])
    assert (await bench.put(b"2", dedupe_key="k"))[0][0] != 0


async def test_a_refused_send_makes_no_queue(store, clock):
    await Bench.set_up(store, clock, name="full", max_backlog_messages=0)
    bench = await Bench.set_up(store, clock, **to("full", "missing"))

    with pytest.raises(BacklogFull):
        await bench.put(b"1")

    assert await store.queue_named("acc", "missing") is None


async def test_limits_of_a_target_hold_for_neighbours_and_its_own_senders_together(store, clock):
    target = await Bench.set_up(store, clock, name="target", max_backlog_messages=5)
    bench = await Bench.set_up(store, clock, **to("target"))

    answers = await asyncio.gather(
        *(one.put(b"1") for one in (bench, target) for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(answer, BacklogFull) for answer in answers) == 5
    assert await target.count() == 5


async def test_a_repeat_is_decided_at_the_source(store, clock):
    bench = await Bench.set_up(store, clock, **to("mail"))
    mail = Bench(store, clock, await store.create_queue(queue("mail")))

    for target in (mail, bench, bench):
        await target.put(b"1", dedupe_key="k")

    assert (await bench.count(), await mail.count()) == (1, 2)


async def test_priority_and_order_hold_in_each_target(store, clock):
    bench = await Bench.set_up(store, clock, **to("mail"))
    await bench.put(b"1", b"2", ordering_key="a")
    await bench.put(b"3", priority=HIGH)
    mail = await bench.of("mail")

    (high, first) = await mail.receive()
    await mail.ack(first)

    assert (high.body, first.body, await mail.bodies()) == (b"3", b"1", [b"2"])
    assert await bench.bodies() == [b"3", b"1"]


async def test_a_copy_that_is_buried_goes_back_to_its_own_queue(store, clock):
    bench = await Bench.set_up(store, clock, **to("mail"))
    mail = Bench(store, clock, await store.create_queue(queue("mail", dead_letter_queue="dead")))
    await bench.put(b"1")
    await mail.settle((await mail.receive())[0], Reject("bad"))

    await store.redrive((await bench.of("dead")).queue.id, clock())

    assert (await mail.count(), await bench.count()) == (1, 1)


async def test_who_watches_a_target_hears_of_its_copies(store, clock):
    target = await Bench.set_up(store, clock, name="target")
    bench = await Bench.set_up(store, clock, **to("target"))

    with store.watch(target.queue.id) as changed:
        await bench.put(b"1")

        assert changed.is_set()


async def test_a_queue_cannot_forward_to_itself(store, clock):
    catalog = Catalog(store, clock)
    made = await catalog.create("acc", "one", {"forwards": [{"queue": "two"}]})

    for change in ({"settings": {"forwards": [{"queue": "one"}]}}, {"settings": {}, "name": "two"}):
        with pytest.raises(InvalidQueueSettings, match="the queue itself"):
            await catalog.change("acc", made.id, **change)
    with pytest.raises(InvalidQueueSettings, match="the queue itself"):
        await catalog.create("acc", "three", {"forwards": [{"queue": "three"}]})


async def test_what_is_not_cloudflares_stays_when_its_settings_are_replaced(store, clock):
    catalog = Catalog(store, clock)
    given = {"forwards": [{"queue": "two", "headers": {"A": "1"}}], "forward_only": True, "deduplication_seconds": 9}
    made = await catalog.create("acc", "one", {**given, "delivery_delay": 7, "auto_redrive": {"after_seconds": 60}})

    changed = await catalog.change("acc", made.id, settings={}, replace=True)

    assert (made.settings.delivery_delay, changed.settings.delivery_delay) == (7, 0)
    assert changed.settings.forwards == (Forward("two", {"A": "1"}),)
    assert (changed.settings.forward_only, changed.settings.deduplication_seconds) == (True, 9)
    assert changed.settings.auto_redrive == made.settings.auto_redrive
