import pytest

from millrace.coordination.breaker import FAILURES_IN_A_ROW, Breaker, State

MIDDLE = 0.5


def after_failures(count: int, now_s: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(count):
        breaker = breaker.failed(now_s, MIDDLE)
    return breaker


def test_it_stays_closed_below_five_failures_in_a_row():
    breaker = after_failures(FAILURES_IN_A_ROW - 1)

    assert breaker.state(100) is State.CLOSED
    assert breaker.seconds_left(100) == 0


def test_a_success_begins_the_count_anew():
    breaker = after_failures(FAILURES_IN_A_ROW - 1).succeeded(100)

    assert breaker.failed(100, MIDDLE).state(100) is State.CLOSED


def test_the_fifth_failure_opens_it_for_a_second_and_then_one_may_try():
    breaker = after_failures(FAILURES_IN_A_ROW)

    assert (breaker.state(100.9), breaker.seconds_left(100.5)) == (State.OPEN, 0.5)
    assert breaker.state(101) is State.HALF_OPEN


def test_each_failed_try_doubles_the_pause_up_to_five_minutes():
    breaker, now_s, pauses = after_failures(FAILURES_IN_A_ROW), 100.0, []
    for _ in range(11):
        pauses.append(breaker.seconds_left(now_s))
        now_s += pauses[-1]
        breaker = breaker.failed(now_s, MIDDLE)

    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.8), (0.999999, 1.2)])
def test_chance_spreads_the_pause(chance, seconds):
    breaker = after_failures(FAILURES_IN_A_ROW - 1).failed(100, chance)

    assert breaker.seconds_left(100) == pytest.approx(seconds, abs=0.001)


def test_a_successful_try_closes_it_and_forgets_everything():
    breaker = after_failures(FAILURES_IN_A_ROW).failed(101, MIDDLE).succeeded(200)

    assert breaker == Breaker()


@pytest.mark.parametrize("verb", ["succeeded", "failed"])
def test_what_was_under_way_when_it_opened_changes_nothing(verb):
    breaker = after_failures(FAILURES_IN_A_ROW)

    after = breaker.succeeded(100.5) if verb == "succeeded" else breaker.failed(100.5, MIDDLE)

    assert after == breaker


def test_it_is_held_for_as_long_as_the_other_server_asks():
    breaker = Breaker().held(100, 60).held(110, 10)

    assert breaker.seconds_left(110) == 50
    assert breaker.state(160) is State.HALF_OPEN
    assert breaker.failures == 0
