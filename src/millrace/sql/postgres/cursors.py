"""Where scans begin.

What was taken leaves entries in the indexes until vacuum comes by, which a snapshot that somebody
holds can put off for hours; a scan that begins behind them never sees them.

A cursor is a hint of this process, and only goes by it while a scan from the start costs something. What comes in before
it (a message whose send was under way, one that another server let go) is found when the scan begins anew, at the
latest a second later.
"""

from collections import defaultdict
from time import monotonic
from types import TracebackType
from typing import Self

RESCAN_SECONDS = 1.0
COSTLY_SECONDS = 0.003  # a scan of a hundred rows without the dead takes a tenth of that
COSTLY_SCANS = 3  # so many in a row; one by itself may just have waited for the processor
COST_FACTOR = 20  # a scan from the start may then take a twentieth of the time


class Cursor:
    """Where one scan begins; a `with` block around each scan measures those from the start."""

    __slots__ = ("_again_at", "_began", "_costly", "begin_at", "pause_ms", "position")

    def __init__(self) -> None:
        self.position = self.begin_at = self.pause_ms = 0
        self._again_at = self._began = 0.0
        self._costly = 0

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
        if self.begin_at or self._began < self._again_at:
            return
        now = monotonic()
        cost = now - self._began
        self._costly = self._costly + 1 if cost > COSTLY_SECONDS else 0
        pause = min(RESCAN_SECONDS, cost * COST_FACTOR) if self._costly >= COSTLY_SCANS else 0.0
        self._again_at, self.pause_ms = now + pause, round(pause * 1000) + 1


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
