"""How far a copy is, on standard error: one line that changes on a terminal, else a line now and then."""

import sys
from time import monotonic

from millrace.moving.copying import Progress

TERMINAL_SECONDS = 0.2
FILE_SECONDS = 5.0
FEW_ROWS = 1_000  # which are there at once


class ProgressLine:
    """Prints what it is told of, not more often than somebody reads it."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._began: tuple[str, str, int, float] | None = None
        self._told_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take note of a portion that is done."""
        if progress.total < FEW_ROWS:
            return
        now = monotonic()
        if self._began is None or self._began[:2] != (progress.stage, progress.table):
            self._began = (progress.stage, progress.table, progress.rows, now)
        is_whole = progress.rows >= progress.total
        pause = TERMINAL_SECONDS if self._is_terminal else FILE_SECONDS
        if is_whole or now - self._told_at >= pause:
            self._told_at = now
            self._print(self._line(progress, now), is_whole=is_whole)

    def _line(self, progress: Progress, now: float) -> str:
        assert self._began is not None
        *_, first_rows, began_at = self._began
        seconds = now - began_at
        rate = f", {(progress.rows - first_rows) / seconds:,.0f} rows/s" if seconds > 1 else ""
        percent = 100 * progress.rows // max(progress.total, 1)
        return f"{progress.stage} {progress.table}: {progress.rows:,} of {progress.total:,} rows, {percent} %{rate}"

    def _print(self, line: str, *, is_whole: bool) -> None:
        if self._is_terminal:
            print(f"\r{line}\033[K", end="\n" if is_whole else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
