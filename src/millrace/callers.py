"""Sends in transactions that a program has open on connections of its own."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from millrace.parcels import Parcel, accept, bears_keys, store
from millrace.placing import Stored
from millrace.sql.postgres.borrowed import BorrowedTransaction, Home, Run, at_home, run_part, wake_watchers
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.drivers import borrow

# One that waits for another's commit must not keep that one out.
SENDS_AT_ONCE = 1_000


class Callers:
    """The way of a parcel into a transaction of its sender; `home` is the store that it must lead to."""

    def __init__(self, home: Home, cursors: Cursors) -> None:
        self._home, self._cursors = home, cursors
        self._threads = ThreadPoolExecutor(SENDS_AT_ONCE, "millrace-caller")

    async def send(self, connection: Any, parcel: Parcel) -> Stored:
        """Send in the transaction that is open there; nobody hears of it before its commit.

        Raises:
            InvalidInput: a connection without a transaction, to another database, or of another driver.
            QueueNotFound, InvalidMessage, BacklogFull, IdempotencyKeyReused: as for a send of its own.
        """
        return await borrow(connection, self._threads, lambda run: self._send(run, parcel))

    def close(self) -> None:
        """Let the threads end with what they do."""
        self._threads.shutdown(wait=False)  # they need the event loop that calls this

    def _send(self, run: Run, parcel: Parcel) -> Stored:
        tx = BorrowedTransaction(run, self._cursors)
        with at_home(tx, self._home) as now_ms:
            accepted = accept(tx, parcel, now_ms)
            stored = run_part(tx, lambda part: store(part, accepted), has_keys=bears_keys(accepted))
            wake_watchers(tx)
        return stored
