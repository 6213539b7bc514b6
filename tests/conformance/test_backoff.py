"""Delays that grow, and failures that are counted apart from deliveries."""

import msgspec
import pytest

from millrace.backoff import Backoff
from millrace.settlement import Buried, Postpone, Released, Removed, Retry
from tests.conformance.made import Bench

DOUBLING = Backoff(kind="exponential", base_seconds=60)


async def bench_with(store, clock, dead_letter_queue="dead", **settings):
    """Set up a queue whose consumer has these settings."""
    bench = await Bench.set_up(store, clock, dead_letter_queue=dead_letter_queue)
    await change(bench, **settings)
    return bench


async def change(bench, **settings):
    """Change settings of the queue's consumer."""

    def changed(queue):
        consumer = queue.consumer
        replaced = msgspec.structs.replace(consumer.settings, **settings)
        return msgspec.structs.replace(queue, consumer=msgspec.structs.replace(consumer, settings=replaced))

    await bench.store.update_queue("acc", bench.queue.id, changed)


async def test_each_failure_waits_longer_than_the_one_before(store, clock):
    bench = await bench_with(store, clock, backoff=DOUBLING)
    await bench.send()
    delays = []

    for _ in range(3):
        (message,) = await bench.receive()
        released = await bench.retry(message)
        delays.append((released.visible_at_ms - clock()) / 1000)
        clock.now_ms = released.visible_at_ms - 1
        assert await bench.receive() == []
        clock.advance(0.001)

    assert delays == [120, 240, 480]


async def test_the_delay_of_the_retry_itself_wins(store, clock):
    bench = await bench_with(store, clock, backoff=DOUBLING, retry_delay=7)
    await bench.send()
    (message,) = await bench.receive()

    assert await bench.retry(message, 0) == Released(clock(), 1, 1)


async def test_a_failure_with_a_delay_of_its_own_counts_for_the_next_delay(store, clock):
    bench = await bench_with(store, clock, backoff=DOUBLING)
    await bench.send()
    (message,) = await bench.receive()
    await bench.retry(message, 0)
    (message,) = await bench.receive()

    assert await bench.retry(message) == Released(clock() + 240_000, 2, 2)


async def test_a_lapsed_lease_waits_the_flat_delay_and_is_no_failure(store, clock):
    bench = await bench_with(store, clock, backoff=DOUBLING, retry_delay=7)
    await bench.send()
    await bench.receive(lease_seconds=30)

    clock.advance(36.999)
    assert await bench.receive() == []
    clock.advance(0.001)
    (again,) = await bench.receive()

    assert (again.attempts, again.failures) == (2, 0)
    assert await bench.retry(again) == Released(clock() + 120_000, 2, 1)


async def test_the_last_failure_that_may_be_reported_buries(store, clock):
    bench = await bench_with(store, clock, max_attempts=2, max_retries=9)
    await bench.send()
    (one,) = await bench.receive()
    assert await bench.retry(one) == Released(clock(), 1, 1)
    (two,) = await bench.receive()

    assert await bench.retry(two, 100) == Buried("dead", "max_attempts")

    assert await (await bench.of("dead")).count() == 1


async def test_the_reason_of_the_last_failure_is_kept(store, clock):
    bench = await bench_with(store, clock, max_attempts=1)
    await bench.send()
    (message,) = await bench.receive()

    assert await bench.settle(message, Retry(reason="ValueError")) == Buried("dead", "ValueError")


async def test_without_a_dead_letter_queue_the_last_attempt_drops_the_message(store, clock):
    bench = await bench_with(store, clock, dead_letter_queue=None, max_attempts=1)
    await bench.send()
    (message,) = await bench.receive()

    assert await bench.retry(message) == Removed("max_attempts")
    assert await bench.count() == 0


async def test_lapsed_leases_count_for_deliveries_and_not_for_attempts(store, clock):
    bench = await bench_with(store, clock, max_attempts=1, max_retries=3)
    await bench.send()

    for attempts in (1, 2, 3):
        (message,) = await bench.receive(lease_seconds=1)
        assert message.attempts == attempts
        clock.advance(1)
    (message,) = await bench.receive(lease_seconds=1)
    clock.advance(1)
    await store.bury_lapsed(clock())

    (dead,) = await store.peek((await bench.of("dead")).queue.id, 10, clock())
    assert dead.reason == "max_retries"


@pytest.mark.parametrize(("max_attempts", "max_retries", "deliveries"), [(3, 5, 3), (5, 2, 3), (3, 2, 3)])
async def test_whichever_limit_comes_first_ends_it(store, clock, max_attempts, max_retries, deliveries):
    bench = await bench_with(store, clock, max_attempts=max_attempts, max_retries=max_retries)
    await bench.send()

    for _ in range(deliveries - 1):
        (message,) = await bench.receive()
        assert isinstance(await bench.retry(message), Released)

    (message,) = await bench.receive()
    assert isinstance(await bench.retry(message), Buried)


async def test_a_postponement_costs_neither_an_attempt_nor_a_failure(store, clock):
    bench = await bench_with(store, clock, max_attempts=1, max_retries=0)
    await bench.send()
    (message,) = await bench.receive()
    await bench.settle(message, Postpone(0))

    (again,) = await bench.receive()

    assert (again.attempts, again.failures) == (1, 0)


async def test_a_lapse_that_a_new_limit_forgives_is_no_failure_either(store, clock):
    bench = await bench_with(store, clock, max_retries=0, retry_delay=7)
    await bench.send()
    await bench.receive(lease_seconds=1)
    await change(bench, max_retries=3)
    clock.advance(1)

    await store.bury_lapsed(clock())

    clock.advance(7)
    (again,) = await bench.receive()
    assert (again.attempts, again.failures) == (2, 0)


async def test_a_redriven_message_has_failed_never(store, clock):
    bench = await bench_with(store, clock, max_attempts=2, max_retries=9)
    await bench.send()
    (one,) = await bench.receive()
    await bench.retry(one)
    (two,) = await bench.receive()
    await bench.retry(two)
    dead = await bench.of("dead")

    await store.redrive(dead.queue.id, clock())

    (again,) = await bench.receive()
    assert (again.attempts, again.failures) == (1, 0)


async def test_jitter_spreads_what_failed_together(store, clock):
    bench = await bench_with(store, clock, backoff=Backoff(kind="fixed", base_seconds=1000, jitter=0.5))
    await bench.send(*[b"1"] * 50)
    messages = await bench.receive(50)

    settlements = await store.settle(bench.queue.id, [(message.lease, Retry()) for message in messages], clock())

    delays = {settlement.visible_at_ms - clock() for settlement in settlements}
    assert len(delays) > 10
    assert min(delays) >= 500_000
    assert max(delays) <= 1_500_000
