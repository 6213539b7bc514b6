"""`--reload` of `millrace serve` and `millrace dev`: run the server as a child and start it anew when a Python or wrangler file changes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.5
WATCHED = ("*.py", "wrangler.toml", "wrangler.json", "wrangler.jsonc")
SKIPPED = {".venv", ".git", "node_modules", "__pycache__", "data"}


def run_reloading() -> int:
    """Serve until Ctrl-C, with a fresh process after each change below the current folder."""
    command = [sys.executable, "-m", "millrace.cli.main", *sys.argv[1:], "--no-reload"]
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a script that starts us in the background has it ignored
    seen = _newest_change()
    child = subprocess.Popen(command)  # noqa: S603 - our own command line once more
    try:
        while True:
            time.sleep(LOOK_SECONDS)
            newest = _newest_change()
            if newest != seen:
                seen = newest
                print("millrace: a file changed, starting anew", file=sys.stderr)
                child.terminate()
                child.wait()
                child = subprocess.Popen(command)  # noqa: S603
    except KeyboardInterrupt:
        child.terminate()
        return child.wait()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _newest_change() -> float:
    found = (path for pattern in WATCHED for path in Path().rglob(pattern) if not SKIPPED.intersection(path.parts))
    return max((path.stat().st_mtime for path in found if path.exists()), default=0.0)
