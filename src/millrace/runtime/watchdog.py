"""The watchdog: tells of a handler that blocks the event loop, while it does."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from types import FrameType

import millrace
from millrace import handlers
from millrace.telemetry import Telemetry

BEAT_SECONDS = 0.5
BLOCKED_SECONDS = 1.0
OURS = str(Path(millrace.__file__).parent)


class Watchdog:
    """A thread that looks whether the loop still turns; it is made in the loop's own thread."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._beaten_at = monotonic()
        self._beat()
        threading.Thread(target=self._watch, name="millrace-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _beat(self) -> None:
        self._beaten_at = monotonic()
        if not self._stopped.is_set():
            self._loop.call_later(BEAT_SECONDS, self._beat)

    def _watch(self) -> None:
        told_of = 0.0
        while not self._stopped.wait(BEAT_SECONDS):
            beaten_at = self._beaten_at
            if monotonic() - beaten_at > BEAT_SECONDS + BLOCKED_SECONDS and beaten_at != told_of:
                told_of = beaten_at
                self._tell(monotonic() - beaten_at)

    def _tell(self, seconds: float) -> None:
        foreign = [frame for frame in _frames(sys._current_frames().get(self._watched)) if not _is_ours(frame)]  # noqa: SLF001 - the documented way to another thread's stack
        if foreign:  # else it is no handler's doing
            handler, place = foreign[0].f_code, foreign[-1]
            self._telemetry.emit(
                "loop.blocked",
                handler=f"{Path(handler.co_filename).stem}.{handler.co_qualname}",
                place=f"{place.f_code.co_filename}:{place.f_lineno}",
                duration_ms=round(seconds * 1000),
            )


def _frames(innermost: FrameType | None) -> Iterator[FrameType]:
    """Give the frames that a handler's call consists of, outermost first: those above our own `call`."""
    frames: list[FrameType] = []
    while innermost is not None and innermost.f_globals.get("__name__") != handlers.calls.__name__:
        frames.append(innermost)
        innermost = innermost.f_back
    yield from reversed(frames if innermost is not None else [])


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OURS)
