"""Agents as processes, started with the variables of a test and nothing else of ours."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

from tests.starting import COMMAND, Fork, start

STOP_SECONDS = 20
OURS = (
    "EDGE_",
    "R2_",
    "AI_GATEWAY_",
    "GOOGLE_",
    "GEMINI_",
    "MILLRACE_",
    "CLOUDFLARE_",
    "CF_",
    "BATCH_SIZE",
    "VISIBILITY_",
)


def environ_of(**given: str) -> dict[str, str]:
    """Give the environment of a process."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**others, "PYTHONUNBUFFERED": "1", **given}


class AgentProcess:
    """`millrace agent` in a folder, ended with the block."""

    def __init__(self, folder: Path, *flags: str, **environ: str) -> None:
        self._folder, self._flags, self._environ = folder, flags, environ_of(**environ)
        self.output = bytearray()
        self.process: Fork | subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.process = start(
            [*COMMAND, "agent", *self._flags], cwd=self._folder, env=self._environ, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self._reader.join(STOP_SECONDS)
        self.process.stdout.close()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.output += line

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Stop it in order and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        return code

    @property
    def text(self) -> str:
        return self.output.decode()

    def told(self, event: str) -> list[dict[str, Any]]:
        """Give the log lines of an event so far."""
        lines = [json.loads(line) for line in self.text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == event]
