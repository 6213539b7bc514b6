"""Time. A clock is a callable that gives epoch milliseconds.

Delays and leases must keep their length when somebody sets the machine's clock. So our time runs on the
machine's uptime, which nobody sets, and only leans towards the wall clock, by at most one millisecond a second.
"""

import os
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path

import msgspec

Clock = Callable[[], int]

SLEW = 0.001
UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
UPTIME_FILE = Path("/proc/uptime")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

EPOCH = datetime.fromtimestamp(0, UTC)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Stamp(msgspec.Struct, frozen=True):
    """The newest time a store has seen, and the uptime of which boot it was seen at."""

    now_ms: int
    boot_id: str
    uptime_ms: int


def boot_id() -> str:
    """Name this boot of the machine; empty where the system does not tell."""
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


def uptime_ms() -> int:
    """Give milliseconds that nobody can set, suspended time included where the system counts it."""
    return time.clock_gettime_ns(UPTIME) // 1_000_000


def boot_uptime_ms() -> int:
    """Give milliseconds since the boot as the system's own file tells them, to compare across processes.

    Tools that pretend another time to a process also bend its clocks, but not this file.
    """
    file = _uptime_file()
    return uptime_ms() if file is None else round(float(os.pread(file, 64, 0).split()[0]) * 1000)


@cache
def _uptime_file() -> int | None:
    """Open the file once: a process that has run out of descriptors must still know the time."""
    return os.open(UPTIME_FILE, os.O_RDONLY | os.O_CLOEXEC) if UPTIME_FILE.exists() else None


def starting_time_ms(last: Stamp | None, wall_ms: int, boot: str, uptime: int) -> int:
    """Decide what time it is at a start.

    In the same boot the uptime says how long the server was away, whatever the wall clock says. After a
    reboot the wall clock counts, but time never runs backwards past what the store has seen.
    """
    if last is None:
        return wall_ms
    if boot and boot == last.boot_id and uptime >= last.uptime_ms:
        return last.now_ms + uptime - last.uptime_ms
    return max(wall_ms, last.now_ms)


def wall_ms() -> int:
    """Give the machine's own idea of the time."""
    return time.time_ns() // 1_000_000


class SlewedClock:
    """Runs on uptime from a given start and leans gently towards the wall clock; never jumps, never goes back."""

    def __init__(self, start_ms: int, uptime: Clock = uptime_ms, wall: Clock = wall_ms) -> None:
        self._uptime, self._wall = uptime, wall
        self._seen_uptime_ms = uptime()
        self._now_ms = float(start_ms)
        self._lock = threading.Lock()  # the writer's thread reads the time, too

    def __call__(self) -> int:
        """Give epoch milliseconds, never fewer than before."""
        with self._lock:
            uptime = self._uptime()
            passed = uptime - self._seen_uptime_ms
            if passed <= 0:
                return int(self._now_ms)
            self._seen_uptime_ms = uptime
            now = self._now_ms + passed
            lean = passed * SLEW
            self._now_ms = now + min(lean, max(-lean, self._wall() - now))
            return int(self._now_ms)


def clock_after(last: Stamp | None) -> SlewedClock:
    """Make the clock of a process on a store that has seen `last`."""
    return SlewedClock(starting_time_ms(last, wall_ms(), boot_id(), boot_uptime_ms()))


def iso_milliseconds(at_ms: int) -> str:
    """Write a time as `2025-11-10T12:34:56.789Z`."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_iso_seconds(seconds)}.{milliseconds:03d}Z"


def read_rfc_3339(text: str) -> datetime | None:
    """Read a time such as `2026-12-24T18:00:00+01:00`; None when it is none, or has no offset."""
    if RFC_3339.fullmatch(text) is None:  # fromisoformat takes much more than that
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None


def epoch_ms(moment: datetime) -> int:
    """Give the epoch milliseconds of a time that has a zone; fractions of one are cut off."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


@lru_cache(maxsize=64)
def _iso_seconds(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
