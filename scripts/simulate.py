"""A small simulation of servers and one PostgreSQL, held against what one server measures here, and then let go further.

A server gathers what its callers want, and works it off as one group: its own CPU, the database's CPU, the waits for
answers, one flush of the log. Nothing of that overlaps within a server, as in the program. Each server has a session of
the database, which takes a core while it computes; one flush of the log serves all commits that wait when it begins.

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
SEND_TRIPS, TAKE_TRIPS = 4, 6  # answers that a group waits for, its commit included

Steps = Generator[tuple[str, float], None, None]


class Load(NamedTuple):
    """What all callers of one server want at once, and what a message of that costs."""

    name: str
    measured: Cost
    messages: int
    trips: int


@dataclass
class House:
    """One database: its cores, its log, and what its servers are waiting for."""

    cores: int
    flush_us: float
    now_us: float = 0.0
    done: int = 0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)
    _computing: int = 0
    _queue: deque[tuple[Steps, float]] = field(default_factory=deque)
    _is_flushing: bool = False
    _unflushed: list[Steps] = field(default_factory=list)

    def run(self, servers: Sequence[Steps], seconds: float) -> float:
        """Let the servers work for so long; give messages a second."""
        for server in servers:
            self._go_on(server)
        while self.now_us < seconds * 1e6:
            self.now_us, _, happen = heapq.heappop(self._events)
            happen()
        return self.done / seconds

    def serve(self, load: Load, waits: Waits) -> Steps:
        """Work off one group after the other."""
        while True:
            yield "wait", load.messages * load.measured.server_us
            yield "compute", load.messages * load.measured.database_us
            yield "wait", load.trips * waits.round_trip_us
            yield "flush", self.flush_us
            self.done += load.messages

    def _go_on(self, steps: Steps) -> None:
        what, us = next(steps)
        if what == "flush":
            self._unflushed.append(steps)
            self._flush()
        elif what == "compute":
            self._queue.append((steps, us))
            self._compute()
        else:
            self._later(us, partial(self._go_on, steps))

    def _compute(self) -> None:
        while self._queue and self._computing < self.cores:
            self._computing += 1
            steps, us = self._queue.popleft()
            self._later(us, partial(self._computed, steps))

    def _computed(self, steps: Steps) -> None:
        self._computing -= 1
        self._compute()
        self._go_on(steps)

    def _flush(self) -> None:
        if self._unflushed and not self._is_flushing:
            self._is_flushing = True
            waiting, self._unflushed = self._unflushed, []
            self._later(self.flush_us, partial(self._flushed, waiting))

    def _flushed(self, waiting: Sequence[Steps]) -> None:
        self._is_flushing = False
        self._flush()
        for steps in waiting:
            self._go_on(steps)

    def _later(self, us: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_us + us, next(self._numbers), happen))


def simulate(load: Load, waits: Waits, servers: int, cores: int) -> float:
    """Give messages a second of so many servers on a database of so many cores."""
    house = House(cores, waits.commit_us)
    return house.run([house.serve(load, waits) for _ in range(servers)], SECONDS)


def main() -> None:
    """Measure the constants, print what was measured beside what comes out here, and extrapolate."""
    costs, waits = cost.measure()
    loads = [
        Load(name, costs[name], messages, trips)
        for name, messages, trips in zip(
            costs, (800, 200, 256, 100), (SEND_TRIPS, 2 * TAKE_TRIPS, SEND_TRIPS, TAKE_TRIPS), strict=True
        )
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
