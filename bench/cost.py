"""What a message costs on PostgreSQL: CPU of server and database, fsyncs, bytes of heap, index and write-ahead log.

`python -m bench cost` measures messages that are sent in batches of 100 and received and settled so; figures are of one
message, from its send to its end.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import psycopg
import uvloop
from scripts.cluster import Cluster, clusters_folder

from bench.store import ROUNDS, Rig
from millrace.clock import wall_ms
from millrace.sql.postgres.preparing import prepare
from millrace.sql.stores import postgres_store

ROWS = 60_000
STATISTICS_SECONDS = 1.1  # after which a process of PostgreSQL tells its counts, with its next commit
COMMITS = 300

COUNTERS = """
select
    (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, wal_records, wal_fpi, wal_sync
from pg_stat_wal
"""
SIZES = "select pg_relation_size('messages'), pg_indexes_size('messages')"


class Cost(NamedTuple):
    """What one message took; sizes of heap and indexes are those of a message that waits."""

    per_second: float
    server_us: float
    database_us: float
    wal_bytes: float
    wal_records: float
    full_pages: float
    fsyncs: float
    heap_bytes: float
    index_bytes: float


class Counted(NamedTuple):
    """Where the counters stand."""

    server_seconds: float
    database_seconds: float
    wal_bytes: int
    wal_records: int
    full_pages: int
    fsyncs: int


class Waits(NamedTuple):
    """Microseconds that pass while nobody computes: for a question and its answer, and for a commit beyond that."""

    round_trip_us: float
    commit_us: float


def measure() -> tuple[dict[str, Cost], Waits]:
    """Measure sends and deliveries on a private durable cluster, print them, and give them by name."""
    with clusters_folder(durable=True) as folder, Cluster.make(folder / "cost", durable=True) as cluster:
        url = cluster.create_database("bench")
        prepare(url)
        costs, waits = uvloop.run(_measure(cluster, url)), _waits(url)
    for name, cost in costs.items():
        print(f"\n{name}")
        for what, value in cost._asdict().items():
            print(
                f"{what.replace('_', ' '):<20} {value:>12,.4f}"
                if value < 1
                else f"{what.replace('_', ' '):<20} {value:>12,.1f}"
            )
    print(f"\nround trip {waits.round_trip_us:.0f} us, commit {waits.commit_us:.0f} us")
    return costs, waits


def database_cpu_seconds(cluster: Cluster) -> float:
    """Give the CPU seconds of all processes of a cluster, those that have ended included."""
    number = cluster.number
    if number is None:
        return 0.0
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    own, *others = [_cpu_ticks(int(one)) for one in (number, *children)]
    return (sum(own) + sum(alive for alive, _ in others)) / os.sysconf("SC_CLK_TCK")


def _cpu_ticks(number: int) -> tuple[int, int]:
    """Give what a process has taken, and what those of its children had that have ended."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0, 0
    user, system, ended_user, ended_system = map(int, fields[11:15])
    return user + system, ended_user + ended_system


def _waits(url: str) -> Waits:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table commits (number bigint)")
        asked = _median_us(lambda: connection.execute("select 1", prepare=True))
        committed = _median_us(lambda: connection.execute("insert into commits values (1)", prepare=True))
    return Waits(asked, committed - asked)


def _median_us(act: Callable[[], object]) -> float:
    took = []
    for _ in range(COMMITS):
        began = perf_counter()
        act()
        took.append(perf_counter() - began)
    return 1e6 * median(took)


async def _measure(cluster: Cluster, url: str) -> dict[str, Cost]:
    """Measure each kind of work in turn; keep the round in which least else was at work here."""
    rig = await Rig.over(postgres_store(url, wall_ms))
    await rig.send(ROWS // 10, per_send=100, callers=8)
    await rig.drain(ROWS // 10, 2)  # statements are prepared, pages are in memory
    works: dict[str, Callable[[], Awaitable[float]]] = {
        "send, batches of 100, 8 in flight": lambda: rig.send(ROWS, per_send=100, callers=8),
        "receive + settle by 100, 2 in flight": lambda: rig.drain(ROWS, 2),
        "send one by one, 256 callers": lambda: rig.send(ROWS, per_send=1, callers=256),
        "receive + settle by 100, 1 in flight": lambda: rig.drain(ROWS, 1),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            costs[name].append(await _cost(cluster, url, rig, work))
    await rig.store.close()
    return {name: max(found) for name, found in costs.items()}


async def _cost(cluster: Cluster, url: str, rig: Rig, run: Callable[[], Awaitable[float]]) -> Cost:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("checkpoint")
        before, (heap, index) = _counted(cluster, connection), _sizes(connection)
        per_second = await run()
        cpu = process_time(), database_cpu_seconds(cluster)
        await asyncio.sleep(STATISTICS_SECONDS)
        await rig.store.check()
        after, (heap_after, index_after) = (*cpu, *_counted(cluster, connection)[2:]), _sizes(connection)
    spent = [(late - early) / ROWS for late, early in zip(after, before, strict=True)]
    return Cost(
        per_second, 1e6 * spent[0], 1e6 * spent[1], *spent[2:], (heap_after - heap) / ROWS, (index_after - index) / ROWS
    )


def _counted(cluster: Cluster, connection: psycopg.Connection[tuple[int, ...]]) -> Counted:
    wal_bytes, records, full_pages, fsyncs = connection.execute(COUNTERS).fetchone() or (0,) * 4
    return Counted(process_time(), database_cpu_seconds(cluster), wal_bytes, records, full_pages, fsyncs)


def _sizes(connection: psycopg.Connection[tuple[int, ...]]) -> tuple[int, int]:
    heap, index = connection.execute(SIZES).fetchone() or (0, 0)
    return heap, index
