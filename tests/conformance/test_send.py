import asyncio

import pytest

from millrace.errors import BacklogFull, QueueNotFound
from tests.conformance.made import Bench, stamped


async def test_a_send_gives_the_backlog_with_its_messages_in_it(store, clock):
    bench = await Bench.set_up(store, clock)

    backlog = await store.send(bench.queue.id, [stamped(clock(), b"12345"), stamped(clock(), b"123")])

    assert (backlog.count, backlog.bytes, backlog.oldest_sent_at_ms) == (2, 8, clock())


async def test_a_send_to_a_missing_queue_is_refused(store, clock):
    with pytest.raises(QueueNotFound):
        await store.send("0" * 32, [stamped(clock())])


async def test_neighbours_in_a_group_are_answered_each_for_its_own_queue(store, clock):
    one, two = await Bench.set_up(store, clock, name="one"), await Bench.set_up(store, clock, name="two")

    answers = await asyncio.gather(
        store.send(one.queue.id, [stamped(clock())]),
        store.send("0" * 32, [stamped(clock())]),
        store.send(two.queue.id, [stamped(clock())] * 1),
        store.send(one.queue.id, [stamped(clock())]),
        return_exceptions=True,
    )

    assert isinstance(answers[1], QueueNotFound)
    assert (await one.count(), await two.count()) == (2, 1)


async def test_a_send_that_would_exceed_the_message_limit_is_refused_whole(store, clock):
    bench = await Bench.set_up(store, clock, max_backlog_messages=3)
    await bench.send(b"1", b"2")

    with pytest.raises(BacklogFull, match="2 \\+ 2 messages exceed its limit of 3"):
        await bench.send(b"3", b"4")

    assert await bench.count() == 2


async def test_the_limits_hold_exactly_among_callers_of_one_group(store, clock):
    bench = await Bench.set_up(store, clock, max_backlog_messages=5, max_backlog_bytes=40)

    answers = await asyncio.gather(*(bench.send(b"x" * 10) for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(answer, BacklogFull) for answer in answers) == 16
    assert await bench.count() == 4


async def test_a_drained_queue_takes_messages_again(store, clock):
    bench = await Bench.set_up(store, clock, max_backlog_messages=1)
    await bench.send()
    (message,) = await bench.receive()
    await bench.ack(message)

    await bench.send()

    assert await bench.count() == 1


async def test_the_backlog_counts_delayed_and_leased_messages_and_knows_the_oldest(store, clock):
    bench = await Bench.set_up(store, clock)
    first_sent_at_ms = clock()
    await bench.send(b"aa")
    clock.advance(5)
    await bench.send(b"bbb", delay_seconds=60)
    await bench.receive()

    backlog = await store.backlog(bench.queue.id)

    assert (backlog.count, backlog.bytes, backlog.oldest_sent_at_ms) == (2, 5, first_sent_at_ms)


async def test_an_empty_queue_has_no_oldest_message(store, clock):
    bench = await Bench.set_up(store, clock)

    backlog = await store.backlog(bench.queue.id)

    assert (backlog.count, backlog.bytes, backlog.oldest_sent_at_ms) == (0, 0, 0)


async def test_the_backlogs_of_an_account_are_told_by_name(store, clock):
    one = await Bench.set_up(store, clock, name="one")
    await Bench.set_up(store, clock, name="other", account_id="foreign")
    await one.send(b"123")

    backlogs = await store.backlogs("acc")

    assert {name: (backlog.count, backlog.bytes) for name, backlog in backlogs.items()} == {"one": (1, 3)}
