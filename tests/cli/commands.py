"""Runs the real command in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import Server

SECONDS = 30
OURS = ("MILLRACE_", "CTX_", "CHITTY_", "ACCOUNT_ID", "ADMIN_TOKEN", "DATA_DIR")


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


def run(
    *arguments: str | Path, stdin: bytes = b"", environ: dict[str, str] | None = None, server: Server | None = None
) -> Done:
    """Run `millrace …` with nothing of ours in the environment but what is given; `server` gives URL and key."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    if server is not None:
        clean.update({"MILLRACE_URL": server.url, "MILLRACE_TOKEN": server.key})
    command = [sys.executable, "-m", "millrace.cli.main", *map(str, arguments)]
    done = subprocess.run(
        command, input=stdin, env={**clean, **(environ or {})}, capture_output=True, timeout=SECONDS, check=False
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
