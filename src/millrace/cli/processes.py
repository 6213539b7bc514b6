"""Several processes that do the same work, and one that watches over them."""

import os
import signal
import sys
import time
from collections.abc import Callable

AGAIN_SECONDS = 1.0
IN_VAIN = (2, 3)  # used wrongly, key refused: starting again is of no use


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
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        for _ in range(self._count):
            self._fork()
        while self._children:
            child, status = os.wait()
            self._children.discard(child)
            self._ended(child, os.waitstatus_to_exitcode(status))
        return self._code

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True
        self._signal_all(signal.SIGTERM)

    def _ended(self, child: int, code: int) -> None:
        if code in IN_VAIN:
            self._code = code
            self._stopping = True
            self._signal_all(signal.SIGTERM)
        if not self._stopping:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            print(f"millrace: process {child} {how}; another one takes its place", file=sys.stderr)
            time.sleep(AGAIN_SECONDS)
        if not self._stopping:  # a signal may have come while we slept
            self._fork()

    def _fork(self) -> None:
        child = os.fork()
        if child:
            self._children.add(child)
            return
        os.setpgid(0, 0)  # Ctrl-C is for the one that watches; it tells us
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        code = 1
        try:
            code = self._work()
        except KeyboardInterrupt:
            code = 130
        except Exception as error:  # noqa: BLE001 - what a process of its own would show, too
            print(f"millrace: {error}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _signal_all(self, number: int) -> None:
        for child in self._children:
            os.kill(child, number)
