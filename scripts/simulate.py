"""A small simulation of servers and one PostgreSQL, held against what one server measures here, and then let go further.

A server gathers what its callers want, and works it off as one group: its own CPU, the database's CPU, the waits for
answers, one flush of the log. It has a session of the database for each kind of work, as the program has, and one
interpreter for all of them. A session takes a core of the database while it computes; one flush of the log serves all
commits that wait when it begins. Who receives while he settles goes on when both are done.

`python -m scripts.simulate` measures the constants first, which takes half a minute.
"""

import heapq
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import NamedTuple

from bench import cost
from bench.cost import Cost, Waits

SECONDS = 5.0
SERVERS = (1, 2, 4, 8, 16)
CORES = (2, 8, 32)
SEND_TRIPS, RECEIVE_TRIPS, SETTLE_TRIPS = 4, 4, 3  # answers that a group waits for, its commit included
RECEIVES = 0.65  # of what a message costs on its way out; its settlement costs the rest

Steps = Generator[tuple[str, float], None, None]


class Part(NamedTuple):
    """What one session does for each group: its share of a message's cost, and the answers that it waits for."""

    share: float
    trips: int


class Load(NamedTuple):
    """What all callers of one server want at once, and what a message of that costs."""

    name: str
    measured: Cost
    messages: int
    parts: tuple[Part, ...]


@dataclass
class Server:
    """One interpreter, which a session of the server takes while it computes here, and the sessions that are done."""

    queue: deque[tuple[Steps, float]] = field(default_factory=deque)
    is_computing: bool = False
    done: list[Steps] = field(default_factory=list)


@dataclass
class House:
    """One database: its cores, its log, and what its servers are waiting for."""

    cores: int
    flush_us: float
    now_us: float = 0.0
    done: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)
    _computing: int = 0
    _queue: deque[tuple[Server, Steps, float]] = field(default_factory=deque)
    _is_flushing: bool = False
    _unflushed: list[tuple[Server, Steps]] = field(default_factory=list)

    def run(self, load: Load, waits: Waits, servers: int, seconds: float) -> float:
        """Let so many servers work for so long; give messages a second."""
        for server in [Server() for _ in range(servers)]:
            for part in load.parts:
                self._go_on(server, self.serve(load, part, waits))
        while self.now_us < seconds * 1e6:
            self.now_us, _, happen = heapq.heappop(self._events)
            happen()
        return self.done / seconds

    def serve(self, load: Load, part: Part, waits: Waits) -> Steps:
        """Work off one group after the other in one session; all sessions of a server begin the next one together."""
        messages = load.messages * part.share
        while True:
            yield "interpret", messages * load.measured.server_us
            yield "compute", messages * load.measured.database_us
            yield "wait", part.trips * waits.round_trip_us
            yield "flush", self.flush_us
            self.done += messages
            yield "meet", len(load.parts)

    def _go_on(self, server: Server, steps: Steps) -> None:
        what, much = next(steps)
        if what == "flush":
            self._unflushed.append((server, steps))
            self._flush()
        elif what == "compute":
            self._queue.append((server, steps, much))
            self._compute()
        elif what == "interpret":
            server.queue.append((steps, much))
            self._interpret(server)
        elif what == "wait":
            self._later(much, partial(self._go_on, server, steps))
        else:
            server.done.append(steps)
            if len(server.done) == much:
                together, server.done = server.done, []
                for each in together:
                    self._go_on(server, each)

    def _interpret(self, server: Server) -> None:
        if server.queue and not server.is_computing:
            server.is_computing = True
            steps, us = server.queue.popleft()
            self._later(us, partial(self._interpreted, server, steps))

    def _interpreted(self, server: Server, steps: Steps) -> None:
        server.is_computing = False
        self._interpret(server)
        self._go_on(server, steps)

    def _compute(self) -> None:
        while self._queue and self._computing < self.cores:
            self._computing += 1
            server, steps, us = self._queue.popleft()
            self._later(us, partial(self._computed, server, steps))

    def _computed(self, server: Server, steps: Steps) -> None:
        self._computing -= 1
        self._compute()
        self._go_on(server, steps)

    def _flush(self) -> None:
        if self._unflushed and not self._is_flushing:
            self._is_flushing = True
            waiting, self._unflushed = self._unflushed, []
            self._later(self.flush_us, partial(self._flushed, waiting))

    def _flushed(self, waiting: Sequence[tuple[Server, Steps]]) -> None:
        self._is_flushing = False
        self._flush()
        for server, steps in waiting:
            self._go_on(server, steps)

    def _later(self, us: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_us + us, next(self._numbers), happen))


def simulate(load: Load, waits: Waits, servers: int, cores: int) -> float:
    """Give messages a second of so many servers on a database of so many cores."""
    return House(cores, waits.commit_us).run(load, waits, servers, SECONDS)


def main() -> None:
    """Measure the constants, print what was measured beside what comes out here, and extrapolate."""
    costs, waits = cost.measure()
    sends = (Part(1.0, SEND_TRIPS),)
    takes = (Part(RECEIVES, RECEIVE_TRIPS), Part(1 - RECEIVES, SETTLE_TRIPS))
    loads = [
        Load(name, costs[name], messages, parts)
        for name, messages, parts in zip(costs, (800, 200, 256, 100), (sends, takes, sends, takes), strict=True)
    ]
    print(f"\n{'one server':<40} {'measured':>10} {'simulated':>10} {'off by':>7}")
    for load in loads:
        simulated = simulate(load, waits, servers=1, cores=2)
        print(
            f"{load.name:<40} {load.measured.per_second:>10,.0f} {simulated:>10,.0f} {simulated / load.measured.per_second - 1:>7.0%}"
        )
    for load in loads[:2]:
        print(f"\n{load.name}, servers on machines of their own, a second")
        print(f"{'servers':<40} " + " ".join(f"{f'{cores} cores':>10}" for cores in CORES))
        for servers in SERVERS:
            rates = [simulate(load, waits, servers, cores) for cores in CORES]
            print(f"{servers:<40} " + " ".join(f"{rate:>10,.0f}" for rate in rates))


if __name__ == "__main__":
    main()
