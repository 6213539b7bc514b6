"""Fair slots: who is next, and what waiting, cancelling and giving back do."""

import asyncio

import pytest

from millrace.runtime.sharing import FairSlots, next_name

TURNS = [
    ("nobody waits", {"a": 0}, [], 1, None),
    ("a first slot", {"a": 0}, ["a"], 1, "a"),
    ("no slot is free", {"a": 1}, ["a"], 1, None),
    ("the last free one is kept for who has none", {"a": 1, "b": 0}, ["a"], 2, None),
    ("who has none may have the kept one", {"a": 1, "b": 0}, ["a", "b"], 2, "b"),
    ("beyond what is kept, one may have many", {"a": 3, "b": 0}, ["a"], 5, "a"),
    ("two are kept for two", {"a": 3, "b": 0, "c": 0}, ["a"], 5, None),
    ("the one with fewest goes first", {"a": 2, "b": 1}, ["a", "b"], 4, "b"),
    ("of equals the one who asked first", {"a": 1, "b": 1}, ["b", "a"], 4, "b"),
    ("nothing is kept when everybody has one", {"a": 2, "b": 1}, ["a"], 4, "a"),
]


@pytest.mark.parametrize(("held", "waiting", "size", "expected"), [row[1:] for row in TURNS], ids=[r[0] for r in TURNS])
def test_whose_turn_it_is(held, waiting, size, expected):
    assert next_name(held, waiting, size) == expected


async def granted(asked: list[asyncio.Task[None]]) -> list[bool]:
    """Let everything settle and say who has a slot."""
    for _ in range(3):
        await asyncio.sleep(0)
    return [task.done() for task in asked]


def ask(slots: FairSlots, *names: str) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(slots.take(name)) for name in names]


def test_there_is_one_slot_for_each_at_least():
    assert FairSlots(1, ["a", "b", "c"]).size == 3
    assert FairSlots(5, ["a", "b", "c"]).size == 5


async def test_a_queue_with_a_deep_backlog_leaves_a_slot_to_the_other():
    slots = FairSlots(3, ["deep", "quiet"])
    asked = ask(slots, "deep", "deep", "deep", "quiet")

    assert await granted(asked) == [True, True, False, True]

    slots.give_back("quiet")
    assert await granted(asked) == [True, True, False, True]

    slots.give_back("deep")
    assert await granted(asked) == [True, True, True, True]


async def test_equals_alternate():
    slots = FairSlots(2, ["a", "b"])
    await slots.take("a")
    await slots.take("b")
    asked = ask(slots, "a", "a", "b")
    await granted(asked)

    slots.give_back("a")
    slots.give_back("b")

    assert await granted(asked) == [True, False, True]


async def test_who_is_cancelled_while_waiting_gets_nothing_and_takes_nothing():
    slots = FairSlots(1, ["a"])
    first, second, third = ask(slots, "a", "a", "a")
    await granted([first])

    second.cancel()
    await granted([second])
    slots.give_back("a")

    assert await granted([third]) == [True]


async def test_who_is_cancelled_in_the_moment_of_the_grant_gives_it_back():
    slots = FairSlots(1, ["a"])
    await slots.take("a")
    second, third = ask(slots, "a", "a")
    await granted([second])

    slots.give_back("a")
    second.cancel()

    assert await granted([third]) == [True]
    assert second.cancelled()


async def test_a_stranger_is_refused():
    with pytest.raises(KeyError, match="is none of a, b"):
        await FairSlots(1, ["a", "b"]).take("c")
