import pytest

from millrace.agent.idle import Idle
from millrace.agent.verdict import Verdict, verdict_of
from millrace.errors import InvalidInput, ObjectNotFound, Overloaded, ServerFailed, ServerUnreachable


def test_an_upload_that_is_not_there_yet_comes_again_in_five_seconds_without_an_attempt() -> None:
    """X63."""
    verdict = verdict_of(ObjectNotFound("no object has the key 'x'"))

    assert verdict == Verdict(status="failed", error="upload not there yet", postpone_seconds=5)


@pytest.mark.parametrize("error", [ServerUnreachable("away"), Overloaded("later"), ServerFailed("broken")])
def test_a_server_that_is_away_costs_no_attempt(error: Exception) -> None:
    verdict = verdict_of(error)

    assert (verdict.status, verdict.postpone_seconds) == ("failed", 30)


@pytest.mark.parametrize("error", [ValueError("no such page"), InvalidInput("too long"), KeyError("x")])
def test_anything_else_costs_one(error: Exception) -> None:
    verdict = verdict_of(error)

    assert (verdict.status, verdict.postpone_seconds) == ("failed", None)
    assert verdict.error.startswith(type(error).__name__)


def test_the_sentence_of_an_error_is_cut() -> None:
    assert len(verdict_of(ValueError("x" * 10_000)).error) == 500


def test_pauses_grow_up_to_five_seconds_until_there_is_something() -> None:
    """S2-56."""
    idle = Idle(lambda: 1.0)

    assert [idle.next_seconds() for _ in range(7)] == [0.25, 0.5, 1, 2, 4, 5, 5]
    idle.reset()
    assert idle.next_seconds() == 0.25


def test_chance_shortens_a_pause_to_half_of_it_at_most() -> None:
    assert Idle(lambda: 0.0).next_seconds() == 0.125
