import pytest

from millrace.runtime.scaling import AUTOMATIC_MAXIMUM, next_concurrency
from millrace.runtime.window import is_ready, look_again_ms


@pytest.mark.parametrize(
    ("count", "waited_ms", "wait_ms", "ready"),
    [(5, 0, 1000, True), (4, 0, 1000, False), (1, 1000, 1000, True), (1, 999, 1000, False), (1, 0, 0, True)],
)
def test_a_batch_is_ready_when_full_or_old_enough(count, waited_ms, wait_ms, ready):
    assert is_ready(count, 10_000 - waited_ms, batch_size=5, max_wait_time_ms=wait_ms, now_ms=10_000) is ready


@pytest.mark.parametrize(
    ("ready_since", "next_due", "expected"),
    [(None, None, None), (100, None, 600), (None, 900, 900), (100, 300, 300), (100, 900, 600)],
)
def test_when_to_look_again(ready_since, next_due, expected):
    assert look_again_ms(ready_since, next_due, 500) == expected


@pytest.mark.parametrize(
    ("present", "waiting", "failed", "maximum", "expected"),
    [
        (1, 100, False, None, 2),
        (1, 9, False, None, 1),
        (5, 9, False, None, 4),
        (5, 100, True, None, 4),
        (2, 100, False, 2, 2),
        (1, 100, False, 1, 1),
        (AUTOMATIC_MAXIMUM, 10_000, False, None, AUTOMATIC_MAXIMUM),
        (7, 100, False, 3, 3),
    ],
)
def test_concurrency_follows_the_backlog(present, waiting, failed, maximum, expected):
    stepped = next_concurrency(present, waiting=waiting, batch_size=10, failed=failed, maximum=maximum)

    assert stepped == expected
