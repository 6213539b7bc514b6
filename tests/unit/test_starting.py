"""Forks of the program are processes like any others: what a test gives them and sees of them is the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.acceptance.programs import wait_until
from tests.starting import COMMAND, Fork, run, start
from tests.support import ROOT

SERVE = [*COMMAND, "serve", "--port", "0", "--data", "data"]
OWNER = """
import os, sys
from tests.starting import COMMAND, start

server = start([*COMMAND, "serve", "--port", "0", "--data", os.environ["DATA"]], env=os.environ)
server.stdout.readline()
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_a_fork_has_arguments_environment_folder_and_standard_input_of_its_own(tmp_path: Path) -> None:
    make = [*COMMAND, "keys", "create", "--secret-stdin", "--data", "here"]

    made = run(make, env={**os.environ, "ACCOUNT_ID": "shop"}, cwd=tmp_path, stdin=b"my-own-secret")
    listed = run([*COMMAND, "keys", "list", "--data", "here", "--json"], env=os.environ, cwd=tmp_path)

    assert (made.code, made.error.count("shop")) == (0, 1), made
    assert [key["account"] for key in listed.json] == ["shop"]
    assert (tmp_path / "here").is_dir()


def test_the_exit_code_and_what_is_printed_are_those_of_a_new_process() -> None:
    command, environ = [*COMMAND, "queues", "lits"], {**os.environ}

    forked = run(command, env=environ)

    new = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (forked.code, forked.out, forked.error) == (2, new.stdout, new.stderr)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_a_signal_ends_a_fork_as_it_does_a_new_process(tmp_path: Path, number: int, code: int) -> None:
    server = start(SERVE, env=os.environ, cwd=tmp_path)
    assert b'"server.started"' in next(line for line in server.stdout if b"server.started" in line)
    assert server.poll() is None

    server.send_signal(number)

    assert (server.wait(20), server.poll(), server.returncode) == (code, code, code)


def test_who_waits_for_a_fork_that_does_not_end_is_told_so(tmp_path: Path) -> None:
    server = start(SERVE, env=os.environ, cwd=tmp_path)

    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(0.01)

    server.kill()
    assert server.wait(20) == -9


@pytest.mark.parametrize("name", ["PYTHONIOENCODING", "LD_LIBRARY_PATH"])
def test_what_is_read_when_an_interpreter_starts_needs_a_new_process(name: str) -> None:
    process = start([*COMMAND, "--version"], env={**os.environ, name: "ascii"})

    assert not isinstance(process, Fork)
    assert process.wait(20) == 0


def test_forks_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, env={**os.environ, "DATA": str(tmp_path)}, stdin=PIPE, stdout=PIPE
    )
    with owner:
        fork = int(owner.stdout.readline())

        owner.kill()

    wait_until(lambda: not Path(f"/proc/{fork}").exists(), 10, "the server goes on")
