"""Sends with an idempotency key: stored once, whatever happens between them."""

import asyncio

import msgspec
import pytest

from millrace.broker import Broker
from millrace.errors import BacklogFull, IdempotencyKeyReused, InvalidMessage
from millrace.idempotency import Once
from millrace.limits import ROWS_PER_TRANSACTION
from millrace.message import ContentType, Outgoing
from millrace.placing import Repeated
from millrace.runtime.reaper import Reaper
from millrace.telemetry import Telemetry
from tests.conformance.made import Bench, queue, stamped

DAY = 86_400


def once(key: str = "key", content: str = "content") -> Once:
    return Once(key_hash=key.encode().ljust(32), content_hash=content.encode().ljust(32))


async def send(bench, mark=None, body=b"1"):
    """Send one message with a key; give its id and the answer."""
    message = stamped(bench.clock(), body)
    return message.id, await bench.store.send(bench.queue.id, [message], mark or once())


async def test_a_repeat_stores_nothing_and_gives_the_present_backlog_and_the_first_id(store, clock):
    bench = await Bench.set_up(store, clock)
    first_id, first = await send(bench)
    await bench.send(b"another")

    _, repeated = await send(bench)

    assert not isinstance(first, Repeated)
    assert (repeated.first_id, repeated.count, repeated.bytes) == (first_id, 2, 8)
    assert await bench.count() == 2


async def test_other_content_with_the_same_key_is_refused_and_changes_nothing(store, clock):
    bench = await Bench.set_up(store, clock)
    first_id, _ = await send(bench)

    with pytest.raises(IdempotencyKeyReused, match="within the last 86400 s"):
        await send(bench, once(content="other"))

    assert await bench.count() == 1
    assert (await send(bench))[1].first_id == first_id


async def test_concurrent_repeats_are_stored_once(store, clock):
    bench = await Bench.set_up(store, clock)

    answers = await asyncio.gather(*(send(bench, once(f"key {number % 2}")) for number in range(40)))

    assert await bench.count() == 2
    assert sum(isinstance(answer, Repeated) for _, answer in answers) == 38
    assert {answer.count for _, answer in answers} == {2}


async def test_neighbours_of_a_group_with_and_without_a_key_do_not_touch_each_other(store, clock):
    bench = await Bench.set_up(store, clock)

    answers = await asyncio.gather(
        bench.send(b"1"), send(bench), bench.send(b"1"), send(bench), send(bench, once(content="other")),
        return_exceptions=True,
    )  # fmt: skip

    assert isinstance(answers[4], IdempotencyKeyReused)
    assert await bench.count() == 3


async def test_a_key_belongs_to_its_queue(store, clock):
    one, two = await Bench.set_up(store, clock, name="one"), await Bench.set_up(store, clock, name="two")
    await send(one)

    await send(two, once(content="other"))

    assert (await one.count(), await two.count()) == (1, 1)


async def test_a_key_guards_after_its_message_was_settled(store, clock):
    bench = await Bench.set_up(store, clock)
    await send(bench)
    (message,) = await bench.receive()
    await bench.ack(message)

    await send(bench)

    assert await bench.count() == 0


async def test_a_key_guards_after_a_purge(store, clock):
    bench = await Bench.set_up(store, clock)
    await send(bench)
    await store.purge(bench.queue.id, clock())
    while await store.sweep():
        pass

    _, repeated = await send(bench)

    assert (isinstance(repeated, Repeated), repeated.count) == (True, 0)


async def test_the_successor_of_a_deleted_queue_does_not_know_its_keys(store, clock):
    bench = await Bench.set_up(store, clock)
    await send(bench)
    await store.delete_queue("acc", bench.queue.id)
    successor = Bench(store, clock, await store.create_queue(queue()))

    await send(successor, once(content="other"))

    assert await successor.count() == 1


async def test_a_full_queue_answers_a_repeat(store, clock):
    bench = await Bench.set_up(store, clock, max_backlog_messages=1)
    await send(bench)

    _, repeated = await send(bench)

    assert repeated.count == 1


async def test_a_send_that_was_refused_leaves_its_key_free(store, clock):
    bench = await Bench.set_up(store, clock, max_backlog_messages=1)
    await bench.send()
    with pytest.raises(BacklogFull):
        await send(bench)
    (message,) = await bench.receive()
    await bench.ack(message)

    _, answer = await send(bench, once(content="other"))

    assert (isinstance(answer, Repeated), await bench.count()) == (False, 1)


async def test_a_send_that_breaks_leaves_its_key_free(store, clock):
    bench = await Bench.set_up(store, clock)
    broken = msgspec.structs.replace(stamped(clock()), content_type=object())

    results = await asyncio.gather(
        send(bench, once("good")), store.send(bench.queue.id, [broken], once("bad")), return_exceptions=True
    )

    assert isinstance(results[1], Exception)
    assert [isinstance((await send(bench, once(key)))[1], Repeated) for key in ("good", "bad")] == [True, False]


async def test_a_key_guards_for_a_day_from_the_first_send_and_then_anew(store, clock):
    bench = await Bench.set_up(store, clock)
    await send(bench)
    clock.advance(DAY - 0.001)
    await send(bench)
    clock.advance(0.001)

    new_id, answer = await send(bench, once(content="other"))
    await store.expire_idempotency_keys(clock())
    _, repeated = await send(bench, once(content="other"))

    assert (isinstance(answer, Repeated), answer.count) == (False, 2)
    assert repeated.first_id == new_id


async def test_keys_whose_day_is_over_are_removed_in_chunks(store, clock):
    bench = await Bench.set_up(store, clock)
    await asyncio.gather(*(send(bench, once(str(number))) for number in range(ROWS_PER_TRANSACTION + 1)))
    clock.advance(DAY)
    await send(bench, once("young"))

    removed = []
    while chunk := await store.expire_idempotency_keys(clock()):
        removed.append(chunk)

    assert (sum(removed), max(removed) <= ROWS_PER_TRANSACTION) == (ROWS_PER_TRANSACTION + 1, True)
    assert isinstance((await send(bench, once("young")))[1], Repeated)


async def test_the_reaper_removes_keys_whose_day_is_over(store, clock):
    bench = await Bench.set_up(store, clock)
    await send(bench)
    clock.advance(DAY)

    await Reaper(store, clock, Telemetry()).sweep()

    assert await store.expire_idempotency_keys(clock()) == 0


async def test_the_broker_gives_a_repeat_the_id_of_the_first_time_and_does_not_count_it(store, clock):
    bench, telemetry, sent = await Bench.set_up(store, clock), Telemetry(), []
    telemetry.subscribe(lambda name, fields: sent.append(name), "message.sent")
    broker = Broker(store, clock, telemetry)

    ids = [(await broker.send(bench.queue, Outgoing(body=b"1"), idempotency_key="k"))[0] for _ in range(2)]

    assert ids[0] == ids[1] == (await bench.receive())[0].id
    assert sent == ["message.sent"]


@pytest.mark.parametrize(
    "other",
    [
        {"body": b"2"},
        {"body": b"1", "content_type": ContentType.TEXT},
        {"body": b"1", "delay_seconds": 0},
        {"body": b"1", "delay_seconds": 5.5},
    ],
)
async def test_the_broker_knows_other_content_by_body_content_type_and_delay(store, clock, other):
    bench = await Bench.set_up(store, clock)
    broker = Broker(store, clock, Telemetry())
    await broker.send_batch(bench.queue, [Outgoing(body=b"1")], idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        await broker.send_batch(bench.queue, [Outgoing(**other)], idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        await broker.send_batch(bench.queue, [Outgoing(body=b"1")], delay_seconds=5, idempotency_key="k")


async def test_what_is_cut_otherwise_into_messages_is_other_content(store, clock):
    bench = await Bench.set_up(store, clock)
    broker = Broker(store, clock, Telemetry())
    await broker.send_batch(bench.queue, [Outgoing(body=b"1"), Outgoing(body=b"23")], idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        await broker.send_batch(bench.queue, [Outgoing(body=b"12"), Outgoing(body=b"3")], idempotency_key="k")


async def test_headers_and_the_delay_of_the_queue_may_change_between_repeats(store, clock):
    bench = await Bench.set_up(store, clock)
    broker = Broker(store, clock, Telemetry())
    delayed = msgspec.structs.replace(
        bench.queue, settings=msgspec.structs.replace(bench.queue.settings, delivery_delay=9)
    )
    await broker.send(bench.queue, Outgoing(body=b"1", delay_seconds=5), idempotency_key="k")

    await broker.send(delayed, Outgoing(body=b"1", delay_seconds=5.0, headers={"a": "b"}), idempotency_key="k")

    assert await bench.count() == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "a\tb", "a\nb", "\x7f"])
async def test_the_broker_refuses_what_is_no_key(store, clock, key):
    bench = await Bench.set_up(store, clock)

    with pytest.raises(InvalidMessage, match="expected 1 to 255 printable ASCII characters"):
        await Broker(store, clock, Telemetry()).send(bench.queue, Outgoing(body=b"1"), idempotency_key=key)

    assert await bench.count() == 0
