"""Minutes of sending and receiving on PostgreSQL, not seconds: what the dead rows, autovacuum and a held snapshot do to it."""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import msgspec
import psycopg
from psycopg.rows import TupleRow
from scripts.cluster import Cluster, clusters_folder

from bench.cost import database_cpu_seconds
from bench.curve import Panel, draw
from bench.store import Rig
from millrace.clock import wall_ms
from millrace.sql.postgres.preparing import prepare
from millrace.sql.stores import postgres_store

SAMPLE_SECONDS = 10
AHEAD = 5_000  # messages that producers may be ahead of the consumers
PRODUCERS, CONSUMERS, BATCH = 2, 2, 100
HELD = (0.4, 0.6)  # parts of the run between which the snapshot is held: a minute of five

SIZES = """
select
    pg_relation_size('messages'), pg_indexes_size('messages'), pg_total_relation_size('backlog_changes'),
    n_dead_tup, autovacuum_count
from pg_stat_user_tables
where relname = 'messages'
"""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Ten seconds of a run; microseconds of CPU are those of a message, and do not depend on who else is at work here."""

    at_seconds: float
    per_second: float
    heap_bytes: int
    index_bytes: int
    changes_bytes: int
    dead_rows: int
    vacuums: int
    server_us: float
    database_us: float


class Mark(NamedTuple):
    """Where clocks and counts stand."""

    at: float
    received: int
    server_seconds: float
    database_seconds: float


class Run(NamedTuple):
    """What is done for so many minutes."""

    name: str
    backlog: int = 0
    holds: bool = False


def measure(arguments: Sequence[str]) -> None:
    """Make the runs that the arguments ask for, print each sample, and draw the curves."""
    asked = _parser().parse_args(arguments)
    runs = [Run("sent and received")]
    if asked.held_snapshot:
        runs.append(Run("a snapshot held", holds=True))
    if asked.backlog:
        runs.append(Run(f"behind a backlog of {asked.backlog:,}", backlog=asked.backlog))
    samples = [_measure(run, 60 * asked.minutes) for run in runs]
    if asked.picture:
        asked.picture.write_text(_picture(runs, samples, 60 * asked.minutes))


def _picture(runs: Sequence[Run], samples: Sequence[Sequence[Sample]], seconds: float) -> str:
    rates = [[(one.at_seconds, one.per_second) for one in found] for found in samples]
    costs = [[(one.at_seconds, one.server_us + one.database_us) for one in found] for found in samples]
    panels = (Panel("messages a second", rates), Panel("CPU of a message, server and database, in microseconds", costs))
    held = (HELD[0] * seconds, HELD[1] * seconds) if any(run.holds for run in runs) else None
    return draw([run.name for run in runs], panels, held)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench long-run")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long each run lasts")
    parser.add_argument("--held-snapshot", action="store_true", help="a second run with a snapshot held in its middle")
    parser.add_argument("--backlog", type=int, default=0, help="a further run behind so many messages")
    parser.add_argument("--picture", type=Path, help="where to write the curves as SVG")
    return parser


def _measure(run: Run, seconds: float) -> list[Sample]:
    with clusters_folder(durable=True) as folder, Cluster.make(folder / "long", durable=True) as cluster:
        url = cluster.create_database("bench")
        prepare(url)
        print(
            f"{run.name}\n{'s':>6} {'a second':>9} {'heap MB':>8} {'indexes':>8} {'changes':>8} {'dead':>10} {'vacuums':>8}"
        )
        samples = asyncio.run(_run(cluster, url, run, seconds))
        _print_ratios(run, samples, seconds)
        return samples


def _print_ratios(run: Run, samples: Sequence[Sample], seconds: float) -> None:
    quarter = max(1, len(samples) // 4)
    parts = {"last quarter": samples[-quarter:]}
    if run.holds:
        parts["while the snapshot was held"] = [
            one for one in samples if HELD[0] * seconds < one.at_seconds - SAMPLE_SECONDS / 2 <= HELD[1] * seconds
        ]
    for name, part in parts.items():
        rate = _mean(part) / _mean(samples[:quarter])
        cost = _mean_us(part) / _mean_us(samples[:quarter])
        print(f"{name}, against the first quarter: {rate:.2f} of the messages, {cost:.2f} of the CPU of each")


async def _run(cluster: Cluster, url: str, run: Run, seconds: float) -> list[Sample]:
    rig = await Rig.over(postgres_store(url, wall_ms))
    if run.backlog:
        await rig.send(run.backlog, per_send=BATCH, callers=8)
    flow = Flow(rig)
    moving = asyncio.create_task(flow.keep_going())
    samples = await _watch(cluster, url, flow, run, seconds)
    flow.stopped = True
    await moving
    await rig.store.close()
    return samples


class Flow:
    """Messages on their way from producers to consumers, at the pace of the slower ones."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.sent = self.received = 0
        self.stopped = False

    async def keep_going(self) -> None:
        """Send and receive until stopped."""
        producing = [self._produce() for _ in range(PRODUCERS)]
        consuming = [self._consume() for _ in range(CONSUMERS)]
        await asyncio.gather(*producing, *consuming)

    async def _produce(self) -> None:
        while not self.stopped:
            if self.sent - self.received > AHEAD:
                await asyncio.sleep(0.001)
                continue
            self.sent += BATCH
            await self._rig.send(BATCH, per_send=BATCH, callers=1)

    async def _consume(self) -> None:
        while not self.stopped:
            taken = await self._rig.take(BATCH)
            self.received += taken


async def _watch(cluster: Cluster, url: str, flow: Flow, run: Run, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    last = began = Mark(perf_counter(), flow.received, process_time(), database_cpu_seconds(cluster))
    with psycopg.connect(url, autocommit=True) as connection, ExitStack() as held:
        while last.at - began.at < seconds - SAMPLE_SECONDS / 2:
            await asyncio.sleep(SAMPLE_SECONDS - (perf_counter() - began.at) % SAMPLE_SECONDS)
            now = Mark(perf_counter(), flow.received, process_time(), database_cpu_seconds(cluster))
            samples.append(_sample(connection, began, last, now))
            _print(samples[-1])
            last = now
            if run.holds:
                _hold(url, held, (now.at - began.at) / seconds)
    return samples


def _sample(connection: psycopg.Connection[TupleRow], began: Mark, last: Mark, now: Mark) -> Sample:
    heap, indexes, changes, dead, vacuums = connection.execute(SIZES).fetchone() or (0,) * 5
    messages = max(1, now.received - last.received)
    return Sample(
        at_seconds=now.at - began.at,
        per_second=(now.received - last.received) / (now.at - last.at),
        heap_bytes=heap,
        index_bytes=indexes,
        changes_bytes=changes,
        dead_rows=dead,
        vacuums=vacuums,
        server_us=1e6 * (now.server_seconds - last.server_seconds) / messages,
        database_us=1e6 * (now.database_seconds - last.database_seconds) / messages,
    )


def _hold(url: str, held: ExitStack, part: float) -> None:
    """Begin to hold a snapshot, or let it go, as that part of the run asks for."""
    is_held, should_be = bool(getattr(held, "_exit_callbacks", ())), HELD[0] <= round(part, 2) < HELD[1]
    if should_be and not is_held:
        held.enter_context(_snapshot(url))
    elif is_held and not should_be:
        held.close()


@contextmanager
def _snapshot(url: str) -> Iterator[None]:
    with psycopg.connect(url) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select count(*) from queues")
        yield


def _mean(samples: Sequence[Sample]) -> float:
    return sum(one.per_second for one in samples) / len(samples)


def _mean_us(samples: Sequence[Sample]) -> float:
    spent = sum((one.server_us + one.database_us) * one.per_second for one in samples)
    return spent / sum(one.per_second for one in samples)


def _print(one: Sample) -> None:
    sizes = " ".join(f"{size / 1e6:>8.1f}" for size in (one.heap_bytes, one.index_bytes, one.changes_bytes))
    print(
        f"{one.at_seconds:>6.0f} {one.per_second:>9,.0f} {sizes} {one.dead_rows:>10,} {one.vacuums:>8} {one.server_us:>12.1f} {one.database_us:>10.1f}",
        flush=True,
    )
