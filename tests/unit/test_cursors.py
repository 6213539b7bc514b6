"""Where scans begin on PostgreSQL: at the start, unless they come so fast that the dead would be walked over all the time."""

import pytest

from millrace.sql.postgres import cursors
from millrace.sql.postgres.cursors import BUSY_SCANS, Cursor, rest_after


class Watch:
    """A clock for durations that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def scan(cursor: Cursor, watch: Watch, seconds: float) -> int:
    """Scan for so long; give where it began."""
    with cursor:
        watch.seconds += seconds
    cursor.position = 7
    return cursor.begin_at


def test_scans_with_a_rest_between_them_all_begin_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    monkeypatch.setattr(cursors, "monotonic", watch)
    cursor, began = Cursor(), []

    for _ in range(3 * BUSY_SCANS):
        began.append(scan(cursor, watch, 0.001))
        watch.seconds += 0.1

    assert set(began) == {0}


def test_scans_without_a_rest_begin_where_the_last_one_found_something(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    monkeypatch.setattr(cursors, "monotonic", watch)
    cursor = Cursor()

    began = [scan(cursor, watch, 0.001) for _ in range(100)]

    assert began[-1] == 7
    assert began.count(0) < 20


def test_a_scan_from_the_start_comes_at_the_latest_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    monkeypatch.setattr(cursors, "monotonic", watch)
    cursor = Cursor()
    for _ in range(100):
        scan(cursor, watch, 0.1)

    watch.seconds += 1.0

    assert scan(cursor, watch, 0.1) == 0


def test_a_scan_that_takes_very_long_gets_a_fifth_of_the_time() -> None:
    assert [rest_after(seconds) for seconds in (0.001, 0.1, 0.5)] == [0.02, 1.0, 2.5]
