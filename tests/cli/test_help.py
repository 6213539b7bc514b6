"""Help is complete and comes at once."""

import subprocess
import sys
import time

import pytest

from tests.cli.commands import run

SECONDS = 0.5
SLOW = {"httpx2", "apsw", "uvicorn", "msgspec", "asyncio"}


@pytest.mark.parametrize(
    "command", ["", "serve", "queues", "queues send", "queues pull", "keys", "keys create", "keys revoke"]
)
def test_help_comes_at_once(command):
    times = []
    for _ in range(5):
        began = time.perf_counter()
        done = run(*command.split(), "--help")
        times.append(time.perf_counter() - began)
        assert done.code == 0
        assert done.out.startswith("usage: ")

    assert min(times) < SECONDS


def test_parsing_imports_nothing_that_takes_time():
    script = f"import sys, millrace.cli.arguments; print(sorted({SLOW} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_help_of_queues_names_every_verb():
    text = run("queues", "--help").out

    verbs = ["list", "info", "create", "delete", "send", "peek", "pull", "ack", "pause", "resume", "purge", "redrive"]
    assert [verb for verb in verbs if f"    {verb} " not in text] == []
