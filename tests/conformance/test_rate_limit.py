"""Rate limits of consumers: so many at once, so many in each period, whoever receives."""

import asyncio

from millrace.consumer import RateLimit
from tests.conformance.made import Bench


def limited(messages, per_seconds=1):
    return {"rate_limit": RateLimit(messages, per_seconds)}


async def test_no_more_is_taken_at_once_than_the_limit_allows(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(3, 60))
    await bench.put(*[b"1"] * 10)

    assert len(await bench.bodies(2)) == 2
    assert len(await bench.bodies(10)) == 1
    assert await bench.bodies() == []


async def test_an_empty_bucket_says_when_the_next_may_be_taken(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(3, 60))
    await bench.put(*[b"1"] * 10)
    await bench.receive(3)

    received = await bench.take()

    assert (received.ready_since_ms, received.next_due_at_ms) == (None, clock() + 20_000)
    assert received.backlog.count == 10
    clock.advance(20)
    assert len(await bench.bodies()) == 1


async def test_an_empty_bucket_wakes_nobody_before_there_is_something_to_take(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(1, 60))
    await bench.put(b"1")
    await bench.ack((await bench.receive())[0])

    nothing = (await bench.take()).next_due_at_ms
    await bench.put(b"2", delay_seconds=90)
    later = (await bench.take()).next_due_at_ms

    assert (nothing, later) == (None, clock() + 90_000)


async def test_over_a_long_time_the_rate_holds(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(2, 1))
    await bench.put(*[b"1"] * 100)
    taken = 0

    for _ in range(200):
        taken += len(await bench.bodies())
        clock.advance(0.1)

    assert taken == 2 + 39


async def test_what_was_not_taken_is_kept_up_to_the_limit(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(2, 1))
    await bench.put(*[b"1"] * 10)
    clock.advance(3600)

    assert len(await bench.bodies()) == 2


async def test_concurrent_receivers_share_the_limit(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(5, 60))
    await bench.put(*[b"1"] * 20)

    taken = await asyncio.gather(*(bench.bodies(2) for _ in range(10)))

    assert sum(map(len, taken)) == 5


async def test_a_receive_that_is_declined_or_finds_nothing_takes_nothing_from_the_bucket(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(2, 60))
    await bench.bodies()
    await bench.put(*[b"1"] * 5)
    asked = []

    def decline(count, ready_since_ms, is_urgent):
        asked.append(count)
        return False

    await bench.take(is_ready=decline)

    assert asked == [5]  # what is ready, not what may be taken
    assert len(await bench.bodies()) == 2


async def test_queues_do_not_share_a_bucket_and_one_without_a_limit_has_none(store, clock):
    one = await Bench.set_up(store, clock, name="one", taking=limited(1, 60))
    two = await Bench.set_up(store, clock, name="two", taking=limited(1, 60))
    free = await Bench.set_up(store, clock, name="free")
    for bench in (one, two, free):
        await bench.put(b"1", b"2")

    assert [len(await bench.bodies()) for bench in (one, two, free)] == [1, 1, 2]


async def test_a_retried_message_is_taken_from_the_bucket_again(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(1, 60))
    await bench.put(b"1")
    await bench.retry((await bench.receive())[0])

    assert await bench.bodies() == []


async def test_a_queue_made_anew_begins_with_a_full_bucket(store, clock):
    bench = await Bench.set_up(store, clock, taking=limited(1, 60))
    await bench.put(b"1")
    await bench.receive()
    await store.delete_queue("acc", bench.queue.id)

    await store.create_queue(bench.queue)
    await bench.put(b"2")

    assert await bench.bodies() == [b"2"]
