"""Run a program that ends with the process it was started for, and whose folder goes then, too.

A process of its own keeps watch, since neither `atexit` nor a fixture has its turn after a SIGKILL. Linux only: it waits
for descriptors of processes, which cannot be taken for a later process of the same number.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ACCOUNT = "postgres"  # PostgreSQL and pgbouncer refuse to run as root
SHARED = "millrace-clusters-"  # how the name of a temporary folder begins that holds the folders of several programs
END_SECONDS = 30


def launch(folder: Path, command: list[str], *, owner: int | None = None) -> int:
    """Start a program with its output in the folder's `log`, and give its process id.

    When the process `owner` (by default this one) has ended, the program gets SIGQUIT and the folder is removed.
    """
    guard = [sys.executable, "-I", "-S", __file__, str(owner or os.getpid()), str(folder), *command]
    return int(subprocess.run(guard, stdout=subprocess.PIPE, env=environment(), check=True).stdout)


def account() -> dict[str, Any]:
    """Give what `subprocess` needs for a program that must not run as root."""
    return {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []} if os.geteuid() == 0 else {}


def environment() -> dict[str, str]:
    """Give our environment without what would lead PostgreSQL's programs to another cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def has_ended(number: int) -> bool:
    """Tell whether no process runs under this number; one that only waits to be collected has ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _watch(owner: int, folder: Path, command: list[str]) -> None:
    owner_process = os.pidfd_open(owner)
    with (folder / "log").open("ab") as log:
        program = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True, **account()
        )
    _answer(program.pid)
    select.select([owner_process, os.pidfd_open(program.pid)], [], [])
    if program.poll() is None:
        _end(program)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.parent.name.startswith(SHARED):
            with suppress(OSError):  # others are still in it
                folder.parent.rmdir()


def _answer(number: int) -> None:
    """Tell the number to `launch`, and close the output for whose end it waits."""
    os.write(1, str(number).encode())
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)


def _end(program: "subprocess.Popen[bytes]") -> None:
    program.send_signal(signal.SIGQUIT)
    try:
        program.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()


if __name__ == "__main__" and os.fork() == 0:  # the one before the fork ends at once: nobody has to collect the guard
    os.setsid()
    _watch(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
