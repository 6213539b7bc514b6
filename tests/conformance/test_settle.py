import pytest

from millrace.errors import QueueNotFound
from millrace.message import Lease
from millrace.settlement import Ack, Buried, Postpone, Reject, Released, Removed, Retry
from tests.conformance.made import Bench


async def test_an_acknowledged_message_is_gone(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    (message,) = await bench.receive()

    assert await bench.ack(message) == Removed()

    clock.advance(1000)
    assert (await bench.receive(), await bench.count()) == ([], 0)


async def test_a_second_ack_changes_nothing(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send(b"1", b"2")
    one, _ = await bench.receive()
    await bench.ack(one)

    assert await bench.ack(one) is None
    assert await bench.count() == 1


async def test_the_same_lease_twice_in_one_call_counts_once(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    (message,) = await bench.receive()

    settled = await store.settle(bench.queue.id, [(message.lease, Ack()), (message.lease, Ack())], clock())

    assert settled == [Removed(), None]
    assert await bench.count() == 0


async def test_a_late_ack_counts_until_the_message_is_delivered_again(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send(b"1", b"2")
    one, two = await bench.receive(lease_seconds=1)
    clock.advance(5)

    assert await bench.ack(one) == Removed()

    (again,) = await bench.receive()
    assert again.id == two.id
    assert await bench.ack(two) is None
    assert await bench.ack(again) == Removed()


async def test_a_late_ack_of_the_last_delivery_counts_until_it_is_buried(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    await bench.send(b"1", b"2")
    one, two = await bench.receive(lease_seconds=1)
    clock.advance(5)

    assert await bench.ack(one) == Removed()

    await store.bury_lapsed(clock())
    assert await bench.ack(two) is None


async def test_a_retry_after_the_lease_changes_nothing(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    (message,) = await bench.receive(lease_seconds=1)
    clock.advance(1)

    assert await bench.retry(message, 100) is None
    assert len(await bench.receive()) == 1


async def test_a_lease_that_never_was_or_is_another_queues_changes_nothing(store, clock):
    bench, other = await Bench.set_up(store, clock), await Bench.set_up(store, clock, name="other")
    await bench.send()
    (message,) = await bench.receive()

    assert await other.ack(message) is None
    assert await other.retry(message) is None
    assert await store.settle(bench.queue.id, [(Lease(message.lease.key, 1), Ack())], clock()) == [None]
    assert await store.settle(bench.queue.id, [(Lease(1, message.lease.receipt), Retry())], clock()) == [None]
    assert await bench.count() == 1
    with pytest.raises(QueueNotFound):
        await store.settle("0" * 32, [(message.lease, Ack())], clock())


async def test_a_retried_message_is_ready_after_its_delay(store, clock):
    bench = await Bench.set_up(store, clock, retry_delay=50)
    await bench.send()
    (message,) = await bench.receive()

    assert await bench.retry(message, 10) == Released(clock() + 10_000, 1, 1)

    clock.advance(9.999)
    assert await bench.receive() == []
    clock.advance(0.001)
    (again,) = await bench.receive()
    assert (again.attempts, again.failures) == (2, 1)


async def test_a_retry_without_a_delay_takes_the_consumers(store, clock):
    bench = await Bench.set_up(store, clock, retry_delay=50)
    await bench.send()
    (message,) = await bench.receive()

    assert await bench.retry(message) == Released(clock() + 50_000, 1, 1)


async def test_a_retry_with_a_delay_of_nothing_cancels_the_consumers(store, clock):
    bench = await Bench.set_up(store, clock, retry_delay=50)
    await bench.send()
    (message,) = await bench.receive()

    await bench.retry(message, 0)

    assert len(await bench.receive()) == 1


async def test_the_last_delivery_that_fails_is_buried_at_once_whatever_the_delay(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, retry_delay=50, dead_letter_queue="dead")
    (sent,) = await bench.send(b"body")
    sent_at_ms = clock()
    (message,) = await bench.receive()
    clock.advance(1)

    assert await bench.retry(message, 100) == Buried("dead", "max_retries")

    (dead,) = await (await bench.of("dead")).receive()
    assert (dead.id, dead.body, dead.sent_at_ms, dead.attempts) == (sent, b"body", sent_at_ms, 1)


async def test_without_a_dead_letter_queue_the_last_failure_drops_the_message(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0)
    await bench.send()
    (message,) = await bench.receive()

    assert await bench.retry(message) == Removed("max_retries")
    assert await bench.count() == 0


async def test_a_rejected_message_is_buried_on_its_first_delivery(store, clock):
    bench = await Bench.set_up(store, clock, dead_letter_queue="dead")
    await bench.send()
    (message,) = await bench.receive()

    assert await bench.settle(message, Reject("no such customer")) == Buried("dead", "no such customer")

    (dead,) = await store.peek((await bench.of("dead")).queue.id, 10, clock())
    assert (dead.reason, dead.origin_queue_id) == ("no such customer", bench.queue.id)


async def test_a_postponed_message_keeps_its_attempt(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    await bench.send()
    (message,) = await bench.receive()

    await bench.settle(message, Postpone(2))

    clock.advance(2)
    (again,) = await bench.receive()
    assert again.attempts == 1


async def test_a_missing_dead_letter_queue_is_created_again(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    dead = await bench.of("dead")
    await store.delete_queue("acc", dead.queue.id)
    await bench.send()
    (message,) = await bench.receive()

    await bench.retry(message)

    assert await (await bench.of("dead")).count() == 1


async def test_the_limits_are_those_of_the_consumer_at_the_failure(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    await bench.send()
    (message,) = await bench.receive()
    await store.update_queue("acc", bench.queue.id, lambda old: type(old)(**{**_fields(old), "consumer": None}))

    settlement = await bench.retry(message)

    assert isinstance(settlement, Released)


async def test_many_outcomes_are_applied_in_one_call(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=1, dead_letter_queue="dead")
    await bench.send(b"a", b"b", b"c")
    one, two, three = await bench.receive()

    settled = await store.settle(
        bench.queue.id, [(one.lease, Ack()), (two.lease, Retry(5)), (three.lease, Reject("no"))], clock()
    )

    assert settled == [Removed(), Released(clock() + 5000, 1, 1), Buried("dead", "no")]
    assert await bench.count() == 1


async def test_a_new_retry_delay_leaves_the_leases_under_way_as_they_are(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send(b"1", b"2")
    one, two = await bench.receive(lease_seconds=30)
    await store.update_queue("acc", bench.queue.id, lambda old: _with_retry_delay(old, 100))
    clock.advance(1)

    assert await bench.retry(one) == Released(clock() + 100_000, 1, 1)

    clock.advance(29)
    assert await bench.retry(two) is None


async def test_of_two_leases_of_a_message_only_the_newer_is_extended(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    (old,) = await bench.receive(lease_seconds=1)
    clock.advance(1)
    (new,) = await bench.receive(lease_seconds=1)

    assert await store.extend(bench.queue.id, [old.lease, new.lease], clock() + 5000) == {new.lease}


async def test_an_extended_lease_ends_later(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    (message,) = await bench.receive(lease_seconds=10)
    clock.advance(9)

    assert await store.extend(bench.queue.id, [message.lease], clock() + 10_000) == {message.lease}

    clock.advance(9)
    assert await bench.receive() == []
    assert await bench.retry(message) is not None


async def test_a_stale_lease_is_not_extended(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    (old,) = await bench.receive(lease_seconds=1)
    clock.advance(1)
    await bench.receive(lease_seconds=1)

    assert await store.extend(bench.queue.id, [old.lease, Lease(5, 5)], clock() + 99_000) == set()

    clock.advance(1)
    assert len(await bench.receive()) == 1


def _with_retry_delay(queue, seconds):
    consumer = type(queue.consumer)(
        **_fields(queue.consumer) | {"settings": type(queue.consumer.settings)(retry_delay=seconds)}
    )
    return type(queue)(**_fields(queue) | {"consumer": consumer})


def _fields(value):
    return {name: getattr(value, name) for name in value.__struct_fields__}
