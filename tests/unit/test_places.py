"""Places: which one a batch gets, who stands in line before it, and when it is free again."""

import asyncio

import pytest

from millrace.coordination.places import IN_LINE_MS, Places, choose
from millrace.coordination.sweep import sweep
from millrace.sql.postgres.preparing import prepare
from millrace.sql.stores import postgres_store
from millrace.testing import ManualClock
from tests.clusters import emptied_database, template_database


def test_the_first_free_place_is_taken():
    assert choose([(1, "a"), (3, "b")], 3, "c") == 2


def test_who_finds_none_free_stands_at_the_end_of_the_line():
    assert choose([(1, "a"), (-1, "b"), (-4, "c")], 1, "d") == -5


def test_who_asks_again_keeps_the_place_in_line():
    assert choose([(1, "a"), (-1, "b"), (-4, "c")], 1, "c") == -4


def test_nobody_passes_those_who_came_before():
    assert choose([(-2, "b")], 1, "a") == -3
    assert choose([(-2, "b"), (-3, "a")], 1, "b") == 1


def test_a_second_free_place_is_for_the_second_in_line():
    assert choose([(-1, "b"), (-2, "c"), (-3, "d")], 2, "c") == 1
    assert choose([(-1, "b"), (-2, "c"), (-3, "d")], 2, "d") == -3


def test_a_limit_that_was_lowered_lets_nobody_in_until_enough_have_gone():
    assert choose([(1, "a"), (2, "a"), (3, "a")], 1, "b") == -1


@pytest.fixture
async def servers():
    """Two servers' clock and stores on one database."""
    clock = ManualClock()
    with emptied_database(template_database("engine", prepare)) as url:
        stores = [postgres_store(url, clock) for _ in range(2)]
        yield clock, stores
        for store in stores:
            await store.close()


async def test_a_place_that_is_held_at_one_server_is_free_for_another_once_it_is_given_back(servers):
    clock, stores = servers
    first, second = (Places(store, clock) for store in stores)

    taken = await first.take("q", 1, 60_000)
    refused = await second.take("q", 1, 60_000)
    await first.give_back("q", taken)

    assert (taken, refused) == (1, None)
    assert await first.take("q", 1, 60_000) is None
    assert await second.take("q", 1, 60_000) == 1


async def test_the_place_of_a_killed_server_ends_with_its_lease_and_is_kept_as_long_as_it_is_extended(servers):
    clock, stores = servers
    killed, other = (Places(store, clock) for store in stores)
    await killed.take("q", 1, 60_000)

    clock.advance(40)
    await killed.extend("q", 1, 60_000)
    clock.advance(40)
    assert await other.take("q", 1, 60_000) is None

    clock.advance(21)
    assert await other.take("q", 1, 60_000) == 1


async def test_who_stood_in_line_and_went_away_keeps_nobody_out_for_long(servers):
    clock, stores = servers
    first, second = (Places(store, clock) for store in stores)
    await first.take("q", 1, 60_000)
    await second.take("q", 1, 60_000)
    await first.give_back("q", 1)

    clock.advance(IN_LINE_MS / 1000)

    assert await first.take("q", 1, 60_000) == 1


async def test_a_place_whose_return_could_not_be_written_is_taken_anew_by_its_holder(servers):
    clock, stores = servers
    places = Places(stores[0], clock)
    await places.take("q", 1, 60_000)
    places._using.clear()  # what a lost answer leaves

    assert await places.take("q", 1, 60_000) == 1


async def test_who_stands_in_line_is_woken_when_a_place_becomes_free(servers):
    clock, stores = servers
    first, second = (Places(store, clock) for store in stores)
    with stores[1].watch("q") as changed:
        await first.take("q", 1, 60_000)
        await second.take("q", 1, 60_000)
        changed.clear()

        await first.give_back("q", 1)

        async with asyncio.timeout(2):
            await changed.wait()


async def test_ended_places_are_swept(servers):
    clock, stores = servers
    await Places(stores[0], clock).take("q", 1, 60_000)

    clock.advance(61)

    assert await sweep(stores[0], clock()) == 1
