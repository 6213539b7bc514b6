"""SQLite behind one writer thread with group commit.

SQLite has one writer; so have we. Callers put functions into an inbox; the writer's thread drains it into one
transaction, commits (WAL, synchronous=FULL: on disk), and answers all of them at once. While a commit waits
for the disk, the next group gathers. docs/design/group-commit.md has the figures.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from time import monotonic
from typing import Any, TypeVar, cast

import apsw

from millrace.clock import Clock
from millrace.errors import MillraceError, StoreUnavailable
from millrace.sql.connection import READER_CACHE_KIB, connect
from millrace.sql.stamps import Stamps
from millrace.sql.transaction import Transaction

T = TypeVar("T")
Item = TypeVar("Item")

GROUP_OPERATIONS = 1_000
FAILURE_SECONDS = 2.0  # for so long a failed write speaks against the store
WRITER_CACHE_KIB = 32 * 1024


class _Operation:
    """A function in the inbox, with the future of its caller."""

    __slots__ = ("fn", "future", "item", "kind")

    def __init__(self, kind: str, fn: Callable[..., Any], item: Any, future: asyncio.Future[Any]) -> None:
        self.kind, self.fn, self.item, self.future = kind, fn, item, future


_Answer = tuple[asyncio.Future[Any], Any, BaseException | None]


class SqliteDatabase:
    """One file, one writer, one reader. Made and used inside one event loop."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        on_commit: Callable[[set[str]], None] = lambda woken: None,
        packages: tuple[str, ...] = (),
    ) -> None:
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[list[_Operation] | None] = queue.SimpleQueue()
        self._gathered: list[_Operation] = []
        self._failed_at = -FAILURE_SECONDS
        self._closed = False
        try:
            self._connection = connect(path, WRITER_CACHE_KIB)
            self._tx = Transaction(self._connection, packages)
            self._stamps = Stamps(self._tx, clock)
            self._stamps.start()
            reader = None if path == ":memory:" else connect(path, READER_CACHE_KIB)
            self._reader = None if reader is None else Transaction(reader, packages)
        except apsw.Error as error:
            raise _unavailable(error) from error
        self._read_thread = ThreadPoolExecutor(1, "millrace-reader")
        self._write_thread = threading.Thread(target=self._write_groups, name="millrace-writer", daemon=True)
        self._write_thread.start()

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn(tx)` in the current group commit and give its result once it is on disk.

        `fn` runs on the writer's thread in a savepoint of its own: what it raises undoes only its own work. It
        may run twice, so it has no effect outside `tx`. Context variables, such as who acts, are its caller's.

        Raises:
            StoreUnavailable: the group could not be committed; nothing of it was changed.
        """
        context = copy_context()
        return cast(T, await self._put("alone", lambda tx: context.run(fn, tx), None))

    async def write_checked(self, fn: Callable[[Transaction], T]) -> T:
        """Like `write` without the savepoint, for functions that refuse before their first change."""
        return cast(T, await self._put("checked", fn, None))

    async def write_merged(self, fn: Callable[[Transaction, list[Item]], Sequence[T | MillraceError]], item: Item) -> T:
        """Like `write_checked`, but neighbours with the same `fn` are given to it in one call.

        `fn` answers one result or refusal for each item.
        """
        return cast(T, await self._put("merged", fn, item))

    async def check(self) -> None:
        """Write the time now, which shows whether the disk takes anything.

        Raises:
            StoreUnavailable: it does not, or has not taken something bigger a moment ago.
        """
        await self.write(lambda tx: self._stamps.write())
        if monotonic() - self._failed_at < FAILURE_SECONDS:
            raise StoreUnavailable("the store could not write a moment ago")

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

    async def close(self) -> None:
        """Finish what is in the inbox and close the file."""
        self._closed = True
        if self._gathered:
            self._hand_over()
        self._inbox.put(None)
        await self._loop.run_in_executor(None, self._write_thread.join)
        self._read_thread.shutdown()
        if self._reader is not None:
            self._reader.connection.close()
        self._connection.close()

    async def _put(self, kind: str, fn: Callable[..., Any], item: Any) -> Any:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(_Operation(kind, fn, item, future))
        return await future

    def _hand_over(self) -> None:
        """Give the writer all that this turn of the loop gathered: bigger groups, and no fight for the interpreter."""
        gathered, self._gathered = self._gathered, []
        self._inbox.put(gathered)

    def _write_groups(self) -> None:
        while True:
            group, more = self._drain()
            if group:
                answers = self._commit_or_give_up(group)
                woken, self._tx.woken = self._tx.woken, set()
                try:
                    self._loop.call_soon_threadsafe(self._answer, answers, woken)
                except RuntimeError:  # the loop was closed under us: nobody is left to be told
                    return
            if not more:
                return

    def _drain(self) -> tuple[list[_Operation], bool]:
        """Wait for work; give all there is, and whether more may come."""
        group: list[_Operation] = []
        gathered = self._inbox.get()
        while gathered is not None:
            group += gathered
            if len(group) >= GROUP_OPERATIONS:
                return group, True
            try:
                gathered = self._inbox.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit_or_give_up(self, group: list[_Operation]) -> list[_Answer]:
        """Answer the group whatever happens: a caller must not wait for ever, nor the next group."""
        try:
            return self._commit(group)
        except Exception as error:  # noqa: BLE001 - such as a rollback that the disk refuses
            self._failed_at = monotonic()
            return [(operation.future, None, _unavailable(error)) for operation in group]

    def _commit(self, group: list[_Operation]) -> list[_Answer]:
        if self._connection.in_transaction:  # a rollback was refused before
            self._connection.execute("rollback")
        try:
            self._connection.execute("begin immediate")
        except apsw.Error as error:
            return self._give_up(group, error)
        try:
            before = self._connection.total_changes()
            answers = self._run(group)
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

    def _run(self, group: list[_Operation]) -> list[_Answer]:
        answers: list[_Answer] = []
        position = 0
        while position < len(group):
            operation = group[position]
            if operation.kind == "merged":
                end = position + 1
                while end < len(group) and group[end].fn is operation.fn:
                    end += 1
                neighbours = group[position:end]
                results = operation.fn(self._tx, [neighbour.item for neighbour in neighbours])
                for neighbour, result in zip(neighbours, results, strict=True):
                    answers.append(_answer_of(neighbour, result))
                position = end
            else:
                answers.append(_answer_of(operation, self._run_one(operation)))
                position += 1
        return answers

    def _run_one(self, operation: _Operation) -> Any:
        if operation.kind == "checked":
            before = self._connection.total_changes()
            try:
                return operation.fn(self._tx)
            except MillraceError as refusal:
                if self._connection.total_changes() != before:
                    raise  # it refused too late: undo the group and run its members singly
                return refusal
        self._connection.execute("savepoint alone")
        try:
            result = operation.fn(self._tx)
        except Exception as error:
            if not self._connection.in_transaction:  # SQLite has rolled back the whole group
                raise
            self._connection.execute("rollback to alone")
            result = _Failed(_told(error))
        self._connection.execute("release alone")
        return result

    def _give_up(self, group: list[_Operation], error: apsw.Error | OSError) -> list[_Answer]:
        self._failed_at = monotonic()
        return [(operation.future, None, _unavailable(error)) for operation in group]

    def _roll_back(self) -> None:
        self._stamps.note_rollback()
        if self._connection.in_transaction:
            self._connection.execute("rollback")

    def _answer(self, answers: list[_Answer], woken: set[str]) -> None:
        for future, result, error in answers:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if woken:
            self._on_commit(woken)


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _answer_of(operation: _Operation, result: Any) -> _Answer:
    if isinstance(result, MillraceError):
        return operation.future, None, result
    if isinstance(result, _Failed):
        return operation.future, None, result.error
    return operation.future, result, None


def _told(error: Exception) -> Exception:
    return _unavailable(error) if isinstance(error, apsw.Error) else error


def _unavailable(error: Exception) -> StoreUnavailable:
    state = "is corrupt" if isinstance(error, apsw.CorruptError | apsw.NotADBError) else "cannot be used now"
    unavailable = StoreUnavailable(f"the store {state}: {type(error).__name__}")
    unavailable.__cause__ = error
    return unavailable


def _in_snapshot(tx: Transaction, fn: Callable[[Transaction], T]) -> T:
    tx.connection.execute("begin")
    try:
        return fn(tx)
    finally:
        if tx.connection.in_transaction:
            tx.connection.execute("rollback")
