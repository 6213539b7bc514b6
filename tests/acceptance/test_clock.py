"""Delays, leases and retention keep their length whatever happens to the machine's wall clock."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import IS_SOAK, Server

DELAY_SECONDS = 3
LEASE_SECONDS = 2
LATE_SECONDS = 1
ALL_SECONDS = 15
EARLY_SECONDS = 0.05
HOUR, WEEK = 3_600, 7 * 24 * 3_600

SHIFTS = {"3 h on": 3 * HOUR, "5 s back": -5, "2 weeks back": -2 * WEEK}
if IS_SOAK:
    SHIFTS |= {"5 s on": 5, "3 h back": -3 * HOUR, "2 weeks on": 2 * WEEK}


class Span(NamedTuple):
    """The monotonic times between which something was decided."""

    began: float
    ended: float

    def plus(self, seconds: float) -> "Span":
        return Span(self.began + seconds, self.ended + seconds)


class WallClock:
    """A server and the wall clock that it sees."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "shift"
        self._file.write_text("0")
        environ = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK_FILE": str(self._file)}
        self.server = Server(folder / "data", environ=environ)

    def set(self, seconds: int) -> None:
        self._file.write_text(str(seconds))


@pytest.fixture
def wall_clock(shifted_clock: Path, tmp_path: Path) -> Iterator[WallClock]:
    clock = WallClock(shifted_clock, tmp_path)
    with clock.server:
        yield clock


def test_the_clock_of_these_tests_can_be_set(shifted_clock: Path, tmp_path: Path) -> None:
    clock = WallClock(shifted_clock, tmp_path)
    clock.set(2 * WEEK)

    with clock.server as server:
        started_at = server.log_lines()[-1]["timestamp"]

    assert started_at > time.strftime("%Y-%m-%dT", time.gmtime(time.time() + 2 * WEEK - 60))


@pytest.mark.parametrize("seconds", SHIFTS.values(), ids=SHIFTS.keys())
@pytest.mark.parametrize("is_restarted", [False, True], ids=["while it runs", "between two runs"])
def test_nothing_is_early_late_or_gone_when_the_wall_clock_is_set(
    wall_clock: WallClock, seconds: int, *, is_restarted: bool
) -> None:
    server = wall_clock.server
    queue_id = server.create_queue("steady", consumer={"type": "http_pull"})
    due = {"leased": _push(server, queue_id, "leased")}
    ((leased, leased_at),) = _pull(server, queue_id, lease_seconds=LEASE_SECONDS)
    due["leased"] = leased_at.plus(LEASE_SECONDS)
    due["delayed"] = _push(server, queue_id, "delayed", delay_seconds=DELAY_SECONDS)
    due["later"] = _push(server, queue_id, "later", delay_seconds=DELAY_SECONDS + 1)

    if is_restarted:
        assert server.stop() == 0
    wall_clock.set(seconds)
    if is_restarted:
        server.start()
    due["afterwards"] = _push(server, queue_id, "afterwards")

    deliveries = _pull_all(server, queue_id, set(due))
    for body, (message, pulled) in deliveries.items():
        early, late = due[body].began - pulled.ended, pulled.began - max(due[body].ended, due["afterwards"].ended)
        assert early < EARLY_SECONDS, f"{body} came {early} s early"
        assert late < LATE_SECONDS, f"{body} came {late} s late"
        assert (message["id"] == leased["id"]) == (body == "leased")
    stamps = [deliveries[body][0]["timestamp_ms"] for body in ("leased", "delayed", "later", "afterwards")]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] <= 1000 * (due["afterwards"].ended - leased_at.began + 1)
    assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == len(due)


def test_a_clock_that_is_set_again_and_again_moves_no_time_stamp_back(wall_clock: WallClock) -> None:
    server = wall_clock.server
    queue_id = server.create_queue("restless", consumer={"type": "http_pull", "settings": {"batch_size": 100}})

    for number, seconds in enumerate(SHIFTS.values()):
        _push(server, queue_id, f"before-{number}")
        server.kill()
        wall_clock.set(seconds)
        server.start()
        _push(server, queue_id, f"after-{number}")

    messages = [message for message, _ in _pull(server, queue_id)]
    stamps = [message["timestamp_ms"] for message in messages]
    assert [message["body"] for message in messages] == [
        f"{when}-{number}" for number in range(len(SHIFTS)) for when in ("before", "after")
    ]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] < 60_000


def _push(server: Server, queue_id: str, body: str, *, delay_seconds: float = 0) -> Span:
    """Push a message and give the time in which it becomes due."""
    began = time.monotonic()
    message = {"body": body, "content_type": "text", "delay_seconds": delay_seconds}
    assert server.v4("POST", f"/queues/{queue_id}/messages", message).status == 200
    return Span(began, time.monotonic()).plus(delay_seconds)


def _pull(server: Server, queue_id: str, *, lease_seconds: int = 60) -> list[tuple[dict[str, Any], Span]]:
    """Pull messages, and give each with the time of the request."""
    began = time.monotonic()
    wanted = {"visibility_timeout_ms": lease_seconds * 1000}
    messages = server.v4("POST", f"/queues/{queue_id}/messages/pull", wanted).result["messages"]
    span = Span(began, time.monotonic())
    return [(message, span) for message in messages]


def _pull_all(server: Server, queue_id: str, bodies: set[str]) -> dict[str, tuple[dict[str, Any], Span]]:
    """Pull until all have come once."""
    found: dict[str, tuple[dict[str, Any], Span]] = {}
    until = time.monotonic() + ALL_SECONDS
    while set(found) != bodies:
        assert time.monotonic() < until, f"only {sorted(found)} came"
        for message, span in _pull(server, queue_id):
            assert message["body"] not in found
            found[message["body"]] = message, span
        time.sleep(0.02)
    return found
