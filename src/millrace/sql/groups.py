"""The inbox of a writer: callers put functions in, one thread takes out all there are and commits them together.

While a commit waits for the disk, the next group gathers. docs/design/group-commit.md has the figures.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any, Protocol

from millrace.errors import MillraceError, StoreUnavailable
from millrace.sql.transaction import Transaction

GROUP_OPERATIONS = 1_000
ANSWER_SECONDS = 20.0  # a commit may wait for a standby, or a machine that is gone; nobody need do so with it
LOOK_SECONDS = 1.0
LATE = (
    "the store has not answered for too long, so nobody knows whether this was done; "
    "do it again, a send with the same idempotency key"
)
WAITS = "the store still waits for a commit; look at the database's standby, or at the disk"


class Operation:
    """A function in the inbox, with the future of its caller.

    Neighbours of kind "merged" with the same function are given to it in one call; "checked" ones refuse before their
    first change; those of kind "alone" are undone by themselves.
    """

    __slots__ = ("fn", "future", "item", "kind")

    def __init__(self, kind: str, fn: Callable[..., Any], item: Any, future: asyncio.Future[Any]) -> None:
        self.kind, self.fn, self.item, self.future = kind, fn, item, future


Answer = tuple[asyncio.Future[Any], Any, BaseException | None]


class Open(Protocol):
    """A transaction that a group runs in."""

    @property
    def tx(self) -> Transaction:
        """What the functions hold."""
        ...

    def changed(self) -> int:
        """Give a number that rises with each change."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Undo what is done within when it raises, and nothing else."""
        ...

    def told(self, error: Exception) -> Exception:
        """Give what a caller is told of an error of his function."""
        ...


class Inbox:
    """Gathers operations for a writer's thread. Made and used inside one event loop.

    `commit` gives the answers of a group and the names of what it has changed, whatever happens: a caller must not wait
    for ever, nor the next group.
    """

    def __init__(
        self,
        commit: Callable[[list[Operation]], tuple[list[Answer], set[str]]],
        on_commit: Callable[[set[str]], None],
        name: str,
    ) -> None:
        self._commit, self._on_commit = commit, on_commit
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[list[Operation] | None] = queue.SimpleQueue()
        self._gathered: list[Operation] = []
        self._under_way: tuple[float, list[Operation]] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._closed = self._stuck = False
        self._thread = threading.Thread(target=self._write_groups, name=name, daemon=True)
        self._thread.start()

    def put(self, kind: str, fn: Callable[..., Any], item: Any = None) -> asyncio.Future[Any]:
        """Put a function in; the future has its result once that is on disk.

        Raises:
            StoreUnavailable: the inbox is closed, or a commit has not come to its end for too long.
        """
        if self._closed or self._stuck:
            raise StoreUnavailable("the store is closed" if self._closed else WAITS)
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
            if self._looking is None:
                self._looking = self._loop.call_later(LOOK_SECONDS, self._look)
        self._gathered.append(Operation(kind, fn, item, future))
        return future

    async def close(self) -> None:
        """Finish what is in the inbox, and end the thread."""
        self._closed = True
        if self._gathered:
            self._hand_over()
        self._inbox.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _hand_over(self) -> None:
        """Pass on all that this turn of the loop gathered: bigger groups, and no fight for the interpreter."""
        gathered, self._gathered = self._gathered, []
        self._inbox.put(gathered)

    def _write_groups(self) -> None:
        while True:
            group, more = self._drain()
            if group:
                self._under_way = (monotonic(), group)
                answers, woken = self._commit(group)
                self._under_way = None
                try:
                    self._loop.call_soon_threadsafe(self._end_group, answers, woken)
                except RuntimeError:  # the loop was closed under us: nobody is left to be told
                    return
            if not more:
                return

    def _drain(self) -> tuple[list[Operation], bool]:
        """Wait for work; give all there is, and whether more may come."""
        group: list[Operation] = []
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

    def _look(self) -> None:
        """Answer whoever has waited for too long; as long as that commit goes on, others are refused at once."""
        self._looking = None
        began, group = self._under_way or (monotonic(), [])
        if not group and self._inbox.empty():
            return
        if monotonic() - began >= ANSWER_SECONDS:
            self._stuck = True
            self._answer([(operation.future, None, StoreUnavailable(LATE)) for operation in group], set())
            self._answer([(operation.future, None, StoreUnavailable(WAITS)) for operation in self._take_back()], set())
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    def _take_back(self) -> list[Operation]:
        """Take out what the thread has not begun with."""
        taken: list[Operation] = []
        while not self._closed:
            try:
                taken += self._inbox.get_nowait() or []
            except queue.Empty:
                break
        return taken

    def _end_group(self, answers: list[Answer], woken: set[str]) -> None:
        self._stuck = False
        self._answer(answers, woken)

    def _answer(self, answers: list[Answer], woken: set[str]) -> None:
        for future, result, error in answers:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if woken:
            self._on_commit(woken)


def run_group(opened: Open, group: Sequence[Operation]) -> list[Answer]:
    """Run the operations in their order in one transaction.

    Raises:
        Exception: the whole group has to be rolled back; each of its members may be run again by itself.
    """
    answers: list[Answer] = []
    position = 0
    while position < len(group):
        operation = group[position]
        end = position + 1
        if operation.kind == "merged":
            while end < len(group) and group[end].fn is operation.fn:
                end += 1
            neighbours = group[position:end]
            results = operation.fn(opened.tx, [neighbour.item for neighbour in neighbours])
            answers += [_answer_of(one, result) for one, result in zip(neighbours, results, strict=True)]
        else:
            answers.append(_answer_of(operation, _run_one(opened, operation)))
        position = end
    return answers


def _run_one(opened: Open, operation: Operation) -> Any:
    if operation.kind == "checked":
        before = opened.changed()
        try:
            return operation.fn(opened.tx)
        except MillraceError as refusal:
            if opened.changed() != before:
                raise  # it refused too late: undo the group and run its members singly
            return refusal
    try:
        with opened.alone():
            return operation.fn(opened.tx)
    except Undone as undone:
        return _Failed(opened.told(undone.error))


class Undone(Exception):
    """What `Open.alone` raises once it has undone what raised `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _answer_of(operation: Operation, result: Any) -> Answer:
    if isinstance(result, MillraceError):
        return operation.future, None, result
    if isinstance(result, _Failed):
        return operation.future, None, result.error
    return operation.future, result, None
