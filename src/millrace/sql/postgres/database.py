"""PostgreSQL behind three group commits of this process, with a few connections beside them.

The sends of a moment go in one transaction, and so do the leases and the settlements; the three overlap, so that one is
at work in the database while another waits for its fsync. What applications do in transactions of their own, and what
is only read, has connections of its own: it may wait for another server.
"""

import asyncio
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from time import monotonic
from typing import TypeVar, cast

import psycopg

from millrace.clock import Clock
from millrace.errors import MillraceError, StoreUnavailable
from millrace.sql.groups import ANSWER_SECONDS, LATE
from millrace.sql.postgres.connection import Entrance
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.hearing import Ear
from millrace.sql.postgres.session import Session, run_in, write_in
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.postgres.writer import Writer, told_of
from millrace.sql.transaction import RunAgain, Transaction

T = TypeVar("T")
Item = TypeVar("Item")

POOL = 4
LOOK_AGAIN_SECONDS = 5.0
UNTOLD_SECONDS = 1.0
FAILURE_SECONDS = 2.0  # for so long a failed write speaks against a store that takes small ones
CLOSE_SECONDS = 10.0  # for what is under way; then the connections are cut
CUT_AGAIN_SECONDS = 0.5


class PostgresDatabase:
    """One database that others use, too. Made and used inside one event loop."""

    shares = True
    wakes_early = False  # sends and receives are committed apart

    def __init__(
        self,
        url: str,
        clock: Clock,
        packages: tuple[str, ...] = (),
        direct_url: str | None = None,
        on_time: Callable[[int], None] = lambda now_ms: None,
    ) -> None:
        self.location = url
        self.on_commit: Callable[[set[str]], None] = lambda woken: None
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._failed_at = -FAILURE_SECONDS
        self._closed = False
        cursors, entrance = Cursors(), Entrance(url)
        writing, pooled = ([Session(url, packages, cursors, entrance) for _ in range(many)] for many in (3, POOL))
        self._pool = ThreadPoolExecutor(POOL, "millrace-pool")
        self._sessions = [*writing, *pooled]
        self._free: queue.LifoQueue[Session] = queue.LifoQueue()
        for session in pooled:
            self._free.put(session)
        self._ear = Ear(direct_url or url, self._tell, on_time)
        names = ("millrace-sends", "millrace-receives", "millrace-settlements")
        self._sends, self._receives, self._settlements = [
            Writer(session, name, self._ear.notify, self._tell, self._note_trouble)
            for session, name in zip(writing, names, strict=True)
        ]

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)` in a transaction of its own and give its result once it is on disk.

        It runs again, up to eight times, when another server was in its way.

        Raises:
            StoreUnavailable: it could not be committed, or nobody knows whether it was.
        """
        context = copy_context()

        def run(tx: PostgresTransaction) -> T:
            result = context.run(fn, tx)
            self._ear.notify(tx)
            return result

        result, woken = await self._in_pool(lambda session: write_in(session, run))
        if woken:
            self._tell(woken)
        return result

    async def write_checked(self, fn: Callable[[Transaction], T], *, leases: bool = False) -> T:
        """Like `write` in the current group commit, for functions that refuse before their first change."""
        writer = self._receives if leases else self._settlements
        return cast(T, await writer.put("checked", fn))

    async def write_merged(self, fn: Callable[[Transaction, list[Item]], Sequence[T | MillraceError]], item: Item) -> T:
        """Like `write_checked`, but neighbours with the same `fn` are given to it in one call."""
        return cast(T, await self._sends.put("merged", fn, item))

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)`, which only reads, on one snapshot."""
        return await self._in_pool(lambda session: run_in(session, fn))

    async def check(self) -> None:
        """Write the time now, which shows whether the database takes anything."""
        await self.write_checked(lambda tx: tx.apply("set_now", (self._clock(),)))
        if monotonic() - self._failed_at < FAILURE_SECONDS:
            raise StoreUnavailable("the store could not write a moment ago")

    async def foreign_version(self) -> int:
        """Give the number of the last change of queues, keys and secrets, whoever made it."""
        return cast(int, await self.read(lambda tx: tx.fetch("changes")[0][0]))

    def chosen(self) -> bool | None:
        """Say whether this process was chosen to lead; None behind a pooler, which lets nobody be chosen."""
        return self._ear.chosen

    def look_again_seconds(self) -> float:
        """Give how long a receiver may wait to be told: behind a pooler nobody tells him."""
        return LOOK_AGAIN_SECONDS if self._ear.hears or self._ear.chosen is not None else UNTOLD_SECONDS

    def watched(self, names: set[str]) -> None:
        """Take note of what is watched here, and let the other servers know."""
        self._ear.listen_for(names)

    async def close(self) -> None:
        """Finish what is under way, within ten seconds, and let go of the connections."""
        self._closed = True
        cutting = asyncio.create_task(self._cut_after(CLOSE_SECONDS))
        await asyncio.gather(*(writer.close() for writer in (self._sends, self._receives, self._settlements)))
        await self._loop.run_in_executor(None, self._pool.shutdown)
        cutting.cancel()
        await self._loop.run_in_executor(None, self._ear.close)
        for session in self._sessions:
            session.close()

    def _note_trouble(self) -> None:
        self._failed_at = monotonic()

    def _tell(self, woken: set[str]) -> None:
        self.on_commit(woken)  # which is set later than this is made

    async def _cut_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while True:
            for session in self._sessions:
                session.cut()
            await asyncio.sleep(CUT_AGAIN_SECONDS)

    async def _in_pool(self, act: Callable[[Session], T]) -> T:
        if self._closed:
            raise StoreUnavailable("the store is closed")

        def run() -> T:
            session = self._free.get()
            try:
                return act(session)
            except (psycopg.Error, RunAgain) as error:
                reason = told_of(error)
                raise reason from reason.__cause__
            finally:
                self._free.put(session)

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._loop.run_in_executor(self._pool, run)
        except TimeoutError:
            raise StoreUnavailable(LATE) from None
