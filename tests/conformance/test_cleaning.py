"""Burying, expiring, purging, redriving: what happens to messages that nobody receives."""

import pytest

from millrace.errors import QueueNotFound
from tests.conformance.made import Bench, stamped


async def test_a_lapsed_last_delivery_is_buried_though_nobody_reads(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, retry_delay=50, dead_letter_queue="dead")
    await bench.send()
    await bench.receive(lease_seconds=10)
    clock.advance(9.999)

    assert await store.bury_lapsed(clock()) == []

    clock.advance(0.001)
    assert len(await store.bury_lapsed(clock())) == 1
    assert (await bench.count(), await (await bench.of("dead")).count()) == (0, 1)


async def test_a_lapsed_delivery_with_retries_left_is_not_buried(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=1, dead_letter_queue="dead")
    await bench.send()
    await bench.receive(lease_seconds=1)
    clock.advance(1)

    assert await store.bury_lapsed(clock()) == []
    assert await bench.count() == 1


async def test_messages_past_their_retention_are_removed_whatever_their_state(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    await bench.send(b"leased")
    await bench.receive(lease_seconds=1000)
    await bench.send(b"ready")
    await bench.send(b"delayed", delay_seconds=1000)
    clock.advance(30)
    await bench.send(b"young")
    clock.advance(30)

    expired, _ = await store.expire(clock())

    assert sum(group.count for group in expired) == 3
    assert [message.body for message in await store.peek(bench.queue.id, 10, clock())] == [b"young"]


async def test_expire_says_when_to_come_again(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    await bench.send()
    clock.advance(55)

    _, again_at_ms = await store.expire(clock())

    assert again_at_ms == clock() + 5000


async def test_expire_comes_again_soon_though_another_queue_keeps_its_messages_long(store, clock):
    long = await Bench.set_up(store, clock, name="long")
    await long.send()

    _, again_at_ms = await store.expire(clock())

    assert again_at_ms <= clock() + 10_000


async def test_a_lapsed_message_past_its_retention_expires_and_is_not_buried(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead", message_retention_period=60)
    await bench.send()
    await bench.receive(lease_seconds=100)
    clock.advance(100)

    (cleared,) = await store.bury_lapsed(clock())

    assert (cleared.event, await (await bench.of("dead")).count()) == ("message.expired", 0)


async def test_a_shorter_retention_counts_for_messages_already_there(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    clock.advance(100)
    await bench.store.update_queue("acc", bench.queue.id, lambda old: _with(old, message_retention_period=60))

    assert await bench.receive() == []
    assert await bench.count() == 0


async def test_a_queue_without_retention_keeps_its_messages(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=None)
    await bench.send()
    clock.advance(10 * 365 * 86_400)

    assert (await store.expire(clock()))[0] == []
    assert len(await bench.receive()) == 1


async def test_retention_in_a_dead_letter_queue_counts_from_the_move(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead", message_retention_period=100)
    await bench.send()
    clock.advance(90)
    dead = await bench.of("dead")
    await store.update_queue("acc", dead.queue.id, lambda old: _with(old, message_retention_period=60))
    (message,) = await bench.receive()
    await bench.retry(message)
    clock.advance(59)
    await store.expire(clock())

    assert await dead.count() == 1

    clock.advance(1)
    await store.expire(clock())
    assert await dead.count() == 0


async def test_many_expired_messages_go_in_chunks(store, clock):
    bench = await Bench.set_up(store, clock, message_retention_period=60)
    for _ in range(25):
        await store.send(bench.queue.id, [stamped(clock()) for _ in range(100)])
    clock.advance(61)
    await bench.send(b"young")

    assert sum(group.count for group in (await store.expire(clock()))[0]) == 2500
    assert await bench.count() == 1


async def test_a_purge_empties_the_queue_at_once(store, clock):
    bench = await Bench.set_up(store, clock)
    for _ in range(15):
        await store.send(bench.queue.id, [stamped(clock()) for _ in range(100)])
    leased = await bench.receive(5)

    await store.purge(bench.queue.id, clock())

    assert (await bench.count(), await bench.receive(), await store.peek(bench.queue.id, 10, clock())) == (0, [], [])
    assert await bench.ack(leased[0]) is None
    assert await store.extend(bench.queue.id, [leased[1].lease], clock() + 1000) == set()


async def test_messages_sent_after_a_purge_stay(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send(b"old")
    await store.purge(bench.queue.id, clock())
    (new,) = await bench.send(b"new")

    while await store.sweep():
        pass

    assert [message.id for message in await bench.receive()] == [new]


async def test_what_was_purged_is_swept_from_the_disk_in_chunks(store, clock):
    bench = await Bench.set_up(store, clock)
    for _ in range(25):
        await store.send(bench.queue.id, [stamped(clock()) for _ in range(100)])
    await store.purge(bench.queue.id, clock())

    swept = 0
    while rows := await store.sweep():
        swept += rows

    assert swept >= 2500
    assert await store.sweep() == 0


async def test_a_lapsed_last_delivery_of_a_purged_queue_is_not_buried(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    await bench.send()
    await bench.receive(lease_seconds=1)
    await store.purge(bench.queue.id, clock())
    clock.advance(2)

    await store.bury_lapsed(clock())

    assert await (await bench.of("dead")).count() == 0


async def test_a_deleted_queue_takes_its_messages_with_it(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send()
    await store.delete_queue("acc", bench.queue.id)

    with pytest.raises(QueueNotFound):
        await bench.count()

    again = await Bench.set_up(store, clock)
    assert (again.queue.name, await again.count()) == (bench.queue.name, 0)


async def test_redrive_moves_buried_messages_back_as_new(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    (sent,) = await bench.send()
    (message,) = await bench.receive()
    await bench.retry(message)
    dead = await bench.of("dead")

    assert await store.redrive(dead.queue.id, clock()) == (1, None)

    (again,) = await bench.receive()
    assert (again.id, again.attempts, await dead.count(), await bench.count()) == (sent, 1, 0, 1)


async def test_redrive_leaves_what_is_leased_what_was_sent_there_and_what_has_no_home(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    await bench.send(b"1")
    await bench.retry((await bench.receive())[0])
    dead = await bench.of("dead")
    await dead.receive()
    await dead.send(b"direct")

    assert await store.redrive(dead.queue.id, clock()) == (0, None)

    clock.advance(100)
    await store.delete_queue("acc", bench.queue.id)
    assert await store.redrive(dead.queue.id, clock()) == (0, None)
    assert await dead.count() == 2


async def test_many_buried_messages_are_redriven_in_chunks(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    for _ in range(22):
        await store.send(bench.queue.id, [stamped(clock()) for _ in range(100)])
    while await bench.receive(100, lease_seconds=1):
        pass
    clock.advance(1)
    while await store.bury_lapsed(clock()):
        pass
    dead = await bench.of("dead")

    moved, after_key = await store.redrive(dead.queue.id, clock())
    assert (moved, after_key is None) == (1000, False)
    while after_key is not None:
        chunk, after_key = await store.redrive(dead.queue.id, clock(), after_key)
        moved += chunk

    assert (moved, await bench.count(), await dead.count()) == (2200, 2200, 0)


async def test_chosen_messages_are_discarded_for_good(store, clock):
    bench = await Bench.set_up(store, clock)
    other = await Bench.set_up(store, clock, name="other")
    await bench.send(b"1", b"22", b"333")
    one, two, _ = await store.peek(bench.queue.id, 10, clock())

    refs = [(one.lease.key, one.id), (one.lease.key, one.id), (two.lease.key, one.id), (-1, "")]
    assert await store.discard(bench.queue.id, refs, clock()) == [True, False, False, False]
    assert await store.discard(other.queue.id, [(two.lease.key, two.id)], clock()) == [False]
    assert (await store.backlog(bench.queue.id)).bytes == 5


async def test_peek_shows_messages_in_any_state_without_touching_them(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.send(b"leased")
    await bench.receive(lease_seconds=100)
    await bench.send(b"ready")
    await bench.send(b"delayed", delay_seconds=100)

    for _ in range(3):
        shown = await store.peek(bench.queue.id, 10, clock())
        assert [(message.body, message.attempts) for message in shown] == [
            (b"leased", 1),
            (b"ready", 0),
            (b"delayed", 0),
        ]
    (after,) = await store.peek(bench.queue.id, 1, clock(), shown[0].lease.key)
    assert after.body == b"ready"


def _with(queue, **settings):
    fields = {name: getattr(queue, name) for name in queue.__struct_fields__}
    old = queue.settings
    changed = {name: getattr(old, name) for name in old.__struct_fields__} | settings
    return type(queue)(**fields | {"settings": type(old)(**changed)})
