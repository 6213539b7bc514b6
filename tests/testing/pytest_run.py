"""pytest in a process of its own, as a user has it, with our plugin."""

import os
import re
import subprocess
import sys
from pathlib import Path

OURS = ("millrace.testing.plugin", "no:cacheprovider")
ASYNC = ("pytest_asyncio.plugin",)
LAST_LINE = re.compile(r"^.* in \d+\.\d+s.*$", re.MULTILINE)


def run_pytest(folder: Path, *, is_async: bool = False) -> str:
    """Run the tests of a folder and give what pytest printed. Plugins are named, so that it need not look for them."""
    flags = [word for plugin in (*OURS, *(ASYNC if is_async else ())) for word in ("-p", plugin)]
    flags += ["-o", "asyncio_mode=auto"] if is_async else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", f"--rootdir={folder}", *flags],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def counts(output: str) -> dict[str, int]:
    """Give the counts of pytest's last line, such as `{"passed": 2}`."""
    [last] = LAST_LINE.findall(output)
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?|warnings?)", last)}
