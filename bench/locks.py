"""Figures of locks in the server, beside single commits."""

import asyncio
from pathlib import Path
from time import perf_counter

from bench.floor import raw_inserts_per_second
from bench.store import Rig
from bench.table import Table
from millrace.clock import wall_ms
from millrace.coordination.locks import Locks

ROUNDS, PAIRS = 3, 1_000
CALLERS = 32
TTL_MS = 60_000


async def measure(folder: Path, table: Table) -> None:
    """Take and release locks, one after the other and many at once."""
    rig = await Rig.set_up(folder / "locks")
    locks = Locks(rig.store, wall_ms)
    took_ms: list[float] = []
    rates = []
    for _ in range(ROUNDS):
        commits = await asyncio.to_thread(raw_inserts_per_second, folder, 2 * PAIRS, 1)
        began = perf_counter()
        took_ms += await _pairs(locks, "one", PAIRS)
        rates.append((PAIRS / (perf_counter() - began), commits / 2))
    table.ratio("lock taken + released, 1 caller (floor: two commits)", rates, 0.4)
    table.typical("lock taken + released", sorted(took_ms), p50_ms=1)
    began = perf_counter()
    await asyncio.gather(*(_pairs(locks, f"one-of-{caller}", PAIRS // 4) for caller in range(CALLERS)))
    table.rate(f"locks taken + released, {CALLERS} callers", CALLERS * (PAIRS // 4) / (perf_counter() - began), 2_000)
    await rig.store.close()


async def _pairs(locks: Locks, key: str, count: int) -> list[float]:
    """Take and release a lock so many times; milliseconds of each pair."""
    took_ms = []
    for _ in range(count):
        began = perf_counter()
        lock = await locks.take("bench", key, "holder", TTL_MS)
        await locks.release("bench", key, lock.lock_id)
        took_ms.append(1000 * (perf_counter() - began))
    return took_ms
