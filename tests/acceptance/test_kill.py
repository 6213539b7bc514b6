"""What was answered survives any kill of the server."""

import os
import random
import time

from tests.acceptance.traffic import Traffic
from tests.support import IS_SOAK, Server

KILLS = 48 if IS_SOAK else 6


def test_nothing_answered_is_lost_or_given_twice_however_often_the_server_is_killed(stopped: Server) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}; set SEED to have the same choices again")
    chance = random.Random(seed)
    traffic = Traffic(stopped.start(), seed)
    traffic.start()

    for number in range(KILLS):
        traffic.wait(chance.uniform(0.1, 0.9))
        _kill(stopped)
        if number % 6 == 5:
            stopped.start(wait=False)
            traffic.wait(chance.uniform(0, 0.6))
            _kill(stopped)
        stopped.start()
    traffic.stop()
    traffic.drain()

    print(traffic.ledger.summary())
    traffic.ledger.check()


def _kill(server: Server) -> None:
    server.url = ""  # its port may be somebody else's by the time it is back
    server.kill()
    assert "Traceback" not in server.text, server.text[-3000:]
