"""One run of a workflow's instance: what is remembered of it, what is under way, and when it can do no more for now."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, NoReturn

import msgspec

from millrace import limits
from millrace.handlers.journal import Begun, Journal, Pause, StepNote

NEAR_MS = 500  # a delivery may come some milliseconds too early
QUIET_SECONDS = 0.03  # a run whose steps all wait may still be on its way to another one
CANCEL_SECONDS = 5.0


class Run:
    """A run from its beginning until it ends, or waits. A step that waits is parked: it never returns to its caller."""

    def __init__(self, id: str, begun: Begun, journal: Journal) -> None:
        self._id, self._begun, self._journal = id, begun, journal
        self._notes = {(note.name, note.number): note for note in begun.steps}
        self._started = monotonic()
        self._held: list[asyncio.Future[Any]] = []
        self._wakes: list[int] = []
        self._unwritten: list[StepNote] = []
        self._in_flight = self._moves = self._written = 0
        self._result_bytes = sum(len(note.result or "") for note in begun.steps)
        self._changed = asyncio.Event()
        self._trouble: Exception | None = None
        self._is_over = False
        self.is_fenced = False  # a later run has begun, or somebody has ended the instance

    def now_ms(self) -> int:
        """Give the server's time: that of the beginning, and what has passed since."""
        return self._begun.now_ms + int((monotonic() - self._started) * 1000)

    def open(self, name: str, number: int) -> StepNote:
        """Give what a step came to before, or a new note."""
        self._moves += 1
        return self._notes.get((name, number)) or StepNote(name=name, number=number, status="waiting")

    async def until(self, wakes_at_ms: int, note: StepNote | None = None) -> None:
        """Wait for a time: here when it is near, else parked; see `park` for `note`."""
        remaining_ms = wakes_at_ms - self.now_ms()
        if remaining_ms > NEAR_MS:
            await self.park(wakes_at_ms, note)
        if remaining_ms > 0:
            with self.flight():
                await asyncio.sleep(remaining_ms / 1000)

    async def park(self, wakes_at_ms: int, note: StepNote | None = None) -> NoReturn:
        """Leave the caller waiting for ever; `note` is written when the run ends."""
        self._wakes.append(wakes_at_ms)
        if note is not None:
            self._unwritten.append(note)
        await self._never()

    async def breathe(self) -> None:
        """Park when the run has lasted a minute: it goes on as another delivery, with a handler's whole time.

        Only one that has done something is parked, or an instance that takes long to repeat would never go on.
        """
        if self._written and monotonic() - self._started > limits.WORKFLOW_RUN_SECONDS:
            await self.park(self.now_ms())

    async def note(self, note: StepNote) -> None:
        """Write what a step came to; return only if that counts."""
        try:
            with self.flight():
                counts = await self._journal.note(self._id, self._begun.version, note)
        except Exception as error:  # noqa: BLE001 - whatever it is, the workflow must not take it for its step's
            self._trouble = error
            await self._never()
        if not counts:
            self.is_fenced = True
            await self._never()
        self._written += 1
        self._result_bytes += len(note.result or "")

    def check_room(self, note: StepNote) -> StepNote:
        """Give the note, or one that says that its result is too much beside the others'."""
        most = limits.WORKFLOW_RESULTS_BYTES
        if note.result is None or self._result_bytes + len(note.result) <= most:
            return note
        sentence = f"the results of all steps have over {most} bytes; keep what is large elsewhere"
        return msgspec.structs.replace(note, status="errored", result=None, error=sentence)

    @contextmanager
    def flight(self) -> Iterator[None]:
        """Keep the run from being put aside meanwhile."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._moves += 1
            self._changed.set()

    def hold(self, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
        """Have a future cancelled with the run."""
        self._held.append(future)
        return future

    async def drive(self, running: asyncio.Task[Any]) -> bool:
        """Wait until the workflow's function ends, or can do no more for now; True if it has ended.

        Raises:
            Exception: what the journal raised.
        """
        try:
            while not running.done() and not await self._is_stuck(running):
                await self._change_or(running)
            if self._trouble is not None:
                raise self._trouble
            return running.done()
        finally:
            await self._cancel(running)

    def pause(self) -> Pause:
        """Tell what the run waits for."""
        wakes_at_ms = min(self._wakes, default=self.now_ms())
        status = "waiting" if wakes_at_ms > self.now_ms() else "queued"
        return Pause(status=status, wakes_at_ms=wakes_at_ms, steps=tuple(self._unwritten))  # type: ignore[arg-type]

    async def _change_or(self, running: asyncio.Task[Any]) -> None:
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({running, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        self._changed.clear()

    async def _is_stuck(self, running: asyncio.Task[Any]) -> bool:
        if self._trouble is not None or self.is_fenced:
            return True
        if self._in_flight or not self._wakes:
            return False
        moves = self._moves
        await asyncio.wait({running}, timeout=QUIET_SECONDS)
        if self._moves != moves:
            self._changed.set()
        return self._moves == moves and not self._in_flight and not running.done()

    async def _never(self) -> NoReturn:
        self._changed.set()
        if not self._is_over:  # else a function that catches its cancellation would wait for another one
            await self.hold(asyncio.get_running_loop().create_future())
        raise asyncio.CancelledError

    async def _cancel(self, running: asyncio.Task[Any]) -> None:
        self._is_over = True
        futures = {running, *self._held}
        for future in futures:
            future.cancel()
        await asyncio.wait(futures, timeout=CANCEL_SECONDS)
        for future in futures:
            if future.done() and not future.cancelled():
                future.exception()  # so that none is reported as never looked at
