"""Where scans begin.

What was taken leaves entries in the indexes until vacuum comes by, which a snapshot that somebody
holds can put off for hours; a scan that begins behind them never sees them.

A cursor is a hint of this process, and only goes by it while scans come one after the other: then those from the start,
which see all the dead, get a twentieth of the time. What comes in before it (a message whose send was under way, one
that another server let go) is found when the scan begins anew, at the latest a second later; only where that scan takes
so long that it would be a fifth of the time does it wait longer.
"""

from collections import defaultdict
from time import monotonic
from types import TracebackType
from typing import Self

BUSY_SCANS = 8  # from the start, one after the other with hardly a rest between
REST_FACTOR = 20  # of what a scan from the start took
RESCAN_SECONDS = 1.0
LEAST_REST_FACTOR = 5


class Cursor:
    """Where one scan begins; a `with` block around each scan measures those from the start."""

    __slots__ = ("_again_at", "_began", "_busy", "_ended", "_rest", "begin_at", "pause_ms", "position")

    def __init__(self) -> None:
        self.position = self.begin_at = self.pause_ms = 0
        self._again_at = self._began = self._ended = self._rest = 0.0
        self._busy = 0

    def may_rescan(self) -> bool:
        """Say whether the next scan is one from the start."""
        return monotonic() >= self._again_at

    def __enter__(self) -> Self:
        self._began = monotonic()
        self.begin_at = 0 if self._began >= self._again_at else self.position
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._began < self._again_at:
            return
        self._busy = self._busy + 1 if self._began - self._ended < 2 * self._rest else 0
        self._ended = monotonic()
        self._rest = rest_after(self._ended - self._began)
        pause = self._rest if self._busy >= BUSY_SCANS else 0.0
        self._again_at, self.pause_ms = self._ended + pause, round(pause * 1000) + 1


def rest_after(scan_seconds: float) -> float:
    """Give the seconds that scans begin at the cursor, after one from the start has taken so long."""
    return max(min(REST_FACTOR * scan_seconds, RESCAN_SECONDS), LEAST_REST_FACTOR * scan_seconds)


class Cursors:
    """The cursors of a process, by lane and priority."""

    def __init__(self) -> None:
        self._ready: defaultdict[tuple[int, int], Cursor] = defaultdict(Cursor)
        self._glance: defaultdict[tuple[int, int], Cursor] = defaultdict(Cursor)
        self._due: defaultdict[tuple[int, int], Cursor] = defaultdict(Cursor)
        self._oldest: defaultdict[int, Cursor] = defaultdict(Cursor)

    def ready(self, lane: int, priority: int) -> Cursor:
        """Give the cursor of what is taken."""
        return self._ready[lane, priority]

    def glance(self, lane: int, priority: int) -> Cursor:
        """Give the one of what is looked at."""
        return self._glance[lane, priority]

    def due(self, lane: int, priority: int) -> Cursor:
        """Give the one of what becomes visible next."""
        return self._due[lane, priority]

    def oldest(self, lane: int) -> Cursor:
        """Give the one of a lane's first key."""
        return self._oldest[lane]
