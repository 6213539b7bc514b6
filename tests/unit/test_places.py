"""Places: which one a batch gets, and who stands in line before it."""

from millrace.coordination.places import choose


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
