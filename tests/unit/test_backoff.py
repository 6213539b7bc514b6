import math

import pytest

from millrace.backoff import Backoff, make_backoff
from millrace.consumer import make_consumer_settings
from millrace.errors import InvalidConsumerSettings

MIDDLE = 0.5
FULL = {"kind": "exponential", "base_seconds": 2, "factor": 3, "cap_seconds": 60, "jitter": 0.25}


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Backoff(kind="fixed", base_seconds=5), [5, 5, 5, 5]),
        (Backoff(kind="linear", base_seconds=5), [5, 10, 15, 20]),
        (Backoff(kind="exponential", base_seconds=60), [120, 240, 480, 960]),  # 2^attempt minutes
        (Backoff(kind="exponential", base_seconds=1, factor=3), [3, 9, 27, 81]),
        (Backoff(kind="exponential", base_seconds=0.5, factor=1), [0.5, 0.5, 0.5, 0.5]),
        (Backoff(kind="linear", base_seconds=5, cap_seconds=12), [5, 10, 12, 12]),
        (Backoff(kind="fixed", base_seconds=0), [0, 0, 0, 0]),
    ],
)
def test_the_delay_follows_from_the_number_of_failures(backoff, delays):
    assert [backoff.seconds(failures, MIDDLE) for failures in (1, 2, 3, 4)] == delays


def test_a_delay_is_at_most_a_day_unless_another_cap_is_given():
    assert Backoff(kind="exponential", base_seconds=60).seconds(50, MIDDLE) == 86_400


@pytest.mark.parametrize("failures", [1000, 10**9, 10**100])
def test_no_number_of_failures_is_too_many(failures):
    steepest = Backoff(kind="exponential", base_seconds=86_400, factor=100)

    assert steepest.seconds(failures, 0.999) == 86_400
    assert Backoff(kind="exponential", base_seconds=0, factor=100).seconds(failures, MIDDLE) == 0
    assert math.isfinite(Backoff(kind="linear", base_seconds=1).seconds(failures, MIDDLE))


def test_jitter_spreads_the_delay_to_both_sides():
    backoff = Backoff(kind="fixed", base_seconds=100, jitter=0.1)

    assert [backoff.seconds(1, chance) for chance in (0, 0.25, 0.5)] == [90, 95, 100]
    assert 109.9 < backoff.seconds(1, 0.9999) < 110


def test_without_jitter_chance_changes_nothing():
    backoff = Backoff(kind="exponential", base_seconds=1)

    assert backoff.seconds(3, 0) == backoff.seconds(3, 0.9999) == 8


def test_jitter_goes_neither_below_nothing_nor_above_the_cap():
    backoff = Backoff(kind="fixed", base_seconds=100, cap_seconds=100, jitter=1)

    assert [backoff.seconds(1, chance) for chance in (0, 0.5, 0.9999)] == [0, 100, 100]


def test_a_backoff_is_made_from_its_fields():
    assert make_backoff(FULL) == Backoff(kind="exponential", base_seconds=2, factor=3, cap_seconds=60, jitter=0.25)
    assert make_backoff({"kind": "fixed", "base_seconds": 2.0}) == Backoff(kind="fixed", base_seconds=2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"base_seconds": 2}, "backoff.kind is None; expected 'fixed' or 'linear' or 'exponential'"),
        ({"kind": "cubic", "base_seconds": 2}, "backoff.kind is 'cubic'; expected"),
        ({"kind": ["fixed"], "base_seconds": 2}, "backoff.kind is ['fixed']; expected"),
        ({"kind": "fixed"}, "backoff.base_seconds is None; expected a number from 0 to 86400"),
        (FULL | {"base_seconds": -1}, "backoff.base_seconds is -1; expected a number from 0 to 86400"),
        (FULL | {"base_seconds": "2"}, "backoff.base_seconds is '2'; expected a number"),
        (FULL | {"base_seconds": True}, "backoff.base_seconds is True; expected a number"),
        (FULL | {"cap_seconds": math.inf}, "backoff.cap_seconds is inf; expected a number from 0 to 86400"),
        (FULL | {"cap_seconds": math.nan}, "backoff.cap_seconds is nan; expected a number from 0 to 86400"),
        (FULL | {"factor": 0.5}, "backoff.factor is 0.5; expected a number from 1 to 100"),
        (FULL | {"kind": "linear"}, "backoff.factor is for kind 'exponential'; leave it out with 'linear'"),
        (FULL | {"jitter": 1.1}, "backoff.jitter is 1.1; expected a number from 0 to 1"),
        (FULL | {"jiter": 1}, "backoff has a field 'jiter'; expected kind, base_seconds, factor, cap_seconds, jitter"),
        ("exponential", "backoff is 'exponential'; expected an object with kind and base_seconds"),
    ],
)
def test_what_is_wrong_with_a_backoff_is_said(given, sentence):
    with pytest.raises(InvalidConsumerSettings) as refusal:
        make_backoff(given)

    assert str(refusal.value).startswith(sentence)


def test_the_settings_of_a_consumer_take_a_backoff_attempts_and_a_flush():
    made = make_consumer_settings("worker", {"backoff": FULL, "max_attempts": 3, "flush_on": "high"})

    assert (made.backoff, made.max_attempts, made.flush_on) == (make_backoff(FULL), 3, "high")


def test_settings_that_are_none_are_as_those_that_are_left_out():
    nothing = {"backoff": None, "max_attempts": None, "flush_on": None, "max_concurrency": None}

    assert make_consumer_settings("worker", nothing) == make_consumer_settings("worker", {})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"max_attempts": 0}, "max_attempts is 0; expected a whole number from 1 to 100"),
        ({"max_attempts": 101}, "max_attempts is 101; expected a whole number from 1 to 100"),
        ({"max_attempts": 1.5}, "max_attempts is 1.5; expected a whole number from 1 to 100"),
        ({"flush_on": "low"}, "flush_on is 'low'; expected 'high'"),
        ({"flush_on": ["high"]}, "flush_on is ['high']; expected 'high'"),
    ],
)
def test_attempts_and_flush_have_their_ranges(given, sentence):
    with pytest.raises(InvalidConsumerSettings) as refusal:
        make_consumer_settings("worker", given)

    assert str(refusal.value) == sentence
