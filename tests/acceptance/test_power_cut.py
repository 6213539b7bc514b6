"""What was answered is on the disk: it survives a cut of the power, not only of the process."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.disk import FragileDisk
from tests.acceptance.traffic import Traffic
from tests.support import IS_SOAK, Server

CUTS = 24 if IS_SOAK else 6
CUTS_OF_A_FIRST_START = 16 if IS_SOAK else 5
BODY_BYTES = 2_000  # big enough that the log is copied into the database again and again

WRITES = """
import os, sys
folder = sys.argv[1]
with open(f"{folder}/first", "wb", buffering=0) as file:
    file.write(b"synced")
    os.fsync(file.fileno())
    file.write(b", not synced")
os.fsync(os.open(folder, os.O_RDONLY))
with open(f"{folder}/second", "wb", buffering=0) as file:
    file.write(b"its name was not synced")
    os.fsync(file.fileno())
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def disk(lost_writes: Path, tmp_path: Path) -> FragileDisk:
    return FragileDisk(lost_writes, tmp_path.resolve())


def test_the_disk_of_these_tests_forgets_what_was_not_synced(disk: FragileDisk) -> None:
    subprocess.run([sys.executable, "-c", WRITES, disk.data], env=os.environ | disk.environ, check=False)
    assert len(list(disk.data.iterdir())) == 2

    disk.cut()

    assert {file.name: file.read_bytes() for file in disk.data.iterdir()} == {"first": b"synced"}


def test_nothing_answered_is_lost_when_the_power_is_cut(disk: FragileDisk) -> None:
    chance = _chance()
    with Server(disk.data, environ=disk.environ) as server:
        traffic = Traffic(server, chance.randrange(1_000_000), body_bytes=BODY_BYTES)
        traffic.start()

        for number in range(CUTS):
            traffic.wait(chance.uniform(0.2, 1.2))
            _cut(disk, server, chance if number % 2 else None)
            server.start()
        traffic.stop()
        traffic.drain()

    print(traffic.ledger.summary())
    traffic.ledger.check()


@pytest.mark.parametrize("number", range(CUTS_OF_A_FIRST_START))
def test_a_first_start_that_the_power_cuts_short_is_followed_by_one_that_works(disk: FragileDisk, number: int) -> None:
    chance = _chance()
    server = Server(disk.data, environ=disk.environ).start(wait=False)
    with server:
        _wait_for(disk.data / ("millrace.db" if number % 2 else "serve.lock"))
        time.sleep(chance.uniform(0, 0.05))
        _cut(disk, server, chance if number % 3 else None)

        server.start()

        queue_id = server.create_queue("first")
        assert server.v4("POST", f"/queues/{queue_id}/messages", {"body": 1}).status == 200
        _cut(disk, server, None)
        server.start()
        assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == 1


def _chance() -> random.Random:
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}; set SEED to have the same choices again")
    return random.Random(seed)


def _cut(disk: FragileDisk, server: Server, chance: random.Random | None) -> None:
    server.url = ""
    server.kill()
    disk.cut(chance)


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.001)
