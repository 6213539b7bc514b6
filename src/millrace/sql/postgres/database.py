"""PostgreSQL behind a group commit of this process, with a few connections beside it.

Sends, leases and settlements of a moment go in one transaction, as on SQLite; so do their fsyncs. What applications do
in transactions of their own, and what is only read, has connections of its own: it may wait for another server.
"""

import asyncio
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from time import monotonic
from typing import TypeVar, cast

import psycopg

from millrace.clock import Clock
from millrace.errors import MillraceError, StoreUnavailable
from millrace.sql.groups import ANSWER_SECONDS, LATE, Answer, Inbox, Operation, run_group
from millrace.sql.postgres.connection import Entrance, is_gone, told
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.hearing import Ear
from millrace.sql.postgres.session import TRIES, Session, run_in, write_in
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.transaction import RunAgain, Transaction

T = TypeVar("T")
Item = TypeVar("Item")

POOL = 4
LOOK_AGAIN_SECONDS = 5.0
UNTOLD_SECONDS = 1.0
GROUP_LOCK_MS = 250  # then one operation of a group waits alone; two groups that wait crosswise are soon apart
FAILURE_SECONDS = 2.0  # for so long a failed write speaks against a store that takes small ones
CLOSE_SECONDS = 10.0  # for what is under way; then the connections are cut
CUT_AGAIN_SECONDS = 0.5
BUSY = "the store is too busy with the same things; try again"
TROUBLE = ("53", "55P03", "57014", "58")  # of the whole database, and no fault of one statement


class PostgresDatabase:
    """One database that others use, too. Made and used inside one event loop."""

    shares = True
    wakes_early = True  # a receiver that is woken with a send gets into the group of the send

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
        self._writer, *pooled = [Session(url, packages, cursors, entrance) for _ in range(1 + POOL)]
        self._tx: PostgresTransaction | None = None
        self._pool = ThreadPoolExecutor(POOL, "millrace-pool")
        self._sessions = [self._writer, *pooled]
        self._free: queue.LifoQueue[Session] = queue.LifoQueue()
        for session in pooled:
            self._free.put(session)
        self._ear = Ear(direct_url or url, self._tell, on_time)
        self._inbox = Inbox(self._commit_or_give_up, self._tell, "millrace-writer")

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

    async def write_checked(self, fn: Callable[[Transaction], T]) -> T:
        """Like `write` in the current group commit, for functions that refuse before their first change."""
        return cast(T, await self._inbox.put("checked", fn))

    async def write_merged(self, fn: Callable[[Transaction, list[Item]], Sequence[T | MillraceError]], item: Item) -> T:
        """Like `write_checked`, but neighbours with the same `fn` are given to it in one call."""
        return cast(T, await self._inbox.put("merged", fn, item))

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
        await self._inbox.close()
        await self._loop.run_in_executor(None, self._pool.shutdown)
        cutting.cancel()
        await self._loop.run_in_executor(None, self._ear.close)
        for session in self._sessions:
            session.close()

    @property
    def tx(self) -> Transaction:
        """The transaction of the group."""
        assert self._tx is not None
        return self._tx

    def changed(self) -> int:
        """Give how many changing statements the group has run."""
        return self._tx.changed if self._tx is not None else 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run what follows in a savepoint; nothing here does, since writes of their own have a connection."""
        yield

    def told(self, error: Exception) -> Exception:
        """Give what a caller is told of an error of his function."""
        if isinstance(error, RunAgain):
            return StoreUnavailable(BUSY)
        return told(error) if isinstance(error, psycopg.Error) else error

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
                reason = self.told(error)
                raise reason from reason.__cause__
            finally:
                self._free.put(session)

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._loop.run_in_executor(self._pool, run)
        except TimeoutError:
            raise StoreUnavailable(LATE) from None

    def _commit_or_give_up(self, group: list[Operation]) -> tuple[list[Answer], set[str]]:
        woken: set[str] = set()
        return self._commit(group, woken), woken

    def _commit(self, group: list[Operation], woken: set[str]) -> list[Answer]:
        """Commit a group; when it fails for what one of them did, each half by itself. A caller must not wait for ever."""
        try:
            answers, changed = write_in(self._writer, lambda tx: self._run(tx, group), TRIES if len(group) == 1 else 1)
        except Exception as error:  # noqa: BLE001 - it is told to the caller whose work it was
            if len(group) > 1 and _speaks_of_one(error):
                return self._commit_halves(group, woken)
            if _is_trouble(error):
                self._failed_at = monotonic()
            reason = self.told(error)
            return [(operation.future, None, reason) for operation in group]
        woken |= changed
        return answers

    def _commit_halves(self, group: list[Operation], woken: set[str]) -> list[Answer]:
        """Commit the first half, and the second unless that would wait as long for the same trouble."""
        began, middle = monotonic(), len(group) // 2
        answers = self._commit(group[:middle], woken)
        if self._failed_at < began:
            return [*answers, *self._commit(group[middle:], woken)]
        return [*answers, *[(operation.future, None, answers[-1][2]) for operation in group[middle:]]]

    def _run(self, tx: PostgresTransaction, group: list[Operation]) -> list[Answer]:
        self._tx = tx
        if len(group) > 1:
            tx.run(f"set local lock_timeout = {GROUP_LOCK_MS}")
        answers = run_group(self, group)
        self._ear.notify(tx)
        return answers


def _speaks_of_one(error: Exception) -> bool:
    """Say whether the others of a group may well be served: none is, while the database itself is in trouble."""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return True
    return not isinstance(error, StoreUnavailable) and not is_gone(error) and not _is_trouble(error)


def _is_trouble(error: Exception) -> bool:
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(TROUBLE)
