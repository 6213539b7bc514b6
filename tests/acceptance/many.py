"""Several servers on one database, and clients that go on while servers and database die and come back."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.acceptance.ledger import CONFIRMED
from tests.acceptance.traffic import DELAYS, Asked, Traffic
from tests.support import Reply, Server

REPEAT_SECONDS = 30
PAUSE_SECONDS = 0.02
MASTER_KEY = "bWlsbHJhY2UtdGVzdHMtbWFzdGVyLWtleS0zMi1ieXQ="


class Several:
    """Servers on one database; each call goes to one of those that are up."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self._chance = random.Random(1)

    def v4(self, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        up = [server for server in self.servers if server.url]
        return self._chance.choice(up or self.servers).v4(method, path, body, **more)

    def create_queue(self, name: str) -> str:
        return self.servers[0].create_queue(name)

    def kill(self, server: Server) -> None:
        """Kill one with SIGKILL; callers turn to the others."""
        server.url = ""
        server.kill()
        assert "Traceback" not in server.text, server.text[-3000:]


@contextmanager
def several_servers(folder: Path, url: str, count: int) -> Iterator[Several]:
    """Start servers on the database with this address; they are gone in the end."""
    with ExitStack() as stack:
        yield Several([stack.enter_context(server_on(url, folder / str(number))) for number in range(count)])


def server_on(url: str, folder: Path, *arguments: str, **environ: str) -> Server:
    """Make a server on the database with this address; it is not yet started."""
    return Server(folder, *arguments, environ={"DATABASE_URL": url, "MASTER_KEY": MASTER_KEY, **environ})


class PatientTraffic(Traffic):
    """Clients that expect answers of 503 while a database is away, and repeat some sends under a key until they are taken."""

    expected = (200, 503)

    def __init__(self, servers: Several, seed: int) -> None:
        super().__init__(servers, seed)
        self.answered_at: list[float] = []  # when sends were confirmed, in monotonic seconds

    def longest_gap(self) -> float:
        """Give the longest time in which no send was confirmed."""
        times = sorted(self.answered_at)
        return max(after - before for before, after in pairwise(times))

    def _push(self, queue: str, name: str, chance: random.Random) -> None:
        if chance.random() < 0.5:
            super()._push(queue, name, chance)
            return
        delay = chance.choice(DELAYS)
        began, until = time.monotonic(), time.monotonic() + REPEAT_SECONDS
        key = {"Idempotency-Key": name}
        while (asked := self._ask(queue, "messages", self._message(name, delay), headers=key)).outcome != CONFIRMED:
            assert time.monotonic() < until, f"{name} was not taken within {REPEAT_SECONDS} s"
        self._note_sending({self._body(name): delay}, asked._replace(began=began))

    def _ask(self, queue: str, path: str, body: dict[str, Any], **more: Any) -> Asked:
        asked = super()._ask(queue, path, body, **more)
        if asked.reply is not None and asked.reply.status == 503:
            assert "retry-after" in asked.reply.headers
            self._stopping.wait(PAUSE_SECONDS)
        return asked

    def _note_sending(self, delays: dict[str, float], asked: Asked) -> None:
        super()._note_sending(delays, asked)
        if asked.outcome == CONFIRMED:
            self.answered_at.append(asked.ended)
