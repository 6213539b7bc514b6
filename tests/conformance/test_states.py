"""States, and the feed of their changes."""

import asyncio
from contextlib import aclosing

import msgspec
import pytest

from millrace import limits
from millrace.coordination import states
from millrace.coordination.feed import follow, sse
from millrace.coordination.states import States
from millrace.coordination.sweep import sweep
from millrace.errors import InvalidInput, StateChanged, TooLarge

RUN = ("acc", "run", "r1")


async def test_versions_count_from_one_and_the_last_is_the_state(store, clock):
    kept = States(store, clock)

    assert await kept.get(*RUN) is None
    made = [await kept.put(*RUN, {"step": step}) for step in range(3)]

    assert [state.version for state in made] == [1, 2, 3]
    assert await kept.get(*RUN) == made[-1]
    assert await kept.history(*RUN) == made
    assert await kept.history(*RUN, after_version=1, limit=1) == [made[1]]


async def test_a_put_upon_another_version_changes_nothing_and_tells_the_present_one(store, clock):
    kept = States(store, clock)
    await kept.put(*RUN, {"n": 1}, expected_version=0)

    for expected in (0, 2):
        with pytest.raises(StateChanged, match=f"has version 1, expected was {expected}") as caught:
            await kept.put(*RUN, {"n": 2}, expected_version=expected)
        assert caught.value.version == 1

    assert (await kept.get(*RUN)).value == {"n": 1}


async def test_of_many_that_add_one_by_compare_and_set_none_is_lost(store, clock):
    kept = States(store, clock)

    async def add_one() -> None:
        while True:
            state = await kept.get(*RUN)
            count, version = (state.value["n"], state.version) if state else (0, 0)
            try:
                return await kept.put(*RUN, {"n": count + 1}, expected_version=version)
            except StateChanged:
                continue

    await asyncio.gather(*[add_one() for _ in range(20)])

    state = await kept.get(*RUN)
    assert (state.value, state.version) == ({"n": 20}, 20)


async def test_accounts_kinds_and_keys_hold_states_apart(store, clock):
    kept = States(store, clock)
    places = [("acc", "a", "b:c"), ("acc", "a:b", "c"), ("acc", "a", "c"), ("other", "a", "b:c")]

    made = [await kept.put(*place, {"at": number}, expected_version=0) for number, place in enumerate(places)]

    assert [(await kept.get(*place)).value for place in places] == [state.value for state in made]


async def test_the_last_hundred_versions_are_kept(store, clock):
    def put_all(tx):
        for number in range(limits.STATE_VERSIONS + 7):
            states.put(tx, *RUN, {"n": number}, clock())

    await store.write(put_all)

    versions = [state.version for state in await States(store, clock).history(*RUN)]
    assert versions == list(range(8, limits.STATE_VERSIONS + 8))


async def test_a_removed_state_is_gone_with_its_history_and_counts_on_when_it_is_put_anew(store, clock):
    kept = States(store, clock)
    await kept.put(*RUN, {"n": 1})
    await kept.put(*RUN, {"n": 2})

    assert [await kept.remove(*RUN), await kept.remove(*RUN)] == [True, False]

    assert await kept.get(*RUN) is None
    assert [(state.version, state.value, state.is_removed) for state in await kept.history(*RUN)] == [(3, {}, True)]
    assert (await kept.put(*RUN, {"n": 3}, expected_version=0)).version == 4


async def test_a_removal_upon_another_version_is_refused(store, clock):
    kept = States(store, clock)
    await kept.put(*RUN, {"n": 1})

    with pytest.raises(StateChanged):
        await kept.remove(*RUN, expected_version=2)

    assert await kept.remove(*RUN, expected_version=1)


async def test_nothing_is_left_of_a_removed_state_after_a_day(store, clock):
    kept = States(store, clock)
    await kept.put(*RUN, {"n": 1})
    await kept.remove(*RUN)

    assert await sweep(store, clock.advance(limits.STATE_REMOVED_SECONDS - 1)) == 0
    assert await sweep(store, clock.advance(1)) == 1

    assert await kept.history(*RUN) == []


@pytest.mark.parametrize("value", [[1], "text", None, {"at": object()}, {"bad": "\ud800"}])
async def test_what_is_no_json_object_is_refused(store, clock, value):
    with pytest.raises(InvalidInput, match="JSON object"):
        await States(store, clock).put(*RUN, value)


async def test_a_state_of_more_than_a_megabyte_is_refused(store, clock):
    with pytest.raises(TooLarge, match="expected at most 1000000"):
        await States(store, clock).put(*RUN, {"text": "x" * limits.STATE_BYTES})


async def test_a_follower_gets_what_it_missed_and_then_each_change_once(store, clock):
    kept, seen = States(store, clock), []
    for number in range(3):
        await kept.put(*RUN, {"n": number})

    async with asyncio.timeout(5), aclosing(follow(store, *RUN, after_version=1)) as changes:
        async for state in changes:
            seen.append(state.version)
            if len(seen) >= 2 and state.version < 60:  # two at a time: one of them commits while the other is read
                await asyncio.gather(kept.put(*RUN, {}), kept.put(*RUN, {}))
            if state.version == 60:
                break

    assert seen == list(range(2, 61))


async def test_a_follower_misses_none_of_the_changes_of_many_writers(store, clock):
    kept = States(store, clock)

    async def collect() -> list[int]:
        async with asyncio.timeout(5), aclosing(follow(store, *RUN)) as changes:
            seen: list[int] = []
            async for state in changes:
                seen.append(state.version)
                if len(seen) == 90:
                    return seen
        return []

    async def write() -> None:
        for _ in range(30):
            await kept.put(*RUN, {})

    first, second, *_ = await asyncio.gather(collect(), collect(), write(), write(), write())

    assert first == second == list(range(1, 91))


async def test_a_follower_misses_no_change_that_commits_while_it_reads(store, clock):
    kept = States(store, clock)

    class Meanwhile:
        """The store, in which a change commits right after each read."""

        watch, look_again_seconds = store.watch, store.look_again_seconds

        async def read(self, fn):
            seen = await store.read(fn)
            await kept.put(*RUN, {})
            return seen

    async with asyncio.timeout(5), aclosing(follow(Meanwhile(), *RUN)) as changes:
        seen = [(await anext(changes)).version for _ in range(5)]

    assert seen == [1, 2, 3, 4, 5]


async def test_a_follower_is_told_of_a_removal(store, clock):
    kept = States(store, clock)
    await kept.put(*RUN, {"n": 1})

    async with asyncio.timeout(5), aclosing(follow(store, *RUN)) as changes:
        await anext(changes)
        await kept.remove(*RUN)
        told = await anext(changes)

    assert (told.version, told.is_removed) == (2, True)


async def test_a_follower_that_leaves_is_watched_for_no_more(store, clock):
    await States(store, clock).put(*RUN, {})
    changes = follow(store, *RUN)
    await anext(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.wait([waiting])

    assert not store._watchers


async def test_events_carry_version_and_value(store, clock):
    kept = States(store, clock)
    await kept.put(*RUN, {"text": "a\nb"})

    async with asyncio.timeout(5), aclosing(sse(follow(store, *RUN))) as events:
        first = await anext(events)
        await kept.remove(*RUN)
        removed = await anext(events)

    assert first == b'id: 1\ndata: {"text":"a\\nb"}\n\n'
    assert removed == b"event: removed\nid: 2\ndata: {}\n\n"
    assert not store._watchers


async def test_silence_is_filled_with_comments(store):
    async with aclosing(sse(follow(store, *RUN), keep_alive_seconds=0)) as events:
        comments = [await anext(events) for _ in range(2)]

    assert [comment.startswith(b":") for comment in comments] == [True, True]
    assert not store._watchers


async def test_the_data_of_an_event_is_the_state_as_json(store, clock):
    state = await States(store, clock).put(*RUN, {"ü": ["\u2028", None]})

    async with asyncio.timeout(5), aclosing(sse(follow(store, *RUN))) as events:
        lines = (await anext(events)).decode().split("\n")

    assert msgspec.json.decode(lines[1].removeprefix("data: ")) == state.value
