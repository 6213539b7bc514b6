"""SQLite behind one writer thread with group commit.

SQLite has one writer; so have we. A group of functions runs in one transaction, which is committed (WAL,
synchronous=FULL: on disk) before any of them is answered.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from time import monotonic
from typing import TypeVar, cast

import apsw

from millrace.clock import Clock
from millrace.errors import MillraceError, StoreUnavailable
from millrace.sql.groups import Answer, Inbox, Operation, Undone, run_group
from millrace.sql.sqlite.connection import READER_CACHE_KIB, connect
from millrace.sql.sqlite.stamps import Stamps
from millrace.sql.sqlite.transaction import SqliteTransaction
from millrace.sql.transaction import Transaction

T = TypeVar("T")
Item = TypeVar("Item")

LOOK_AGAIN_SECONDS = 30.0
FAILURE_SECONDS = 2.0  # for so long a failed write speaks against the store
WRITER_CACHE_KIB = 32 * 1024


class SqliteDatabase:
    """One file, one writer, one reader. Made and used inside one event loop."""

    shares = False
    wakes_early = True  # a receiver that is woken with a send gets into the group of the send

    def __init__(self, path: str, clock: Clock, packages: tuple[str, ...] = ()) -> None:
        self.location = path
        self.on_commit: Callable[[set[str]], None] = lambda woken: None
        self._loop = asyncio.get_running_loop()
        self._failed_at = -FAILURE_SECONDS
        self._closed = False
        try:
            self._connection = connect(path, WRITER_CACHE_KIB)
            self.tx = SqliteTransaction(self._connection, packages)
            self._stamps = Stamps(self.tx, clock)
            self._stamps.start()
            reader = None if path == ":memory:" else connect(path, READER_CACHE_KIB)
            self._reader = None if reader is None else SqliteTransaction(reader, packages)
        except apsw.Error as error:
            raise _unavailable(error) from error
        self._read_thread = ThreadPoolExecutor(1, "millrace-reader")
        self._inbox = Inbox(self._commit_or_give_up, self._tell, "millrace-writer")

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)` in the current group commit and give its result once it is on disk.

        `fn` runs on the writer's thread in a savepoint of its own: what it raises undoes only its own work. It
        may run twice, so it has no effect outside `tx`. Context variables, such as who acts, are its caller's.

        Raises:
            StoreUnavailable: the group could not be committed; nothing of it was changed.
        """
        context = copy_context()
        return cast(T, await self._inbox.put("alone", lambda tx: context.run(fn, tx)))

    async def write_checked(self, fn: Callable[[Transaction], T], *, leases: bool = False) -> T:
        """Like `write` without the savepoint, for functions that refuse before their first change."""
        return cast(T, await self._inbox.put("checked", fn))

    async def write_merged(self, fn: Callable[[Transaction, list[Item]], Sequence[T | MillraceError]], item: Item) -> T:
        """Like `write_checked`, but neighbours with the same `fn` are given to it in one call.

        `fn` answers one result or refusal for each item.
        """
        return cast(T, await self._inbox.put("merged", fn, item))

    async def check(self) -> None:
        """Write the time now, which shows whether the disk takes anything.

        Raises:
            StoreUnavailable: it does not, or has not taken something bigger a moment ago.
        """
        await self.write(lambda tx: self._stamps.write())
        if monotonic() - self._failed_at < FAILURE_SECONDS:
            raise StoreUnavailable("the store could not write a moment ago")

    async def foreign_version(self) -> int:
        """Give a number that differs from the last one once another process has changed the file."""
        return await self.write(lambda tx: int(str(self._connection.pragma("data_version"))))

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)` on the reader's connection, beside the writer.

        Raises:
            StoreUnavailable: the database cannot be read now.
        """
        reader = self._reader
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if reader is None:
            return await self.write(fn)
        try:
            return await self._loop.run_in_executor(self._read_thread, _in_snapshot, reader, fn)
        except apsw.Error as error:
            raise _unavailable(error) from error

    def chosen(self) -> bool | None:
        """Choose nobody: the lock of the data directory has done so."""
        return None

    def look_again_seconds(self) -> float:
        """Give how long a receiver may wait to be told, which he always is."""
        return LOOK_AGAIN_SECONDS

    def watched(self, names: set[str]) -> None:
        """Do nothing: whoever changes what is watched is in this process."""

    async def close(self) -> None:
        """Finish what is in the inbox and close the file."""
        self._closed = True
        await self._inbox.close()
        self._read_thread.shutdown()
        if self._reader is not None:
            self._reader.connection.close()
        self._connection.close()

    def changed(self) -> int:
        """Give how many rows the connection has changed."""
        return self._connection.total_changes()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run what follows in a savepoint."""
        self._connection.execute("savepoint alone")
        try:
            yield
        except Exception as error:
            if not self._connection.in_transaction:  # SQLite has rolled back the whole group
                raise
            self._connection.execute("rollback to alone")
            self._connection.execute("release alone")
            raise Undone(error) from error
        self._connection.execute("release alone")

    def told(self, error: Exception) -> Exception:
        """Give what a caller is told of an error of his function."""
        return _unavailable(error) if isinstance(error, apsw.Error) else error

    def _tell(self, woken: set[str]) -> None:
        self.on_commit(woken)  # which is set later than this is made

    def _commit_or_give_up(self, group: list[Operation]) -> tuple[list[Answer], set[str]]:
        try:
            answers = self._commit(group)
        except Exception as error:  # noqa: BLE001 - such as a rollback that the disk refuses
            answers = self._give_up(group, error)
        woken, self.tx.woken = self.tx.woken, set()
        return answers, woken

    def _commit(self, group: list[Operation]) -> list[Answer]:
        if self._connection.in_transaction:  # a rollback was refused before
            self._connection.execute("rollback")
        try:
            self._connection.execute("begin immediate")
        except apsw.Error as error:
            return self._give_up(group, error)
        try:
            before = self._connection.total_changes()
            answers = run_group(self, group)
            if self._connection.total_changes() != before:
                self._stamps.write_if_due()
        except Exception as error:  # noqa: BLE001 - it is told to the caller whose work it was
            self._roll_back()
            if isinstance(error, apsw.Error | OSError) and len(group) == 1:
                return self._give_up(group, error)
            if len(group) == 1:
                return [(group[0].future, None, error)]
            return [answer for operation in group for answer in self._commit([operation])]
        try:
            self._connection.execute("commit")
        except apsw.Error as error:
            # A failed fsync is never retried into a success: the frames are given up with the transaction.
            self._roll_back()
            return self._give_up(group, error)
        self._stamps.note_commit()
        return answers

    def _give_up(self, group: list[Operation], error: Exception) -> list[Answer]:
        self._failed_at = monotonic()
        return [(operation.future, None, _unavailable(error)) for operation in group]

    def _roll_back(self) -> None:
        self._stamps.note_rollback()
        if self._connection.in_transaction:
            self._connection.execute("rollback")


def _unavailable(error: Exception) -> StoreUnavailable:
    state = "is corrupt" if isinstance(error, apsw.CorruptError | apsw.NotADBError) else "cannot be used now"
    unavailable = StoreUnavailable(f"the store {state}: {type(error).__name__}")
    unavailable.__cause__ = error
    return unavailable


def _in_snapshot(tx: SqliteTransaction, fn: Callable[[Transaction], T]) -> T:
    tx.connection.execute("begin")
    try:
        return fn(tx)
    finally:
        if tx.connection.in_transaction:
            tx.connection.execute("rollback")
