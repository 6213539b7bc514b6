"""What SIGTERM and Ctrl-C mean: stop in order, and the second time at once."""

import asyncio
import os
import signal
import sys

from millrace.logs import LogLines
from millrace.telemetry import Telemetry

SAME_SECONDS = 0.02  # supervisors send one signal to a process and to its group, which is the same process again
LEAVE_SECONDS = 1.0


def stop_on_signals(telemetry: Telemetry, lines: LogLines, same_seconds: float = SAME_SECONDS) -> asyncio.Event:
    """Give an event that the first signal sets; the second one ends the process without waiting for anything.

    Signals within `same_seconds` of the first count as the first.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    stopping_since_s = 0.0

    def on_signal() -> None:
        nonlocal stopping_since_s
        if not stopping.is_set():
            stopping_since_s = loop.time()
            stopping.set()
        elif loop.time() - stopping_since_s > same_seconds:
            # A handler in a thread cannot be cancelled; what is answered is on disk.
            telemetry.emit("server.forced")
            lines.close()
            os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stopping


async def leave_behind() -> None:
    """End the process here and now if a handler will not end, though it was cancelled; everything else is closed."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        _, left = await asyncio.wait(left, timeout=LEAVE_SECONDS)
    if left:
        print(f"millrace: {len(left)} handlers do not end when they are cancelled; left behind", file=sys.stderr)
        sys.stdout.flush()
        os._exit(0)
