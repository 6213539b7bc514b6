"""Figures of the store on PostgreSQL, on a private cluster with its own durable settings, as ratios to the floor G."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median

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
NO_DEEPER = 1 / 1.3  # a million messages may slow the way out by so much
NO_SLOWER = 0.95  # a second server must not slow the first down, beyond what two runs differ by themselves


def measure(table: Table) -> None:
    """Measure our store beside the floor, then beside its peers, then two servers beside one."""
    with clusters_folder(durable=True) as folder, Cluster.make(folder / "bench", durable=True) as cluster:
        url = cluster.create_database("bench")
        prepare(url)
        ours = uvloop.run(_alone(url, table))
        _beside_peers(cluster, ours, table)
        _beside_a_second(cluster, table)


async def _alone(url: str, table: Table) -> Figures:
    """Measure what one server does; give the rates that the peers' are held against."""
    rig = await Rig.over(postgres_store(url, wall_ms))
    floored = partial(_floored, table, url)

    async def from_empty() -> float:
        await rig.send(ROWS, per_send=100, callers=8)
        return await rig.drain(ROWS, 2)

    batches, _ = await floored(
        "PostgreSQL: send, batches of 100, 8 in flight", lambda: rig.send(ROWS, per_send=100, callers=8), 0.5
    )
    singles, _ = await floored(
        "PostgreSQL: send one by one, 256 callers", lambda: rig.send(ROWS, per_send=1, callers=256), 0.5
    )
    await _empty(rig)
    drained, ratio = await floored("PostgreSQL: receive + settle by 100, depth 0, 2 in flight", from_empty, 0.25)
    await rig.send(DEEP, per_send=100, callers=8)
    deep = partial(rig.drain, ROWS, 2)
    await floored("PostgreSQL: receive + settle by 100, depth 1,000,000", deep, max(0.25, NO_DEEPER * ratio))
    await rig.store.close()
    return Figures(batches, singles, drained)


async def _floored(
    table: Table, url: str, name: str, run: Callable[[], Awaitable[float]], wanted: float
) -> tuple[float, float]:
    """Measure in turn with the floor; give the median rate and the ratio."""
    rates = []
    for _ in range(ROUNDS):
        floor = await asyncio.to_thread(floor_rows_per_second, url, ROWS)
        rates.append((await run(), floor))
    return median(rate for rate, _ in rates), table.ratio(name, rates, wanted)


async def _empty(rig: Rig) -> None:
    """Let go of all messages, rows and index entries included."""
    await rig.store.purge(rig.queue.id, wall_ms())
    while await rig.store.sweep():
        pass


def _beside_peers(cluster: Cluster, ours: Figures, table: Table) -> None:
    """Measure the peers at the same work and print our rates as ratios to theirs."""
    theirs = {name: figures_of(cluster.url("bench"), name) for name in RUNS}
    for name, figures in theirs.items():
        rates = ", ".join(f"{rate:,.0f}" for rate in figures)
        table.line(f"{name + ' a second: batches, singles, drained':<58} {rates}")
    best = Figures(*(max(rates) for rates in zip(*theirs.values(), strict=True)))
    table.ratio("PostgreSQL: batches (floor: the best peer's)", [(ours.sent_in_batches, best.sent_in_batches)], 1)
    table.ratio("PostgreSQL: singles (floor: the best peer's)", [(ours.sent_one_by_one, best.sent_one_by_one)], 1)
    table.ratio("PostgreSQL: drained (floor: the best peer's)", [(ours.drained, best.drained)], 2)


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
    url = cluster.create_database(name)
    try:
        return work_per_second(url, servers, ROWS)
    finally:
        cluster.drop_database(name)
