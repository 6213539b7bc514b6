"""The pool of processes that run a file's handlers.

A process has one batch at a time: only so is it known which messages a crash is charged to.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import NamedTuple

from millrace.batch import MessageBatch
from millrace.bindings import Count, Send
from millrace.handlers.asking import Ask
from millrace.runtime.faults import HandlerDied, error_of
from millrace.runtime.frames import Done, Program
from millrace.runtime.loop import run_every
from millrace.runtime.memory import resident_bytes
from millrace.runtime.process import NO_ASKS, NO_COUNTS, HandlerProcess, ProgramFailed, start_process
from millrace.settlement import Postpone, Retry
from millrace.telemetry import Telemetry

MEMORY_BYTES = 1024**3
IDLE_SECONDS = 60.0
TEND_SECONDS = 1.0
PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 30.0
UNTRIED_SECONDS = 10.0


class _Turn(NamedTuple):
    """A call that waits for a process; None says that there will be none."""

    queue: str
    granted: asyncio.Future[HandlerProcess | None]


class Children:
    """Up to `size` processes, started as they are needed.

    `sends` and `counts` are what the bindings of queues do, by name; `asks` answers for the other ones.
    """

    def __init__(
        self,
        program: Program,
        sends: Mapping[str, Send],
        telemetry: Telemetry,
        *,
        size: int,
        memory_bytes: int = MEMORY_BYTES,
        counts: Mapping[str, Count] = NO_COUNTS,
        environ: Mapping[str, str] | None = None,
        asks: Mapping[str, Ask] = NO_ASKS,
    ) -> None:
        self._program, self._sends, self._counts, self._telemetry = program, sends, counts, telemetry
        self._environ, self._asks = environ, asks
        self._size, self._memory_bytes = size, memory_bytes
        self._all: set[HandlerProcess] = set()
        self._idle: list[HandlerProcess] = []  # the one used last stands last
        self._waiting: list[_Turn] = []
        self._deadly: set[str] = set()  # queues whose last call ended its process, or had it ended
        self._leaving: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._mishaps = 0  # starts that failed, and ends that no batch explains, since a batch was handled
        self._stopping = False

    async def start(self) -> None:
        """Start the first process.

        Raises:
            ProgramFailed: a handler cannot be imported.
        """
        self._offer(await self._start_one())
        self._tending = asyncio.create_task(run_every(TEND_SECONDS, self.tend, self._telemetry))

    async def call(self, batch: MessageBatch, env: object) -> None:
        """Have a batch handled, as a handler's call; `env` is not used, for a process makes its own.

        Cancellation ends the process that has the batch. What no process had is put off without an attempt.

        Raises:
            PermanentError, RetryLater, HandlerError: what the handler raised.
            HandlerDied: its process ended before it did.
        """
        process = await self._take(batch)
        if process is None:
            return
        try:
            done = await process.call(batch)
        except (HandlerDied, asyncio.CancelledError) as error:
            self._lost(process, batch.queue, error)
            raise
        finally:
            self._give_back(process)
        self._mishaps = 0
        self._deadly.discard(batch.queue)
        _report(done, batch)

    async def tend(self) -> None:
        """Look once at what there is: end what holds too much memory, and what was idle for a minute."""
        for process in list(self._all):
            held_bytes = resident_bytes(process.pid) if process.queue else None
            if held_bytes is not None and held_bytes > self._memory_bytes:
                self._end_for_memory(process, held_bytes)
        while len(self._idle) > 1 and monotonic() - self._idle[0].idle_since >= IDLE_SECONDS:
            self._retire(self._idle.pop(0))

    async def stop(self) -> None:
        """End idle processes at once and the others after their batch; batches that wait for one are put off."""
        self._stopping = True
        background = [task for task in (self._tending, self._starting) if task is not None]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        for turn in self._waiting:
            if not turn.granted.done():
                turn.granted.set_result(None)
        self._waiting.clear()
        while self._idle:
            self._retire(self._idle.pop())
        while ends := {process.end for process in self._all} | self._leaving:
            await asyncio.wait(ends)

    async def _take(self, batch: MessageBatch) -> HandlerProcess | None:
        """Give a process; None when the batch was put off."""
        try:
            granted = await self._wait_turn(batch.queue)
        except asyncio.CancelledError:
            _put_off(batch, UNTRIED_SECONDS)
            raise
        if granted is None:
            _put_off(batch, 0)
        return granted

    async def _wait_turn(self, queue: str) -> HandlerProcess | None:
        """Wait for a process; None when there will be none."""
        if self._stopping:
            return None
        turn = _Turn(queue, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        self._match()
        self._grow()
        try:
            return await turn.granted
        except asyncio.CancelledError:
            if turn.granted.cancelled():
                self._waiting.remove(turn)
            elif process := turn.granted.result():  # it was granted in the same moment
                self._offer(process)
            raise

    def _offer(self, process: HandlerProcess) -> None:
        """Give a process to who waits, or keep it."""
        process.queue = None
        self._idle.append(process)
        self._match()

    def _match(self) -> None:
        """Grant idle processes; of those who wait, the queue that has the fewest goes first."""
        while self._idle:
            held = Counter(process.queue for process in self._all)
            waiting = [turn for turn in self._waiting if not turn.granted.done()]
            pairs = ((turn, self._choose(turn.queue)) for turn in sorted(waiting, key=lambda turn: held[turn.queue]))
            turn, process = next((pair for pair in pairs if pair[1] is not None), (None, None))
            if turn is None or process is None:
                return
            self._waiting.remove(turn)
            self._idle.remove(process)
            process.queue = turn.queue
            turn.granted.set_result(process)

    def _choose(self, queue: str) -> HandlerProcess | None:
        """Choose an idle process, rather one that had this queue before.

        A queue that costs a process with each call gets none that another queue keeps warm, while there is room for
        a new one: else the other would wait for a start each time.
        """
        own = [process for process in self._idle if process.last_queue == queue]
        fresh = [process for process in self._idle if process.last_queue is None]
        others = [] if queue in self._deadly and len(self._all) < self._size else self._idle
        found = own or fresh or others
        return found[-1] if found else None

    def _lost(self, process: HandlerProcess, queue: str, error: BaseException) -> None:
        """Note that a call has cost its process, and tell of it unless we ended it."""
        self._deadly.add(queue)
        if isinstance(error, HandlerDied) and not process.was_killed:
            self._telemetry.emit("handler.died", queue=queue, process=process.pid, reason=str(error))

    def _give_back(self, process: HandlerProcess) -> None:
        if process.was_killed or process.end.done():
            return
        if self._stopping or process.memory_bytes > self._memory_bytes / 2:
            self._retire(process)
        else:
            self._offer(process)

    def _retire(self, process: HandlerProcess) -> None:
        """Have an idle process leave; if somebody waits another one takes its place."""
        self._all.discard(process)
        leaving = asyncio.create_task(process.leave())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        self._grow()

    def _grow(self) -> None:
        """See to it that processes are started, one after the other, as long as they are needed."""
        if self._is_short() and (self._starting is None or self._starting.done()):
            self._starting = asyncio.create_task(self._start_those_needed())

    def _is_short(self) -> bool:
        is_wanted = not self._all or any(not turn.granted.done() for turn in self._waiting)
        return is_wanted and len(self._all) < self._size and not self._stopping

    async def _start_those_needed(self) -> None:
        while self._is_short():
            if self._mishaps:
                await asyncio.sleep(pause_seconds(self._mishaps))
            try:
                self._offer(await self._start_one())
            except (ProgramFailed, OSError) as error:
                self._mishaps += 1
                self._telemetry.emit("handler.unloadable", reason=str(error))

    async def _start_one(self) -> HandlerProcess:
        process = await start_process(self._program, self._sends, self._counts, self._environ, self._asks)
        self._all.add(process)
        process.end.add_done_callback(partial(self._ended, process))
        return process

    def _ended(self, process: HandlerProcess, end: asyncio.Task[str]) -> None:
        """Forget a process that is gone; one that was idle had no reason to go."""
        if process in self._idle:
            self._idle.remove(process)
            self._mishaps += 1
            self._telemetry.emit("handler.died", queue=process.last_queue, process=process.pid, reason=end.result())
        self._all.discard(process)
        self._grow()

    def _end_for_memory(self, process: HandlerProcess, held_bytes: int) -> None:
        self._telemetry.emit(
            "handler.memory",
            queue=process.queue,
            process=process.pid,
            bytes=held_bytes,
            allowed_bytes=self._memory_bytes,
        )
        process.kill(f"was ended because it held {held_bytes} bytes of memory; {self._memory_bytes} are allowed")


def pause_seconds(mishaps: int) -> float:
    """Say how long to wait before the next start: 0.1 s, doubled with each mishap up to 30 s."""
    return min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2.0 ** min(mishaps - 1, 20))


def _report(done: Done, batch: MessageBatch) -> None:
    """Note and raise in this process what was raised in the other."""
    batch.ignored += done.ignored
    for place, fault in done.failures:
        batch.failures.append((batch.messages[place], error_of(fault)))
    if done.fault is None:
        return
    if done.fault.kind == "other" and batch.outcome is None:
        batch.outcome = Retry(reason=done.fault.name)  # as if it had been raised here
    raise error_of(done.fault)


def _put_off(batch: MessageBatch, delay_seconds: float) -> None:
    """No handler has seen these: have them delivered later, without an attempt."""
    for message in batch.messages:
        message.outcome = Postpone(delay_seconds)
