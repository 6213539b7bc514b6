import asyncio

import pytest

from millrace.errors import DeliveryPaused, QueueNotFound
from tests.conformance.made import Bench


async def test_messages_come_oldest_first_by_the_time_they_became_ready(store, clock):
    bench = await Bench.set_up(store, clock)
    (late,) = await bench.send(b"late", delay_seconds=5)
    first, second = await bench.send(b"first", b"second")
    clock.advance(6)
    (last,) = await bench.send(b"last")

    received = await bench.receive()

    assert [message.id for message in received] == [first, second, late, last]


async def test_a_delayed_message_is_not_early(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send(delay_seconds=10)
    clock.advance(9.999)

    assert await bench.receive() == []

    clock.advance(0.001)
    assert len(await bench.receive()) == 1


async def test_a_delivery_shows_what_was_sent(store, clock):
    bench = await Bench.set_up(store, clock)
    (sent,) = await bench.send(b'{"a":1}')

    (message,) = await bench.receive()

    assert (message.id, message.body, message.content_type, message.attempts) == (sent, b'{"a":1}', "json", 1)
    assert message.sent_at_ms == clock()


async def test_concurrent_receivers_get_disjoint_messages(store, clock):
    bench = await Bench.set_up(store, clock)
    for _ in range(10):
        await bench.send(*[b"x"] * 50)

    batches = await asyncio.gather(*(bench.receive(37) for _ in range(16)))

    ids = [message.id for batch in batches for message in batch]
    assert len(ids) == len(set(ids)) == 500


async def test_a_leased_message_is_hidden_until_the_lease_ends(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    (first,) = await bench.receive(lease_seconds=30)
    clock.advance(29.999)

    assert await bench.receive() == []

    clock.advance(0.001)
    (second,) = await bench.receive()
    assert (second.id, second.attempts) == (first.id, 2)
    assert second.lease != first.lease


async def test_a_lapsed_message_waits_for_the_retry_delay(store, clock):
    bench = await Bench.set_up(store, clock, retry_delay=10)
    await bench.send()
    await bench.receive(lease_seconds=30)
    clock.advance(39.999)

    assert await bench.receive() == []

    clock.advance(0.001)
    assert len(await bench.receive()) == 1


async def test_a_lease_of_no_length_leaves_the_message_ready(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    await bench.receive(lease_seconds=0)

    (message,) = await bench.receive()

    assert message.attempts == 2


async def test_a_message_is_delivered_max_retries_and_one_times(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=2, dead_letter_queue="dead")
    await bench.send()

    deliveries = 0
    while await bench.receive(lease_seconds=1):
        deliveries += 1
        clock.advance(1)

    assert deliveries == 3
    assert await bench.count() == 0
    assert await (await bench.of("dead")).count() == 1


async def test_the_place_of_an_exhausted_message_is_filled(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    await bench.send(*[b"old"] * 10)
    await bench.receive(10, lease_seconds=1)
    clock.advance(2)
    await bench.send(*[b"new"] * 10)

    received = await bench.receive(10)

    assert [message.body for message in received] == [b"new"] * 10


async def test_without_a_consumer_nothing_is_ever_buried(store, clock):
    bench = await Bench.set_up(store, clock, consumer=False)
    await bench.send()
    for _ in range(10):
        assert len(await bench.receive(lease_seconds=1)) == 1
        clock.advance(1)

    assert await bench.count() == 1


async def test_a_paused_queue_gives_nothing(store, clock):
    bench = await Bench.set_up(store, clock, delivery_paused=True)
    await bench.send()

    with pytest.raises(DeliveryPaused):
        await bench.receive()


async def test_a_missing_queue_gives_an_error(store, clock):
    with pytest.raises(QueueNotFound):
        await store.receive("0" * 32, 1, 1000, clock())


async def test_the_receiver_may_decline_what_was_found(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send(b"1", b"2")
    asked = []

    def decline(count, ready_since_ms, is_urgent):
        asked.append((count, ready_since_ms, is_urgent))
        return False

    received = await bench.take(5, is_ready=decline)

    assert asked == [(2, clock(), False)]
    assert (received.messages, received.ready_since_ms) == ([], clock())
    assert [message.attempts for message in await bench.receive()] == [1, 1]


async def test_an_empty_answer_says_when_the_next_message_is_due(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send(delay_seconds=7)

    received = await bench.take()

    assert received.next_due_at_ms == clock() + 7000


async def test_an_answer_is_never_empty_while_something_is_ready(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    for _ in range(23):
        await bench.send(*[b"old"] * 100)
    while await bench.receive(100, lease_seconds=1):
        pass
    clock.advance(2)
    (new,) = await bench.send(b"new")

    taken = await bench.take(100)
    while taken.unfinished:
        taken = await bench.take(100)

    assert [message.id for message in taken.messages] == [new]


async def test_expired_messages_are_not_delivered(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    await bench.send(b"old")
    clock.advance(59)
    (young,) = await bench.send(b"young")
    clock.advance(1)

    received = await bench.receive()

    assert [message.id for message in received] == [young]
    assert await bench.count() == 1
