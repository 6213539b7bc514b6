"""Redrive by choice, by and by, and by itself."""

import pytest

from millrace.broker import Broker
from millrace.errors import InvalidRequest
from millrace.queue import AutoRedrive
from millrace.redriving import RedriveFilter
from millrace.runtime.reaper import REDRIVE_CHECK_MS, Reaper
from millrace.settlement import Reject
from millrace.telemetry import Telemetry
from tests.conformance.made import Bench, stamped


async def buried(store, clock, reasons=("timeout: bank", "no such user"), **settings):
    """Set up two queues with one dead-letter queue, and bury a message of each for each reason, a second apart."""
    benches = [await Bench.set_up(store, clock, name=name, dead_letter_queue="dead") for name in ("orders", "bills")]
    dead = await benches[0].of("dead")
    if settings:
        await store.update_queue("acc", dead.queue.id, lambda old: _with(old, **settings))
    for reason in reasons:
        for bench in benches:
            await bench.send(f"{bench.queue.name}: {reason}".encode())
            await bench.settle((await bench.receive())[0], Reject(reason))
        clock.advance(1)
    return *benches, dead


def broker_of(bench, telemetry=None):
    return Broker(bench.store, bench.clock, telemetry or Telemetry())


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [0, 1, 2, 3]),
        ({"reason": "timeout"}, [0, 1]),
        ({"reason": "Timeout"}, []),
        ({"origin": "bills"}, [1, 3]),
        ({"origin": "other"}, []),
        ({"sent_after_ms": 1000}, [2, 3]),
        ({"sent_before_ms": 1000}, [0, 1]),
        ({"limit": 3}, [0, 1, 2]),
        ({"origin": "bills", "limit": 1}, [1]),
        ({"reason": "user", "origin": "orders"}, [2]),
    ],
)
async def test_a_redrive_moves_what_is_wanted_and_leaves_the_rest(store, clock, wanted, numbers):
    began_ms = clock()
    _, _, dead = await buried(store, clock)
    ids = [message.id for message in await store.peek(dead.queue.id, 10, clock())]
    times = {name: began_ms + value for name, value in wanted.items() if name.endswith("_ms")}

    moved = await broker_of(dead).redrive(dead.queue, wanted=RedriveFilter(**wanted | times))

    left = [message.id for message in await store.peek(dead.queue.id, 10, clock())]
    assert moved == len(numbers)
    assert left == [one for number, one in enumerate(ids) if number not in numbers]


async def test_messages_are_chosen_by_id(store, clock):
    orders, _, dead = await buried(store, clock)
    chosen = (await store.peek(dead.queue.id, 10, clock()))[2]

    await broker_of(dead).redrive(dead.queue, wanted=RedriveFilter(ids=(chosen.id, "0" * 32)))

    assert [message.id for message in await orders.receive()] == [chosen.id]


async def test_many_are_moved_one_after_the_other_at_the_rate_asked_for(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    for _ in range(12):
        await store.send(bench.queue.id, [stamped(clock()) for _ in range(100)])
    while await bench.receive(100, lease_seconds=1):
        pass
    clock.advance(1)
    while await store.bury_lapsed(clock()):
        pass

    assert await broker_of(bench).redrive((await bench.of("dead")).queue, per_second=100) == 1200

    clock.advance(0.05)
    assert len(await bench.receive(100)) == 6
    clock.advance(11.93)
    rest = 0
    while chunk := await bench.receive(100):
        rest += len(chunk)
    assert (6 + rest, (await bench.take()).next_due_at_ms) == (1199, clock() + 10)


@pytest.mark.parametrize(("per_second", "limit"), [(0, None), (-1, None), (float("nan"), None), (None, 0)])
async def test_a_rate_or_limit_that_is_none_is_refused(store, clock, per_second, limit):
    _, _, dead = await buried(store, clock)

    with pytest.raises(InvalidRequest):
        await broker_of(dead).redrive(dead.queue, wanted=RedriveFilter(limit=limit), per_second=per_second)

    assert await dead.count() == 4


async def test_a_limit_counts_over_all_chunks(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=0, dead_letter_queue="dead")
    for _ in range(11):
        await store.send(bench.queue.id, [stamped(clock()) for _ in range(100)])
    while await bench.receive(100, lease_seconds=1):
        pass
    clock.advance(1)
    while await store.bury_lapsed(clock()):
        pass
    dead = await bench.of("dead")

    assert await broker_of(bench).redrive(dead.queue, wanted=RedriveFilter(limit=1050)) == 1050
    assert (await bench.count(), await dead.count()) == (1050, 50)


async def test_the_reaper_moves_back_what_has_been_buried_for_long_enough(store, clock):
    orders, bills, dead = await buried(store, clock, ("bad",), auto_redrive=AutoRedrive(after_seconds=60))
    telemetry, told = Telemetry(), []
    telemetry.subscribe(lambda name, fields: told.append((fields["queue"], fields["count"])), "message.redriven")
    reaper = Reaper(store, clock, telemetry)
    clock.advance(58)

    await reaper.sweep()
    assert await dead.count() == 2

    clock.advance(REDRIVE_CHECK_MS / 1000)
    await reaper.sweep()
    assert (await orders.count(), await bills.count(), told) == (1, 1, [("dead", 2)])


async def test_the_reaper_gives_up_on_what_came_back_too_often(store, clock):
    orders, _, dead = await buried(store, clock, ("bad",), auto_redrive=AutoRedrive(after_seconds=0, max_times=2))
    reaper, rounds = Reaper(store, clock, Telemetry()), 0

    while await dead.count() and rounds < 9:
        clock.advance(REDRIVE_CHECK_MS / 1000)
        await reaper.sweep()
        back = await orders.receive()
        if not back:
            break
        rounds += 1
        await orders.settle(back[0], Reject("bad again"))

    assert rounds == 2
    assert [letter.reason for letter in await store.peek(dead.queue.id, 9, clock())] == ["bad again"]


async def test_a_redrive_by_hand_counts_too(store, clock):
    orders, _, dead = await buried(store, clock, ("bad",), auto_redrive=AutoRedrive(after_seconds=0, max_times=1))
    await store.redrive(dead.queue.id, clock())
    await orders.settle((await orders.receive())[0], Reject("bad again"))

    await Reaper(store, clock, Telemetry()).sweep()

    assert await dead.count() == 1


async def test_the_queues_that_give_back_are_known(store, clock):
    _, _, dead = await buried(store, clock, ())

    before = await store.redriving_queues()
    await store.update_queue("acc", dead.queue.id, lambda old: _with(old, auto_redrive=AutoRedrive(after_seconds=9)))

    assert (before, [queue.name for queue in await store.redriving_queues()]) == ([], ["dead"])


def _with(queue, **settings):
    fields = {name: getattr(queue, name) for name in queue.__struct_fields__}
    old = queue.settings
    changed = {name: getattr(old, name) for name in old.__struct_fields__} | settings
    return type(queue)(**fields | {"settings": type(old)(**changed)})
