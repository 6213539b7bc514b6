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
from random import random
from time import monotonic, sleep
from typing import Any, TypeVar, cast

import psycopg

from millrace.clock import Clock
from millrace.errors import MillraceError, StoreUnavailable
from millrace.sql.groups import Answer, Inbox, Operation, run_group
from millrace.sql.postgres.connection import is_worth_another_try, unavailable
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.hearing import Ear
from millrace.sql.postgres.session import Session, run_in
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.transaction import RunAgain, Transaction

T = TypeVar("T")
Item = TypeVar("Item")

POOL = 4
TRIES = 8
PAUSE_SECONDS = 0.002  # before a second try, by chance and at most; twice as long before each further one
LOOK_AGAIN_SECONDS = 5.0
UNTOLD_SECONDS = 1.0
FAILURE_SECONDS = 2.0  # for so long a failed write speaks against the store


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
        cursors = Cursors()
        self._writer = Session(url, packages, cursors)
        self._tx: PostgresTransaction | None = None
        self._pool = ThreadPoolExecutor(POOL, "millrace-pool")
        self._free: queue.LifoQueue[Session] = queue.LifoQueue()
        for _ in range(POOL):
            self._free.put(Session(url, packages, cursors))
        self._ear = Ear(direct_url or url, self._tell, on_time)
        self._inbox = Inbox(self._commit_or_give_up, self._tell, "millrace-writer")

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)` in a transaction of its own and give its result once it is on disk.

        It runs again, up to eight times, when another server was in its way.

        Raises:
            StoreUnavailable: it could not be committed, or nobody knows whether it was.
        """
        context = copy_context()
        result, woken = await self._in_pool(lambda session: self._write_in(session, lambda tx: context.run(fn, tx)))
        if woken:
            self._tell(woken)
        return cast(T, result)

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
        """Finish what is under way and let go of the connections."""
        self._closed = True
        await self._inbox.close()
        await self._loop.run_in_executor(None, self._ear.close)
        self._pool.shutdown()
        self._writer.close()
        while not self._free.empty():
            self._free.get().close()

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
        return unavailable(error) if isinstance(error, psycopg.Error) else error

    def _tell(self, woken: set[str]) -> None:
        self.on_commit(woken)  # which is set later than this is made

    async def _in_pool(self, act: Callable[[Session], T]) -> T:
        if self._closed:
            raise StoreUnavailable("the store is closed")

        def run() -> T:
            session = self._free.get()
            try:
                return act(session)
            except psycopg.Error as error:
                if not is_refusal(error):
                    session.give_up()
                raise unavailable(error) from error
            finally:
                self._free.put(session)

        return await self._loop.run_in_executor(self._pool, run)

    def _write_in(self, session: Session, fn: Callable[[Transaction], Any]) -> tuple[Any, set[str]]:
        for tried in range(1, TRIES + 1):
            try:
                with session.transaction() as tx:
                    result = fn(tx)
                    self._ear.notify(tx)
                return result, set(tx.woken)
            except RunAgain:
                if tried == TRIES:
                    raise StoreUnavailable("the store is too busy with the same things; try again") from None
            except psycopg.Error as error:
                if tried == TRIES or not is_worth_another_try(error):
                    raise
            sleep(random() * PAUSE_SECONDS * 2**tried)  # else those who were in each other's way would be so again
        raise AssertionError

    def _commit_or_give_up(self, group: list[Operation]) -> tuple[list[Answer], set[str]]:
        woken: set[str] = set()
        try:
            return self._commit(group, woken), woken
        except Exception as error:  # noqa: BLE001 - a caller must not wait for ever, nor the next group
            return self._give_up(group, error), woken

    def _commit(self, group: list[Operation], woken: set[str]) -> list[Answer]:
        """Commit a group; when it fails for what one of them did, each by itself, twice if another server was in the way."""
        for tried in range(1, TRIES + 1):
            try:
                answers = self._run(group)
            except Exception as error:  # noqa: BLE001 - it is told to the caller whose work it was
                is_another_try = isinstance(error, RunAgain) or is_worth_another_try(error)
                if isinstance(error, StoreUnavailable) or is_lost(error):
                    return self._give_up(group, error)
                if len(group) > 1:
                    return [answer for operation in group for answer in self._commit([operation], woken)]
                if is_another_try and tried < TRIES:
                    sleep(random() * PAUSE_SECONDS * 2**tried)
                    continue
                if isinstance(error, psycopg.Error | RunAgain):
                    return self._give_up(group, error)
                return [(group[0].future, None, error)]
            assert self._tx is not None
            woken |= self._tx.woken
            return answers
        raise AssertionError

    def _run(self, group: list[Operation]) -> list[Answer]:
        with self._writer.transaction() as tx:
            self._tx = tx
            answers = run_group(self, group)
            self._ear.notify(tx)
            return answers

    def _give_up(self, group: list[Operation], error: Exception) -> list[Answer]:
        self._failed_at = monotonic()
        if isinstance(error, psycopg.Error):
            self._writer.give_up()
        told = error if isinstance(error, StoreUnavailable) else _why(error)
        return [(operation.future, None, told) for operation in group]


def is_lost(error: Exception) -> bool:
    """Say whether the connection, or the right to write on it, is gone: to try again at once would help nobody."""
    return isinstance(error, psycopg.OperationalError) and not is_worth_another_try(error)


def is_refusal(error: psycopg.Error) -> bool:
    """Say whether the database is well and refused one statement."""
    return not isinstance(error, psycopg.OperationalError) and (error.sqlstate or "") != "25006"


def _why(error: Exception) -> StoreUnavailable:
    if isinstance(error, psycopg.Error):
        return unavailable(error)
    why = StoreUnavailable(f"the store cannot be used now: {type(error).__name__}")
    why.__cause__ = error
    return why
