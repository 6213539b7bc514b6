"""Starts `millrace …` as the fork of a process that has imported it already, for a tenth of the CPU of a new process.

Hundreds of tests start one, and the import is most of what each would cost. Commands and environments that a fork
cannot have are started as usual.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from tests.starter import NUMBER

STARTER = Path(__file__).with_name("starter.py")
COMMAND = (sys.executable, "-m", "millrace.cli.main")
READ_AT_THE_START = ("PYTHON", "LD_", "MALLOC_", "SSL_", "TZ")  # by the interpreter and its libraries
UNBUFFERED = "PYTHONUNBUFFERED"  # as forks are in any case
SECONDS = 30
_making = threading.Lock()


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


class Fork:
    """A process; what it has of `subprocess.Popen` does the same."""

    def __init__(self, pid: int, end: int, stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.returncode: int | None = None
        self._end = os.fdopen(end, "rb", buffering=0)
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        """Give the exit code, None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and give the exit code; below zero is the signal that ended it."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], seconds)[0]:
            with self._reading:
                if self.returncode is None:
                    self.returncode = _read_number(self._end.fileno())
        return self.returncode


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: IO[bytes] | int = DEVNULL,
    stdout: IO[bytes] | int = PIPE,
    stderr: IO[bytes] | int = PIPE,
) -> Fork | subprocess.Popen[bytes]:
    """Start a process as `subprocess.Popen` does."""
    if not _may_fork(command, env):
        return subprocess.Popen(command, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr)
    request = [command[len(COMMAND) :], dict(env), str(cwd or Path.cwd())]
    with ExitStack() as theirs:
        _, given = _channel(stdin, theirs)
        output, written = _channel(stdout, theirs)
        errors, complained = (None, written) if stderr == STDOUT else _channel(stderr, theirs)
        end, told = os.pipe()
        theirs.callback(os.close, told)
        socket.send_fds(_starter(), [json.dumps(request).encode()], [given, written, complained, told])
    return Fork(_read_number(end), end, output, errors)


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, stdin: bytes = b"") -> Done:
    """Run a process to its end."""
    with TemporaryFile() as typed, TemporaryFile() as out, TemporaryFile() as error:
        typed.write(stdin)
        typed.seek(0)
        process = start(command, env=env, cwd=cwd, stdin=typed, stdout=out, stderr=error)
        try:
            code = process.wait(SECONDS)
        finally:
            process.kill()
        return Done(code, _read_text(out), _read_text(error))


def _read_text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _may_fork(command: Sequence[str], environ: Mapping[str, str]) -> bool:
    names = {name for name in (*environ, *os.environ) if name.startswith(READ_AT_THE_START)} - {UNBUFFERED}
    return (
        tuple(command[: len(COMMAND)]) == COMMAND
        and all(environ.get(name) == os.environ.get(name) for name in names)
        and hasattr(os, "pidfd_open")
    )


def _channel(wanted: IO[bytes] | int, theirs: ExitStack) -> tuple[IO[bytes] | None, int]:
    """Give our end, if there is one, and the descriptor for the process, closed here when `theirs` ends."""
    if not isinstance(wanted, int):
        return None, wanted.fileno()
    ours, descriptor = os.pipe() if wanted == PIPE else (None, os.open(os.devnull, os.O_RDWR))
    theirs.callback(os.close, descriptor)
    return os.fdopen(ours, "rb") if ours is not None else None, descriptor


def _starter() -> socket.socket:
    with _making:
        return _make_starter()


@cache
def _make_starter() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:  # -P: beside the file is a folder named `http`
        starter = subprocess.Popen([sys.executable, "-P", STARTER], env={**os.environ, UNBUFFERED: "1"}, stdin=theirs)
    atexit.register(starter.wait)
    atexit.register(ours.close)
    return ours


def _read_number(end: int) -> int:
    number = os.read(end, NUMBER.size)
    assert number, "the process that starts the others has ended; what it wrote says why"
    return NUMBER.unpack(number)[0]
