"""PostgreSQL for a program that is no server: it writes and reads, hears of nothing, and never leads."""

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import psycopg

from millrace.errors import StoreRefused, StoreUnavailable
from millrace.sql.postgres.borrowed import wake_watchers
from millrace.sql.postgres.connection import unavailable
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.preparing import versions
from millrace.sql.postgres.session import Session, run_in, write_in
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.postgres.writer import BUSY
from millrace.sql.transaction import RunAgain, Transaction

T = TypeVar("T")

CONNECTIONS = 4


class Visitor:
    """A few connections, opened when they are needed, and threads that use them."""

    def __init__(self, url: str, cursors: Cursors) -> None:
        self._threads = ThreadPoolExecutor(CONNECTIONS, "millrace-visitor")
        self._free: queue.LifoQueue[Session] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._free.put(Session(url, (), cursors))

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)` in a transaction of its own and give its result once it is on disk; it may run again.

        Raises:
            StoreUnavailable: it could not be committed, or nobody knows whether it was.
            psycopg.Error: a statement of the program's own was refused, by a constraint perhaps; all is undone.
        """
        return await self._on_thread(lambda session: _write(session, fn))

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)`, which only reads, on one snapshot."""
        return await self._on_thread(lambda session: run_in(session, fn))

    async def close(self) -> None:
        """Finish what is under way and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        while not self._free.empty():
            self._free.get().close()

    async def _on_thread(self, act: Callable[[Session], T]) -> T:
        def run() -> T:
            session = self._free.get()
            try:
                return act(session)
            except psycopg.OperationalError as error:
                session.give_up()
                raise unavailable(error) from error
            finally:
                self._free.put(session)

        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, run)


def check_version(url: str) -> None:
    """Let a database pass that has this program's tables.

    Raises:
        StoreRefused: it has none, or older or newer ones.
        StoreUnavailable: it cannot be reached now.
    """
    try:
        found = versions(url)
    except psycopg.Error as error:
        raise unavailable(error) from error
    for version in found:
        if version.pending:
            raise StoreRefused(
                f"the database has schema version {version.present} of {version.name}, this program needs "
                f"{version.newest}; run millrace db migrate, or start a server of this version"
            )


def _write(session: Session, fn: Callable[[Transaction], T]) -> T:
    def run(tx: PostgresTransaction) -> T:
        result = fn(tx)
        wake_watchers(tx)
        return result

    try:
        return write_in(session, run)[0]
    except RunAgain as error:
        raise StoreUnavailable(str(error) or BUSY) from None
