"""Three servers on one PostgreSQL: what was answered survives any kill of a server, and restarts of the database."""

import os
import random
import time
from pathlib import Path

from scripts.cluster import Cluster, clusters_folder

from tests.acceptance.many import PatientTraffic, several_servers
from tests.support import IS_SOAK

KILLS = 20 if IS_SOAK else 3
RESTARTS = {KILLS // 3: "fast", KILLS * 2 // 3: "immediate"}  # of the database, by the number of the kill before


def test_nothing_answered_is_lost_or_given_twice_whatever_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}; set SEED to have the same choices again")
    chance = random.Random(seed)
    with (
        clusters_folder(durable=IS_SOAK) as folder,
        Cluster.make(folder / "a", durable=IS_SOAK) as cluster,
        several_servers(tmp_path, cluster.url(), 3) as servers,
    ):
        traffic = PatientTraffic(servers, seed)
        traffic.start()

        for number in range(1, KILLS + 1):
            traffic.wait(chance.uniform(0.1, 0.9))
            killed = chance.choice(servers.servers)
            servers.kill(killed)
            if number in RESTARTS:
                cluster.restart(RESTARTS[number])
            killed.start()
        traffic.stop()
        traffic.drain()

        print(traffic.ledger.summary())
        traffic.ledger.check()
        assert not [line for server in servers.servers for line in server.log_lines() if line["event"] == "loop.failed"]
