import asyncio

import msgspec
import pytest

from millrace.errors import QueueNameTaken, QueueNotFound
from tests.conformance.made import Bench, queue, stamped


async def test_a_queue_is_found_by_id_and_by_exact_name(store):
    made = await store.create_queue(queue("orders"))

    assert await store.queue("acc", made.id) == made
    assert await store.queue_named("acc", "orders") == made
    assert await store.queue_named("acc", "order") is None


async def test_a_foreign_queue_is_as_good_as_missing(store):
    made = await store.create_queue(queue(account_id="other"))

    for attempt in (
        store.queue("acc", made.id),
        store.delete_queue("acc", made.id),
        store.update_queue("acc", made.id, lambda old: old),
    ):
        with pytest.raises(QueueNotFound):
            await attempt
    assert await store.queue("other", made.id) == made


async def test_names_are_unique_within_an_account_only(store):
    await store.create_queue(queue("same"))
    await store.create_queue(queue("same", account_id="other"))

    with pytest.raises(QueueNameTaken, match="Queue name 'same' is already taken"):
        await store.create_queue(queue("same"))


async def test_queues_are_listed_oldest_first(store):
    made = [await store.create_queue(queue(name)) for name in ("b", "c", "a")]
    await store.create_queue(queue("foreign", account_id="other"))

    assert await store.queues("acc") == made


async def test_a_change_replaces_the_queue(store):
    made = await store.create_queue(queue("before"))

    changed = await store.update_queue("acc", made.id, lambda old: msgspec.structs.replace(old, name="after"))

    assert (changed.name, changed.id) == ("after", made.id)
    assert await store.queue("acc", made.id) == changed
    assert await store.queue_named("acc", "before") is None


async def test_a_change_that_raises_changes_nothing(store):
    made = await store.create_queue(queue("q"))
    await store.create_queue(queue("taken"))

    with pytest.raises(QueueNameTaken):
        await store.update_queue("acc", made.id, lambda old: msgspec.structs.replace(old, name="taken"))

    assert await store.queue("acc", made.id) == made


async def test_a_dead_letter_queue_is_created_with_the_consumer_that_names_it(store):
    made = await store.create_queue(msgspec.structs.replace(queue("q"), jurisdiction="eu", consumer=None))

    named = queue(dead_letter_queue="dead").consumer
    await store.update_queue("acc", made.id, lambda old: msgspec.structs.replace(old, consumer=named))

    dead = await store.queue_named("acc", "dead")
    assert (dead.jurisdiction, dead.consumer) == ("eu", None)


async def test_a_deleted_queue_is_gone_and_its_name_is_free(store):
    made = await store.create_queue(queue("q"))

    await store.delete_queue("acc", made.id)

    with pytest.raises(QueueNotFound):
        await store.queue("acc", made.id)
    await store.create_queue(queue("q"))


async def test_a_watcher_is_told_after_the_commit_of_a_send(store, clock):
    bench = await Bench.set_up(store, clock)

    with store.watch(bench.queue.id) as changed:
        assert not changed.is_set()
        await bench.send()
        await asyncio.wait_for(changed.wait(), 5)


async def test_a_watcher_is_told_of_releases_burials_redrives_and_changes(store, clock):
    bench = await Bench.set_up(store, clock, max_retries=1, dead_letter_queue="dead")
    dead = await bench.of("dead")

    with store.watch(bench.queue.id) as changed, store.watch(dead.queue.id) as buried:
        for act in ("retry", "bury", "redrive", "update"):
            changed.clear()
            if act == "retry":
                await bench.send()
                changed.clear()
                await bench.retry((await bench.receive())[0])
            elif act == "bury":
                await bench.retry((await bench.receive())[0])
                await asyncio.wait_for(buried.wait(), 5)
                continue
            elif act == "redrive":
                await store.redrive(dead.queue.id, clock())
            else:
                await store.update_queue("acc", bench.queue.id, lambda old: old)
            await asyncio.wait_for(changed.wait(), 5)


async def test_a_transaction_that_raises_undoes_only_its_own_work(store):
    def fail(tx):
        tx.apply("delete_queue", {"id": kept.id})
        raise RuntimeError("no")

    kept = await store.create_queue(queue("kept"))
    results = await asyncio.gather(
        store.create_queue(queue("one")), store.write(fail), store.create_queue(queue("two")), return_exceptions=True
    )

    assert isinstance(results[1], RuntimeError)
    assert [found.name for found in await store.queues("acc")] == ["kept", "one", "two"]


async def test_a_hot_verb_that_breaks_does_not_take_its_group_along(store, clock):
    bench = await Bench.set_up(store, clock)
    broken = msgspec.structs.replace(stamped(clock()), sent_at_ms="not a number")

    results = await asyncio.gather(
        bench.send(b"1"), store.send(bench.queue.id, [broken]), bench.send(b"2"), return_exceptions=True
    )

    assert isinstance(results[1], Exception)
    assert await bench.count() == 2


async def test_the_store_tells_whether_it_can_write(store):
    await store.check()


async def test_the_queues_of_all_accounts_that_are_pushed_to_a_url_are_given(store):
    for name, account_id in (("one", "acc"), ("two", "other")):
        made = queue(name, account_id=account_id)
        pushed = msgspec.structs.replace(made.consumer, type="http_push", url="https://example.com/in", secret="s")
        await store.create_queue(msgspec.structs.replace(made, consumer=pushed))
    await store.create_queue(queue("pulled"))
    await store.create_queue(queue("bare", consumer=False))

    assert [found.name for found in await store.pushed_queues()] == ["one", "two"]
