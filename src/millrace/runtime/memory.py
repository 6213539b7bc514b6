"""How much memory a process holds."""

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

PAGE_BYTES = resource.getpagesize()
PEAK_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def resident_bytes(pid: int) -> int | None:
    """Give what the process holds in memory; None when it is gone or the system has no /proc."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * PAGE_BYTES
    return None


def own_bytes() -> int:
    """Give what this process holds; without /proc, the most that it ever held."""
    held = resident_bytes(os.getpid())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT_BYTES if held is None else held
