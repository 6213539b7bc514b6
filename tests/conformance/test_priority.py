"""Priority is a head start: it moves a message ahead by so much time, and nothing waits for ever."""

from itertools import count

from millrace.consumer import Consumer
from millrace.message import HIGH, LOW, NORMAL
from millrace.runtime import window
from tests.conformance.made import Bench, queue

LEVELS = {"head_start_seconds": 600}


async def test_of_what_is_due_high_goes_before_normal_and_normal_before_low(store, clock):
    bench = await Bench.set_up(store, clock, taking=LEVELS)
    for body, priority in ((b"low", LOW), (b"normal", NORMAL), (b"high", HIGH), (b"high 2", HIGH)):
        await bench.put(body, priority=priority)

    received = await bench.receive()

    assert [message.body for message in received] == [b"high", b"high 2", b"normal", b"low"]
    assert [message.priority for message in received] == [HIGH, HIGH, NORMAL, LOW]


async def test_a_message_that_has_waited_longer_than_the_head_start_goes_first(store, clock):
    bench = await Bench.set_up(store, clock, taking=LEVELS)
    await bench.put(b"old low", priority=LOW)
    clock.advance(601)
    await bench.put(b"normal", priority=NORMAL)
    clock.advance(602)
    await bench.put(b"high", priority=HIGH)

    assert await bench.bodies(1) == [b"old low"]
    assert await bench.bodies(1) == [b"normal"]


async def test_messages_of_the_same_rank_go_by_arrival(store, clock):
    bench = await Bench.set_up(store, clock, taking=LEVELS)
    await bench.put(b"normal", priority=NORMAL)
    clock.advance(600)
    await bench.put(b"high", priority=HIGH)

    assert await bench.bodies() == [b"normal", b"high"]


async def test_without_a_head_start_only_the_time_counts(store, clock):
    bench = await Bench.set_up(store, clock, taking={"head_start_seconds": 0})
    await bench.put(b"low", priority=LOW)
    clock.advance(0.001)
    await bench.put(b"high", priority=HIGH)

    assert await bench.bodies() == [b"low", b"high"]


async def test_a_priority_delivers_nothing_before_it_is_due(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"high", priority=HIGH, delay_seconds=5)
    await bench.put(b"low", priority=LOW, delay_seconds=3)

    received = await bench.take()

    assert (received.messages, received.next_due_at_ms) == ([], clock() + 3000)
    clock.advance(5)
    assert await bench.bodies() == [b"high", b"low"]


async def test_a_receive_takes_what_its_limit_allows_from_all_levels_together(store, clock):
    bench = await Bench.set_up(store, clock)
    for number, priority in zip(range(9), (LOW, NORMAL, HIGH) * 3, strict=True):
        await bench.put(b"%d" % number, priority=priority)

    assert await bench.bodies(4) == [b"2", b"5", b"8", b"1"]
    assert await bench.bodies(9) == [b"4", b"7", b"0", b"3", b"6"]


async def test_a_message_with_priority_is_leased_retried_settled_and_buried_like_any_other(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=1, dead_letter_queue="dead")
    await bench.put(b"1", priority=HIGH)

    await bench.retry((await bench.receive())[0])
    (again,) = await bench.receive()
    await bench.retry(again)

    dead = await bench.of("dead")
    (letter,) = await dead.receive()
    assert (again.attempts, letter.priority, await bench.count()) == (2, HIGH, 0)


async def test_priority_counts_in_the_dead_letter_queue_and_after_a_redrive(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    await bench.put(b"low", priority=LOW)
    await bench.put(b"high", priority=HIGH)
    for message in await bench.receive():
        await bench.retry(message)
    dead = await bench.of("dead")

    assert [message.priority for message in await store.peek(dead.queue.id, 9, clock())] == [LOW, HIGH]
    await store.redrive(dead.queue.id, clock())

    assert await bench.bodies() == [b"high", b"low"]


async def test_the_receiver_hears_whether_a_find_is_urgent(store, clock):
    bench = await Bench.set_up(store, clock)
    urgent = []

    def decline(count, ready_since_ms, is_urgent):
        urgent.append((count, ready_since_ms, is_urgent))
        return False

    began_ms = clock()
    await bench.put(b"low", priority=LOW)
    await bench.take(is_ready=decline)
    clock.advance(1)
    await bench.put(b"high", priority=HIGH)
    await bench.take(is_ready=decline)

    assert urgent == [(1, began_ms, False), (2, began_ms, True)]


async def test_an_urgent_batch_does_not_wait_where_the_consumer_flushes_on_high(store, clock):
    made = {flush: queue(f"q{number}", taking={"flush_on": flush}) for number, flush in zip(count(), (None, "high"))}
    taken = {}
    for flush, one in made.items():
        bench = Bench(store, clock, await store.create_queue(one))
        await bench.put(b"normal")
        before = await _in_window(bench, one.consumer)
        await bench.put(b"high", priority=HIGH)
        taken[flush] = (before, await _in_window(bench, one.consumer))

    assert taken == {None: ([], []), "high": ([], [b"high", b"normal"])}


async def _in_window(bench: Bench, consumer: Consumer | None) -> list[bytes]:
    received = await bench.take(is_ready=window.of(consumer, bench.clock))
    return [message.body for message in received.messages]


async def test_peek_shows_in_order_of_arrival_whatever_the_priority(store, clock):
    bench = await Bench.set_up(store, clock)
    await bench.put(b"low", priority=LOW)
    await bench.put(b"high", priority=HIGH)

    shown = await store.peek(bench.queue.id, 10, clock())

    assert [(message.body, message.priority) for message in shown] == [(b"low", LOW), (b"high", HIGH)]
