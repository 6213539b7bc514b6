"""100,000 messages with leases out, copied to PostgreSQL and back by a command that is killed again and again: equal."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts.cluster import Cluster, clusters_folder
from tests.cli.furnished import Furnished, faults_in, furnish, told_by

from millrace.moving.places import Place, place_of

MESSAGES = 100_000
KILLS = 8
LEAST_ROWS_PER_SECOND = 10_000  # beside whatever else this machine does


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    return furnish(tmp_path_factory.mktemp("house"), messages=MESSAGES)


@pytest.fixture
def empty() -> Iterator[Place]:
    with clusters_folder(durable=True) as folder, Cluster.make(folder / "target", durable=True) as cluster:
        yield place_of(cluster.create_database("millrace"))


def command(source: Place, target: Place) -> list[str]:
    urls = [f"sqlite:///{place}" if place.kind == "sqlite" else place.location for place in (source, target)]
    return [sys.executable, "-m", "millrace.cli.main", "db", "copy", "--from", urls[0], "--to", urls[1]]


def copied_with_kills(source: Place, target: Place) -> int:
    """Copy, killing the command after ever longer times, then let it end; give how many were killed at work."""
    kills = 0
    for number in range(KILLS):
        running = subprocess.Popen(command(source, target), stderr=subprocess.DEVNULL)
        try:
            running.wait(0.4 + 0.3 * number * random.random())
            break
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            kills += 1
    subprocess.run(command(source, target), check=True, stderr=subprocess.DEVNULL)
    return kills


def test_it_is_equal_after_the_way_there_and_back(furnished: Furnished, empty: Place, tmp_path: Path) -> None:
    home = Place("sqlite", str(tmp_path / "home" / "millrace.db"))

    kills = copied_with_kills(furnished.place, empty), copied_with_kills(empty, home)

    assert told_by(home) == told_by(furnished.place)
    assert faults_in(home) == faults_in(empty) == []
    assert min(kills) > 1


def test_it_goes_fast_enough(furnished: Furnished, empty: Place, tmp_path: Path) -> None:
    rates = []
    for source, target in ((furnished.place, empty), (empty, Place("sqlite", str(tmp_path / "millrace.db")))):
        began = time.monotonic()
        subprocess.run(command(source, target), check=True, stderr=subprocess.DEVNULL)
        rates.append(round(MESSAGES / (time.monotonic() - began)))

    print(f"to PostgreSQL {rates[0]:,} messages/s, to a file {rates[1]:,} messages/s, compared on both sides")
    assert min(rates) > LEAST_ROWS_PER_SECOND
