"""Sweeping: what has ended counts as absent at once; its rows go here, in chunks that never hold the writer for long."""

from millrace import limits
from millrace.sql.transaction import Transaction
from millrace.store import Store

CHUNK = 250  # rows of each kind; with an index page of its own each, 250 hold the writer for some milliseconds
KV_CHUNK = 20  # a value may be a megabyte


async def sweep(store: Store, now_ms: int) -> int:
    """Remove one chunk of what has ended: locks, claims, removed states, keys and full buckets; give how many rows."""
    if not await store.read(lambda tx: _has_ended(tx, now_ms)):
        return 0
    return await store.write(lambda tx: _sweep(tx, now_ms))


def _has_ended(tx: Transaction, now_ms: int) -> bool:
    """Look beside the writer, which most of the time need not be troubled."""
    if tx.shares and tx.fetch("any_place_ended", (now_ms,)):
        return True
    return bool(tx.fetch("anything_ended", (now_ms, now_ms - limits.STATE_REMOVED_SECONDS * 1000)))


def _sweep(tx: Transaction, now_ms: int) -> int:
    swept = 0
    for name in ("sweep_locks", "sweep_claims", "sweep_caller_buckets"):
        swept += len(tx.fetch(name, (now_ms, CHUNK)))
    if tx.shares:
        swept += len(tx.fetch("sweep_places", (now_ms,)))
    swept += len(tx.fetch("sweep_states", (now_ms - limits.STATE_REMOVED_SECONDS * 1000, CHUNK)))
    return swept + len(tx.fetch("sweep_kv", (now_ms, KV_CHUNK)))
