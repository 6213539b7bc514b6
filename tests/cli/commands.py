"""Runs the real command in a process of its own."""

import os
from pathlib import Path

from tests import starting
from tests.starting import COMMAND, Done
from tests.support import Server

OURS = ("MILLRACE_", "CTX_", "CHITTY_", "ACCOUNT_ID", "ADMIN_TOKEN", "DATA_DIR")


def run(
    *arguments: str | Path, stdin: bytes = b"", environ: dict[str, str] | None = None, server: Server | None = None
) -> Done:
    """Run `millrace …` with nothing of ours in the environment but what is given; `server` gives URL and key."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    if server is not None:
        clean.update({"MILLRACE_URL": server.url, "MILLRACE_TOKEN": server.key})
    done = starting.run([*COMMAND, *map(str, arguments)], env={**clean, **(environ or {})}, stdin=stdin)
    assert "Traceback" not in done.error, done.error
    return done
