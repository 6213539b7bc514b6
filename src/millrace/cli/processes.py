"""Several processes that do the same work, and one that watches over them."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from millrace.errors import Forbidden, MillraceError, Unauthenticated

AGAIN_SECONDS = 1.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)
REFUSED, WRONG = 77, 78  # how a child ends when starting again is of no use; no handler ends a process so by chance
OURS = {REFUSED: 3, WRONG: 1}  # the exit codes of the command
CRASHED = 70


def run_processes(count: int, work: Callable[[], int]) -> int:
    """Fork so many processes, start anew those that die, and end them in order at a signal; give the exit code.

    Call it before any thread or event loop is there: they do not survive a fork.
    """
    return _Family(count, work).run()


class _Family:
    def __init__(self, count: int, work: Callable[[], int]) -> None:
        self._count, self._work = count, work
        self._children: set[int] = set()
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        for _ in range(self._count):
            self._fork()
        while self._children:
            child, status = os.wait()
            self._children.discard(child)
            self._ended(child, os.waitstatus_to_exitcode(status))
        return self._code

    def _on_signal(self, number: int, frame: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for child in self._children:
            with suppress(ProcessLookupError):  # reaped a moment ago
                os.kill(child, signal.SIGTERM)

    def _ended(self, child: int, code: int) -> None:
        if self._stopping:
            self._code = self._code or OURS.get(code, int(code > 0))
        elif code in OURS:
            self._code = OURS[code]
            self._stop()
        else:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            print(f"millrace: process {child} {how}; another one takes its place", file=sys.stderr)
            time.sleep(AGAIN_SECONDS)
            self._fork()

    def _fork(self) -> None:
        """Start a child, unless a signal came; one that comes meanwhile waits until we know the child's id."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        child = None if self._stopping else os.fork()
        if child == 0:
            os.setpgid(0, 0)  # Ctrl-C is for the one that watches; it tells us
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
        elif child is not None:
            self._children.add(child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if child == 0:
            os._exit(_end_of(self._work))


def _end_of(work: Callable[[], int]) -> int:
    """Do the work of a child and give its exit code."""
    code = CRASHED
    try:
        code = work()
    except MillraceError as error:
        print(f"millrace: {error}", file=sys.stderr)
        code = REFUSED if isinstance(error, Unauthenticated | Forbidden) else WRONG
    except BaseException:  # noqa: BLE001 - what a process of its own would show, too
        traceback.print_exc()
    with suppress(OSError, ValueError):  # nobody reads it any more
        sys.stdout.flush()
        sys.stderr.flush()
    return code
