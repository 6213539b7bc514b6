"""A primary dies with kill -9 and its synchronous standby takes over: what was answered is there, and servers go on alone."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from scripts.cluster import Cluster, clusters_folder, url_of

from tests.acceptance.many import PatientTraffic, several_servers
from tests.support import IS_SOAK

STANDBY = "standby"
FAILOVERS = 3 if IS_SOAK else 1
GAP_SECONDS = 6


class Pair(NamedTuple):
    """A primary and its synchronous standby."""

    primary: Cluster
    standby: Cluster

    @property
    def url(self) -> str:
        return url_of(self, connect_timeout="2")


@contextmanager
def _pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        folder = stack.enter_context(clusters_folder(durable=True))
        primary = stack.enter_context(Cluster.make(folder / "a", durable=True))
        standby = stack.enter_context(primary.standby(folder / "b", name=STANDBY))
        primary.make_synchronous(STANDBY)
        yield Pair(primary, standby)


@pytest.mark.parametrize("number", range(FAILOVERS))
def test_every_answered_send_is_found_after_a_failover(tmp_path: Path, number: int) -> None:
    with _pair() as pair, several_servers(tmp_path, pair.url, 2) as servers:
        traffic = PatientTraffic(servers, time.time_ns() % 1_000_000)
        traffic.start()
        traffic.wait(1.5)

        pair.primary.kill()
        killed_at = time.monotonic()
        pair.standby.promote()
        promoted_at = time.monotonic()
        traffic.wait(2)
        _come_back_as_a_standby(pair)
        traffic.wait(1)
        traffic.stop()
        traffic.drain()

        print(traffic.ledger.summary())
        back_at = min(at for at in traffic.answered_at if at > killed_at)
        print(f"longest gap {traffic.longest_gap():.2f} s; {back_at - killed_at:.2f} s after the kill, ", end="")
        print(f"{back_at - promoted_at:.2f} s after the promotion")
        traffic.ledger.check()
        assert traffic.longest_gap() < GAP_SECONDS


def _come_back_as_a_standby(pair: Pair) -> None:
    """Start the old primary again, as one that takes no writes; its name still comes first in the URL of the servers."""
    (pair.primary.data / "standby.signal").touch()
    pair.primary.start()
