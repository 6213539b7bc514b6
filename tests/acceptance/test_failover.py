"""A primary dies with kill -9 and its synchronous standby takes over: what was answered is there, and servers go on alone."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from scripts.cluster import Cluster, clusters_folder, url_of

from tests.acceptance.many import PatientTraffic, several_servers
from tests.support import IS_SOAK

STANDBY = "standby"
FAILOVERS = 3 if IS_SOAK else 1
GAP_SECONDS = 6  # from the kill to the first answered send, the promotion included
WAITING_COMMIT = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'"


class Pair(NamedTuple):
    """A primary and its synchronous standby."""

    primary: Cluster
    standby: Cluster


@pytest.fixture(scope="module", params=range(FAILOVERS))
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        folder = stack.enter_context(clusters_folder(durable=True))
        primary = stack.enter_context(Cluster.make(folder / "a", durable=True))
        standby = stack.enter_context(primary.standby(folder / "b", name=STANDBY))
        primary.make_synchronous(STANDBY)
        yield Pair(primary, standby)


def test_a_commit_that_was_told_not_to_wait_for_the_standby_is_no_answered_send(pair: Pair, tmp_path: Path) -> None:
    with several_servers(tmp_path, url_of(pair), 1) as servers, ThreadPoolExecutor(1) as sender:
        queue_id = servers.create_queue("alone")
        pair.standby.stop()
        sending = sender.submit(servers.v4, "POST", f"/queues/{queue_id}/messages", {"body": "1"})

        while not sending.done():
            pair.primary.run_sql(WAITING_COMMIT)
            time.sleep(0.05)
        pair.standby.start()

        assert sending.result().status == 503
        assert b"stored on one machine only" in sending.result().body


def test_every_answered_send_is_found_after_a_failover(pair: Pair, tmp_path: Path) -> None:
    with several_servers(tmp_path, url_of(pair), 2) as servers:
        traffic = PatientTraffic(servers, time.time_ns() % 1_000_000)
        traffic.start()
        traffic.wait(1)

        pair.primary.kill()
        killed_at = time.monotonic()
        pair.standby.promote()
        promoted_at = time.monotonic()
        traffic.wait(1.5)
        _come_back_as_a_standby(pair.primary)
        traffic.wait(0.5)
        traffic.stop()
        traffic.drain()

        back_at = min(at for at in traffic.answered_at if at > killed_at)
        print(traffic.ledger.summary())
        print(f"longest gap between answered sends {traffic.longest_gap():.2f} s; the first one was answered")
        print(f"{back_at - killed_at:.2f} s after the kill, {back_at - promoted_at:.2f} s after the promotion")
        traffic.ledger.check()
        assert traffic.longest_gap() < GAP_SECONDS


def _come_back_as_a_standby(cluster: Cluster) -> None:
    """Start the old primary as one that takes no writes; it still comes first in the URL of the servers."""
    (cluster.data / "standby.signal").touch()
    cluster.start()
