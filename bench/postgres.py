"""Figures of the store on PostgreSQL, on a private cluster with its own durable settings, as ratios to the floor G."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvloop
from scripts.cluster import Cluster, clusters_folder

from bench.peers import RUNS, Figures, figures_of
from bench.postgres_floor import floor_rows_per_second
from bench.servers import Work, work_per_second
from bench.store import DEEP, ROUNDS, Rig
from bench.table import Table
from millrace.clock import wall_ms
from millrace.sql.postgres.preparing import prepare
from millrace.sql.stores import postgres_store

ROWS = 60_000
PEERS_DEPTH = 100_000
NO_DEEPER = 1 / 1.3  # a million messages may slow the way out by so much
NO_SLOWER = 0.95  # a second server must not slow the first down, beyond what two runs differ by themselves


def measure(table: Table) -> None:
    """Measure our store beside the floor, then beside its peers, then two servers beside one."""
    with clusters_folder(durable=True) as folder, Cluster.make(folder / "bench", durable=True) as cluster:
        url = cluster.create_database("bench")
        prepare(url)
        uvloop.run(_alone(url, table))
        _beside_peers(cluster, table)
        _beside_a_second(cluster, table)


async def _alone(url: str, table: Table) -> None:
    """Measure what one server does."""
    rig = await Rig.over(postgres_store(url, wall_ms))
    floored = partial(_floored, table, url)
    await floored("PostgreSQL: send, batches of 100, 8 in flight", partial(_send, rig), 0.5)
    await floored("PostgreSQL: send one by one, 256 callers", lambda: rig.send(ROWS, per_send=1, callers=256), 0.5)
    await _empty(rig)
    await floored("PostgreSQL: receive + settle by 100, depth 0, 2 in flight", partial(_drain_filled, rig), 0.25)
    await _deep(rig, floored, table)
    await rig.store.close()


async def _deep(rig: Rig, floored: Callable[..., Awaitable[None]], table: Table) -> None:
    """Measure the way out at a million messages, beside the floor and in turn with another queue that is empty."""
    deep = await rig.beside()
    await deep.send(DEEP, per_send=100, callers=8)
    await floored("PostgreSQL: receive + settle by 100, depth 1,000,000", partial(deep.drain, ROWS, 2), 0.25)
    rates = []
    for _ in range(ROUNDS):
        shallow = await _drain_filled(rig)
        rates.append((await deep.drain(ROWS, 2), shallow))
    table.ratio("PostgreSQL: depth 1,000,000 (floor: depth 0)", rates, NO_DEEPER)
    await _empty(deep)


async def _send(rig: Rig) -> float:
    return await rig.send(ROWS, per_send=100, callers=8)


async def _drain_filled(rig: Rig) -> float:
    await _send(rig)
    return await rig.drain(ROWS, 2)


async def _floored(table: Table, url: str, name: str, run: Callable[[], Awaitable[float]], wanted: float) -> None:
    """Measure in turn with the floor."""
    rates = []
    for _ in range(ROUNDS):
        floor = await asyncio.to_thread(floor_rows_per_second, url, ROWS)
        rates.append((await run(), floor))
    table.ratio(name, rates, wanted)


async def _empty(rig: Rig) -> None:
    """Let go of all messages, rows and index entries included."""
    await rig.store.purge(rig.queue.id, wall_ms())
    while await rig.store.sweep():
        pass


def _beside_peers(cluster: Cluster, table: Table) -> None:
    """Measure each peer in turn with us at the same work; print our rates as ratios to the best of each kind."""
    turns = []
    for name in RUNS:
        with _new_database(cluster, "ours") as url:
            turns.append((name, uvloop.run(_ours(url)), figures_of(url, name)))
    for name, _, theirs in turns:
        rates = ", ".join(f"{rate:,.0f}" for rate in theirs)
        table.line(f"{name + ' a second: batches, singles, drained':<58} {rates}")
    for kind, what, wanted in zip(range(3), ("batches", "singles", "drained"), (1, 1, 2), strict=True):
        rates_of_best = max(((ours[kind], theirs[kind]) for _, ours, theirs in turns), key=lambda pair: pair[1])
        table.ratio(f"PostgreSQL: {what} (floor: the best peer's)", [rates_of_best], wanted)


async def _ours(url: str) -> Figures:
    """Do the peers' work: singles, batches up to a depth of 100,000, and out again."""
    rig = await Rig.over(postgres_store(url, wall_ms))
    singles = await rig.send(ROWS // 2, per_send=1, callers=256)
    batches = await rig.send(PEERS_DEPTH - ROWS // 2, per_send=100, callers=8)
    drained = await rig.drain(PEERS_DEPTH, 2)
    await rig.store.close()
    return Figures(batches, singles, drained)


def _beside_a_second(cluster: Cluster, table: Table) -> None:
    """Let two servers share the work of one, each round on a database of its own."""
    rates = []
    for number in range(ROUNDS):
        one, two = (_work(cluster, f"servers_{number}_{servers}", servers) for servers in (1, 2))
        rates.append((two.per_second, one.per_second))
        if two.received != two.distinct:
            table.line(f"{'two servers gave out messages twice':<58} {two.received - two.distinct:>10,}  below")
    table.ratio("PostgreSQL: two servers on one database (floor: one)", rates, NO_SLOWER)


def _work(cluster: Cluster, name: str, servers: int) -> Work:
    with _new_database(cluster, name) as url:
        return work_per_second(url, servers, ROWS)


@contextmanager
def _new_database(cluster: Cluster, name: str) -> Iterator[str]:
    url = cluster.create_database(name)
    prepare(url)
    try:
        yield url
    finally:
        cluster.drop_database(name)
