"""The waiting room: receivers from outside wait here, and a ready batch wakes one of them and nobody else.

Each queue that is waited for has one line and one loop that serves it, so a thousand waiters cost the store no
more than one does.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.clock import Clock
from millrace.errors import MillraceError
from millrace.message import Message
from millrace.queue import Queue
from millrace.runtime import window
from millrace.runtime.waits import at_most
from millrace.settlement import Postpone
from millrace.store import Received, Store
from millrace.telemetry import Telemetry


class Waiter:
    """One receiver: what it would take, where its answer goes, and `check`, which raises when it may take no more."""

    def __init__(
        self, queue: Queue, limit: int, lease_ms: int, *, in_window: bool, check: Callable[[], None] = lambda: None
    ) -> None:
        self.queue, self.limit, self.lease_ms, self.in_window = queue, limit, lease_ms, in_window
        self.check = check
        self.answer: asyncio.Future[Received | None] = asyncio.get_running_loop().create_future()


class _Line(msgspec.Struct, eq=False):
    """The waiters of one queue in their order, the event that may end their wait, and who serves them."""

    changed: asyncio.Event
    waiters: dict[Waiter, None] = {}
    last: Received = Received(messages=[])
    serving: asyncio.Task[None] | None = None


class WaitingRoom:
    """Lets receivers wait until a batch is ready for them."""

    def __init__(self, store: Store, catalog: Catalog, broker: Broker, telemetry: Telemetry, clock: Clock) -> None:
        self._store, self._catalog, self._broker = store, catalog, broker
        self._telemetry, self._clock = telemetry, clock
        self._lines: dict[str, _Line] = {}
        self._giving_back: set[asyncio.Task[None]] = set()
        self._closed = False

    async def receive(self, waiter: Waiter, wait_seconds: float, left: asyncio.Future[None]) -> Received | None:
        """Take a batch, waiting up to `wait_seconds` for one; None when the queue was changed meanwhile.

        Raises:
            ConnectionError: `left` was done first; what was leased to the waiter is given back without an attempt.
            MillraceError: what `Broker.receive` and `Catalog.queue` raise.
        """
        if self._closed:
            wait_seconds = 0
        queue = waiter.queue
        if queue.id not in self._lines:
            received = await self._try(waiter)
            if received.messages or not wait_seconds:
                return self._unless_left(queue, received, left)
        line = self._join(waiter)
        try:
            either: set[asyncio.Future[Any]] = {waiter.answer, left}
            await asyncio.wait(either, timeout=wait_seconds, return_when=asyncio.FIRST_COMPLETED)
            answer = waiter.answer.result() if waiter.answer.done() else line.last
        finally:
            _leave(line, waiter)
        return self._unless_left(queue, answer, left)

    def count(self, account_id: str) -> dict[str, int]:
        """Count who waits, by the name of the queue."""
        lines = [line.waiters for line in self._lines.values() if line.waiters]
        firsts = {next(iter(waiters)).queue: len(waiters) for waiters in lines}
        return {queue.name: count for queue, count in firsts.items() if queue.account_id == account_id}

    def wake(self) -> None:
        """Let all who wait look again, since their queue may have been changed."""
        for line in self._lines.values():
            line.changed.set()

    def close(self) -> None:
        """Let nobody wait any more: answer all with what there is, which is nothing but what is on its way."""
        self._closed = True
        self.wake()

    def _join(self, waiter: Waiter) -> _Line:
        queue_id = waiter.queue.id
        line = self._lines.get(queue_id)
        if line is None:
            line = self._lines[queue_id] = _Line(changed=asyncio.Event(), waiters={})
            line.serving = asyncio.create_task(self._serve(queue_id, line))
        line.waiters[waiter] = None
        return line

    async def _serve(self, queue_id: str, line: _Line) -> None:
        """Serve the first in the line, again and again, until nobody is left in it."""
        try:
            with self._store.watch(queue_id) as changed:
                line.changed = changed
                while line.waiters and not self._closed:
                    changed.clear()
                    if not await self._serve_first(line):
                        await at_most(self._seconds_to_look_again(line), changed)
                for waiter in line.waiters:
                    _answer(waiter, line.last)
        except Exception as error:  # noqa: BLE001 - whoever waits gets an empty answer in time, and asks again
            self._telemetry.emit("loop.failed", step="WaitingRoom", error=error)
        finally:
            del self._lines[queue_id]

    async def _serve_first(self, line: _Line) -> bool:
        """Give the first waiter its batch, and say whether the next may have its turn at once."""
        waiter = next(iter(line.waiters))
        try:
            waiter.check()
            queue = await self._catalog.queue(waiter.queue.account_id, waiter.queue.id)
            received = await self._try(waiter) if queue == waiter.queue else None
        except MillraceError as error:
            line.waiters.pop(waiter, None)
            if not waiter.answer.done():
                waiter.answer.set_exception(error)
            return True
        if received is not None and not received.messages:
            line.last = received
            return waiter not in line.waiters
        if waiter.answer.done() and received is not None:  # it left while this was on its way
            self._give_back(waiter.queue, received.messages)
        line.waiters.pop(waiter, None)
        _answer(waiter, received)
        return True

    async def _try(self, waiter: Waiter) -> Received:
        is_ready = window.of(waiter.queue.consumer, self._clock) if waiter.in_window else None
        return await self._broker.receive(waiter.queue, waiter.limit, waiter.lease_ms, is_ready)

    def _seconds_to_look_again(self, line: _Line) -> float:
        waiter = next(iter(line.waiters), None)
        consumer = waiter.queue.consumer if waiter is not None and waiter.in_window else None
        max_wait_time_ms = consumer.settings.max_wait_time_ms if consumer else 0
        at_ms = window.look_again_ms(line.last.ready_since_ms, line.last.next_due_at_ms, max_wait_time_ms)
        return window.seconds_until(at_ms, self._clock(), self._store.look_again_seconds())

    def _unless_left(self, queue: Queue, received: Received | None, left: asyncio.Future[None]) -> Received | None:
        if not left.done():
            return received
        if received is not None:
            self._give_back(queue, received.messages)
        raise ConnectionError("the client left")

    def _give_back(self, queue: Queue, messages: list[Message]) -> None:
        """Release a delivery that never reached anybody, as if it had not been."""
        if messages:
            giving = asyncio.create_task(self._release(queue, messages))
            self._giving_back.add(giving)
            giving.add_done_callback(self._giving_back.discard)

    async def _release(self, queue: Queue, messages: list[Message]) -> None:
        try:
            await self._broker.settle(queue, [(message.lease, Postpone(0)) for message in messages])
        except MillraceError as error:  # the leases lapse by themselves
            self._telemetry.emit("store.failed", queue=queue.name, error=error)


def _leave(line: _Line, waiter: Waiter) -> None:
    line.waiters.pop(waiter, None)
    waiter.answer.cancel()
    if not line.waiters:
        line.changed.set()


def _answer(waiter: Waiter, received: Received | None) -> None:
    if not waiter.answer.done():
        waiter.answer.set_result(received)
