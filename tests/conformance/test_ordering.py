"""Ordering keys: messages of one key go one after the other, whatever becomes of the one ahead."""

import asyncio

from millrace.settlement import Reject
from tests.conformance.made import Bench


async def test_the_next_of_a_key_is_received_when_the_one_ahead_is_gone(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"a1", b"a2", b"a3", ordering_key="a")
    await bench.put(b"b1", ordering_key="b")
    await bench.put(b"free")

    received = await bench.receive()

    assert [(message.body, message.ordering_key) for message in received] == [
        (b"a1", "a"),
        (b"b1", "b"),
        (b"free", None),
    ]
    await bench.ack(received[0])
    assert await bench.bodies() == [b"a2"]
    assert await bench.bodies() == []


async def test_messages_of_a_key_that_come_one_by_one_wait_too(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", ordering_key="a")
    (first,) = await bench.receive()
    await bench.put(b"2", ordering_key="a")

    assert await bench.bodies() == []
    await bench.ack(first)
    assert await bench.bodies() == [b"2"]


async def test_a_retried_or_lapsed_message_keeps_its_place(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", b"2", ordering_key="a")

    await bench.retry((await bench.receive())[0], delay_seconds=5)
    assert await bench.bodies() == []

    clock.advance(5)
    assert [message.body for message in await bench.receive(lease_seconds=1)] == [b"1"]
    clock.advance(1)
    assert await bench.bodies() == [b"1"]


async def test_a_late_ack_frees_the_next(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", b"2", ordering_key="a")
    (first,) = await bench.receive(lease_seconds=1)
    clock.advance(5)

    assert await bench.ack(first) is not None
    assert await bench.bodies() == [b"2"]


async def test_a_stale_ack_frees_nothing(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", b"2", ordering_key="a")
    (first,) = await bench.receive(lease_seconds=1)
    clock.advance(1)
    await bench.receive()

    assert await bench.ack(first) is None
    assert await bench.bodies() == []


async def test_a_buried_message_frees_the_next_and_the_order_holds_in_the_dead_letter_queue(store, clock):
    bench = await Bench.set_up(store, clock, dead_letter_queue="dead")
    await bench.put(b"1", b"2", b"3", ordering_key="a")
    dead = await bench.of("dead")

    for _ in range(2):
        await bench.settle((await bench.receive())[0], Reject("bad"))

    assert await bench.bodies() == [b"3"]
    (letter,) = await dead.receive()
    assert (letter.body, await dead.bodies()) == (b"1", [])
    await dead.ack(letter)
    assert await dead.bodies() == [b"2"]


async def test_a_last_delivery_that_lapses_frees_the_next_though_nobody_reads(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    await bench.put(b"1", b"2", ordering_key="a")
    await bench.receive(lease_seconds=1)
    clock.advance(1)

    await store.bury_lapsed(clock())

    assert await bench.bodies() == [b"2"]


async def test_a_dropped_message_frees_the_next(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0)
    await bench.put(b"1", b"2", ordering_key="a")

    await bench.retry((await bench.receive())[0])

    assert await bench.bodies() == [b"2"]


async def test_an_expired_message_frees_the_next(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    await bench.put(b"1", ordering_key="a")
    clock.advance(30)
    await bench.put(b"2", ordering_key="a")
    await bench.put(b"3", ordering_key="a")
    clock.advance(30)

    await store.expire(clock())

    assert await bench.bodies() == [b"2"]


async def test_messages_that_expire_while_they_wait_are_passed_over(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    await bench.put(b"1", b"2", ordering_key="a")
    clock.advance(30)
    await bench.put(b"3", ordering_key="a")
    clock.advance(30)

    assert await bench.bodies() == [b"3"]


async def test_a_discarded_head_frees_the_next_and_a_discarded_follower_nothing(store, clock):
    bench = await Bench.set_up(store, clock)
    first, second, _ = await bench.put(b"1", b"2", b"3", ordering_key="a")

    await store.discard(bench.queue.id, [second], clock())
    assert await bench.bodies() == [b"1"]

    await store.discard(bench.queue.id, [first], clock())
    assert await bench.bodies() == [b"3"]


async def test_a_message_is_not_delivered_before_it_is_due_though_its_turn_has_come(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", ordering_key="a")
    await bench.put(b"2", ordering_key="a", delay_seconds=10)
    await bench.ack((await bench.receive())[0])

    received = await bench.take()

    assert (received.messages, received.next_due_at_ms) == ([], clock() + 10_000)
    clock.advance(10)
    assert await bench.bodies() == [b"2"]


async def test_those_behind_a_delayed_head_wait_for_it(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", ordering_key="a", delay_seconds=10)
    await bench.put(b"2", ordering_key="a")

    received = await bench.take()

    assert (received.messages, received.next_due_at_ms) == ([], clock() + 10_000)


async def test_an_empty_answer_names_no_time_for_those_that_wait_for_others(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", b"2", ordering_key="a")
    await bench.receive(lease_seconds=40)

    assert (await bench.take()).next_due_at_ms == clock() + 40_000


async def test_redriven_messages_of_a_key_queue_up_behind_the_present_head(store, clock):
    bench = await Bench.set_up(store, clock, dead_letter_queue="dead")
    await bench.put(b"1", b"2", b"3", b"4", ordering_key="a")
    for _ in range(2):
        await bench.settle((await bench.receive())[0], Reject("bad"))
    (third,) = await bench.receive()

    await store.redrive((await bench.of("dead")).queue.id, clock())

    assert await bench.bodies() == []
    order = []
    while third is not None:
        await bench.ack(third)
        (third,) = await bench.receive() or [None]
        order += [third.body] if third else []
    assert order == [b"1", b"2", b"4"]


async def test_concurrent_receivers_never_hold_two_messages_of_one_key(store, clock):
    bench = await Bench.set_up(store, clock)
    for key in "abc":
        await bench.put(*[key.encode()] * 20, ordering_key=key)
    taken = []

    async def receive_and_settle() -> None:
        while messages := await bench.receive(2):
            held = [message.ordering_key for message in messages]
            assert not set(held) & busy
            assert len(set(held)) == len(held)
            busy.update(held)
            taken.extend(held)
            await asyncio.sleep(0)
            busy.difference_update(held)
            for message in messages:
                await bench.ack(message)

    busy: set[str | None] = set()
    for _ in range(30):
        await asyncio.gather(*(receive_and_settle() for _ in range(4)))

    assert (len(taken), await bench.count()) == (60, 0)


async def test_who_watches_hears_when_the_next_is_free(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", b"2", ordering_key="a")
    (first,) = await bench.receive()

    with store.watch(bench.queue.id) as changed:
        await bench.ack(first)

        assert changed.is_set()


async def test_a_purge_lets_a_key_begin_anew(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", b"2", ordering_key="a")
    await store.purge(bench.queue.id, clock())

    await bench.put(b"3", ordering_key="a")

    assert await bench.bodies() == [b"3"]


async def test_messages_that_wait_for_others_are_counted_and_shown(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"1", b"2", ordering_key="a")

    shown = await store.peek(bench.queue.id, 10, clock())

    assert [(message.body, message.ordering_key) for message in shown] == [(b"1", "a"), (b"2", "a")]
    assert await bench.count() == 2
