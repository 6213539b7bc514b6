"""Messages for a time of their own: sent ahead, cancelled, moved."""

import pytest

from millrace.broker import Broker
from millrace.errors import InvalidMessage, QueueNotFound
from millrace.message import HIGH, Outgoing
from millrace.settlement import Ack
from millrace.telemetry import Telemetry
from tests.conformance.made import Bench

YEAR = 365 * 86_400


def broker_of(bench):
    return Broker(bench.store, bench.clock, Telemetry())


async def test_a_message_is_delivered_at_its_time_however_far_away(store, clock):
    bench = await Bench.set_up(store, clock, delivery_delay=5)
    at_ms = clock() + YEAR * 1000
    await broker_of(bench).send(bench.queue, Outgoing(body=b"1", send_at_ms=at_ms))

    clock.advance(YEAR - 0.001)
    assert (await bench.take()).next_due_at_ms == at_ms

    clock.advance(0.001)
    assert await bench.bodies() == [b"1"]


async def test_a_time_gone_by_is_now(store, clock):
    bench = await Bench.set_up(store, clock, delivery_delay=5)

    await broker_of(bench).send(bench.queue, Outgoing(body=b"1", send_at_ms=0))

    assert await bench.bodies() == [b"1"]


async def test_retention_counts_from_the_time_of_delivery(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    await broker_of(bench).send(bench.queue, Outgoing(body=b"1", send_at_ms=clock() + 1_000_000))
    clock.advance(1059.999)

    expired, again_at_ms = await store.expire(clock())
    assert (expired, await bench.count()) == ([], 1)

    clock.advance(0.001)
    await store.expire(clock())
    assert (again_at_ms >= clock(), await bench.count()) == (True, 0)


async def test_a_time_of_its_own_wins_over_the_delay_of_a_batch(store, clock):
    bench = await Bench.set_up(store, clock)

    await broker_of(bench).send_batch(bench.queue, [Outgoing(body=b"1", send_at_ms=clock() + 1000)], delay_seconds=9)

    assert (await bench.take()).next_due_at_ms == clock() + 1000


@pytest.mark.parametrize("at_ms", [-1, 2**53, 1.5, True, "soon"])
async def test_what_is_no_time_is_refused(store, clock, at_ms):
    bench = await Bench.set_up(store, clock)

    with pytest.raises(InvalidMessage, match="expected epoch milliseconds"):
        await broker_of(bench).send(bench.queue, Outgoing(body=b"1", send_at_ms=at_ms))
    with pytest.raises(InvalidMessage, match="expected epoch milliseconds"):
        await broker_of(bench).reschedule(bench.queue, "", at_ms)


async def test_a_time_and_a_delay_are_refused(store, clock):
    bench = await Bench.set_up(store, clock)

    with pytest.raises(InvalidMessage, match="both"):
        await broker_of(bench).send(bench.queue, Outgoing(body=b"1", send_at_ms=9, delay_seconds=0))


async def test_scheduled_messages_are_cancelled_by_the_ref_of_their_send(store, clock):
    bench = await Bench.set_up(store, clock)
    broker = broker_of(bench)
    sent = [await broker.send(bench.queue, Outgoing(body=b"1", delay_seconds=delay)) for delay in (10, 0, 10)]

    cancelled = await broker.cancel(bench.queue, [sent[0].ref, sent[1].ref, sent[0].ref, "no ref"])

    assert cancelled == [True, False, False, False]
    assert [message.id for message in await store.peek(bench.queue.id, 9, clock())] == [sent[1].id, sent[2].id]
    assert await bench.count() == 2


async def test_what_is_under_a_lease_or_due_is_not_cancelled(store, clock):
    bench = await Bench.set_up(store, clock)
    (leased,) = await bench.put(b"leased")
    (taken,) = await bench.receive()
    (due,) = await bench.put(b"due", delay_seconds=1)
    clock.advance(1)

    assert await store.cancel(bench.queue.id, [leased, due], clock()) == [False, False]
    assert await bench.settle(taken, Ack()) is not None


async def test_a_message_that_was_delivered_and_waits_for_its_retry_is_not_scheduled(store, clock):
    bench = await Bench.set_up(store, clock)
    (ref,) = await bench.put(b"1")
    await bench.retry((await bench.receive())[0], delay_seconds=60)

    assert await store.cancel(bench.queue.id, [ref], clock()) == [False]
    assert await store.reschedule(bench.queue.id, ref, clock() + 1000, clock()) is False


async def test_a_queue_cancels_only_its_own_messages(store, clock):
    bench, other = await Bench.set_up(store, clock), await Bench.set_up(store, clock, name="other")
    refs = await bench.put(b"1", delay_seconds=9)

    assert await store.cancel(other.queue.id, refs, clock()) == [False]
    assert await store.reschedule(other.queue.id, refs[0], clock(), clock()) is False
    with pytest.raises(QueueNotFound):
        await store.cancel("0" * 32, refs, clock())


async def test_a_scheduled_message_is_moved_to_another_time(store, clock):
    bench = await Bench.set_up(store, clock)
    broker = broker_of(bench)
    sent = await broker.send(bench.queue, Outgoing(body=b"1", priority=HIGH, send_at_ms=clock() + 1000))

    assert await broker.reschedule(bench.queue, sent.ref, clock() + 5000)
    clock.advance(1)
    assert (await bench.take()).next_due_at_ms == clock() + 4000

    assert await broker.reschedule(bench.queue, sent.ref, 0)
    assert await bench.bodies() == [b"1"]
    assert not await broker.reschedule(bench.queue, sent.ref, 0)


async def test_retention_counts_from_the_new_time(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    (ref,) = await bench.put(b"1", delay_seconds=10)
    await store.reschedule(bench.queue.id, ref, clock() + 100_000, clock())
    clock.advance(159.999)

    await store.expire(clock())
    assert await bench.count() == 1

    clock.advance(0.001)
    await store.expire(clock())
    assert await bench.count() == 0


async def test_who_watches_hears_of_a_new_time(store, clock):
    bench = await Bench.set_up(store, clock)
    (ref,) = await bench.put(b"1", delay_seconds=10)

    with store.watch(bench.queue.id) as changed:
        await store.reschedule(bench.queue.id, ref, clock(), clock())

        assert changed.is_set()


async def test_one_that_waits_behind_another_of_its_key_is_scheduled(store, clock):
    bench = await Bench.set_up(store, clock)
    first, second, third = await bench.put(b"1", b"2", b"3", ordering_key="a")

    assert await store.cancel(bench.queue.id, [first, second], clock()) == [False, True]
    assert await store.reschedule(bench.queue.id, third, clock() + 5000, clock())

    await bench.ack((await bench.receive())[0])
    assert (await bench.take()).next_due_at_ms == clock() + 5000


async def test_a_cancelled_head_frees_the_next_of_its_key(store, clock):
    bench = await Bench.set_up(store, clock)
    (head,) = await bench.put(b"1", ordering_key="a", delay_seconds=60)
    await bench.put(b"2", ordering_key="a")

    await store.cancel(bench.queue.id, [head], clock())

    assert await bench.bodies() == [b"2"]


async def test_a_moved_head_keeps_its_place_in_its_key(store, clock):
    bench = await Bench.set_up(store, clock)
    (head,) = await bench.put(b"1", ordering_key="a", delay_seconds=60)
    await bench.put(b"2", ordering_key="a")

    await store.reschedule(bench.queue.id, head, clock() + 1_000_000, clock())
    clock.advance(60)

    assert await bench.bodies() == []


async def test_messages_for_a_far_time_do_not_keep_others_from_expiring(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    await bench.put(*[b"later"] * 1500, kept_since_ms=clock() + YEAR * 1000, delay_seconds=YEAR)
    clock.advance(100)
    await store.expire(clock())
    await bench.send(b"young")
    clock.advance(30)
    await store.expire(clock())
    clock.advance(30)

    expired, _ = await store.expire(clock())

    assert (sum(group.count for group in expired), await bench.count()) == (1, 1500)


async def test_a_message_that_is_moved_to_an_earlier_time_expires_by_that(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    (ref,) = await bench.put(b"later", kept_since_ms=clock() + YEAR * 1000, delay_seconds=YEAR)
    clock.advance(100)
    await store.expire(clock())

    await store.reschedule(bench.queue.id, ref, clock(), clock())
    clock.advance(60)
    await store.expire(clock())

    assert await bench.count() == 0
