"""One process of handlers, as the server sees it: it is started, has one batch at a time, and ends."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, cast

import msgspec

from millrace.batch import MessageBatch
from millrace.bindings import Count, Send
from millrace.errors import ConfigurationError, InvalidMessage
from millrace.handlers.asking import Ask
from millrace.message import Backlog, Lease, Outgoing
from millrace.runtime import frames
from millrace.runtime.faults import HandlerDied
from millrace.runtime.frames import FrameTooLarge, Program, apply_spoken, pack

LOAD_SECONDS = 60.0
ASK_SECONDS = 1.0
END_SECONDS = 1.0
LEAVE_SECONDS = 5.0
STANDARD_ERROR = 2
NO_COUNTS: Mapping[str, Count] = {}
NO_ASKS: Mapping[str, Ask] = {}
NO_LEASE = Lease(0, 0)  # receipts are the server's business


class ProgramFailed(ConfigurationError):
    """Correct the handler that `key` (a queue's name, or None for `main`) and the sentence name."""

    def __init__(self, key: str | None, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


async def start_process(
    program: Program,
    sends: Mapping[str, Send],
    counts: Mapping[str, Count] = NO_COUNTS,
    environ: Mapping[str, str] | None = None,
    asks: Mapping[str, Ask] = NO_ASKS,
) -> "HandlerProcess":
    """Start a process and have it load the program.

    What handlers print goes to standard error: standard output is for log lines. The process has a session of its
    own, so Ctrl-C does not reach it, and what it starts can be ended with it.

    Raises:
        ProgramFailed: the program cannot be imported, or not within a minute.
        OSError: the system has no room for a process.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            system = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "millrace.runtime.child", str(theirs.fileno())),
                stdin=DEVNULL,
                stdout=STANDARD_ERROR,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=environ,
            )
        loop = asyncio.get_running_loop()
        _, process = await loop.create_unix_connection(lambda: HandlerProcess(system, sends, counts, asks), sock=ours)
    except BaseException:
        ours.close()  # a process that sees this ends itself
        raise
    await process.load(program)
    return process


class HandlerProcess(asyncio.Protocol):
    """A process and the connection to it. `end` is done when it is gone, and says how that came."""

    def __init__(
        self, system: Process, sends: Mapping[str, Send], counts: Mapping[str, Count], asks: Mapping[str, Ask]
    ) -> None:
        self._system, self._sends, self._counts, self._asks = system, sends, counts, asks
        self._incoming = frames.Incoming(frames.Up)
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()
        self._loaded: asyncio.Future[frames.Loaded | frames.Failed] = asyncio.get_running_loop().create_future()
        self._loading: str | None = None
        self._done: asyncio.Future[frames.Done] | None = None
        self._answered = asyncio.Event()
        self._noted: frames.Noted | None = None
        self._number = 0
        self._answering: set[asyncio.Task[None]] = set()
        self._blame: str | None = None
        self.pid = system.pid
        self.queue: str | None = None  # whose batch it has
        self.last_queue: str | None = None
        self.idle_since = monotonic()
        self.memory_bytes = 0
        self.end = asyncio.create_task(self._wait_for_end())

    @property
    def was_killed(self) -> bool:
        """Say whether we ended it."""
        return self._blame is not None

    async def load(self, program: Program) -> None:
        """Have it import the program; when it fails the process is ended.

        Raises:
            ProgramFailed: as `start_process`.
        """
        self._write(program)
        try:
            await self._first_of(self._loaded, within_seconds=LOAD_SECONDS)
            failed = self._why_not_loaded()
        except asyncio.CancelledError:
            await self._kill_and_wait("was not needed")
            raise
        if failed is not None:
            await self._kill_and_wait("could not load the handlers")
            raise ProgramFailed(failed.key, failed.sentence)

    async def call(self, batch: MessageBatch) -> frames.Done:
        """Have a batch handled, and note on it what was said there, however it ends.

        Cancellation ends the process; what was said before counts.

        Raises:
            HandlerDied: the process ended first.
        """
        done = self._begin(batch)
        try:
            await self._first_of(done)
        except asyncio.CancelledError:
            await self._interrupt(done)
            raise
        finally:
            self.queue, self.idle_since = None, monotonic()
            if last := done.result() if done.done() else self._noted:
                apply_spoken(last.spoken, batch)
        if not done.done():
            raise HandlerDied(self.end.result())
        self.memory_bytes = done.result().memory_bytes
        return done.result()

    async def leave(self) -> None:
        """Let it end in order, within five seconds."""
        self._write(frames.Leave())
        await asyncio.wait({self.end}, timeout=LEAVE_SECONDS)
        await self._kill_and_wait("did not end in time")
        await asyncio.gather(*self._answering)

    def kill(self, blame: str) -> None:
        """End it, and what it has started, at once; `blame` goes on after "the handler's process"."""
        if self._system.returncode is None and not self.end.done():
            self._blame = self._blame or blame
            self._end_group()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        """Take what the process says."""
        try:
            for frame in self._incoming.feed(data):
                self._take(frame)
        except (msgspec.DecodeError, FrameTooLarge) as error:
            self.kill(f"sent what cannot be read: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the process has closed the connection, or is gone."""
        self._closed.set()

    def _begin(self, batch: MessageBatch) -> asyncio.Future[frames.Done]:
        self._number += 1
        self._noted = None
        self.queue = self.last_queue = batch.queue
        self._done = asyncio.get_running_loop().create_future()
        messages = [msgspec.structs.replace(held._message, lease=NO_LEASE) for held in batch.messages]  # noqa: SLF001
        self._write(frames.Work(number=self._number, queue=batch.queue, messages=messages, backlog=batch.backlog))
        return self._done

    async def _first_of(self, *futures: asyncio.Future[Any], within_seconds: float | None = None) -> None:
        """Wait for one of these or the end of the process, without cancelling any."""
        await asyncio.wait({*futures, self.end}, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)

    def _why_not_loaded(self) -> frames.Failed | None:
        if not self._loaded.done():
            why = self.end.result() if self.end.done() else f"this took longer than {LOAD_SECONDS:.0f} s"
            return frames.Failed(key=self._loading, sentence=f"while this was imported, {why}")
        loaded = self._loaded.result()
        return loaded if isinstance(loaded, frames.Failed) else None

    async def _interrupt(self, done: asyncio.Future[frames.Done]) -> None:
        """Ask what is noted and end the process, although its loop may be blocked."""
        self._answered.clear()
        answered = asyncio.create_task(self._answered.wait())
        try:
            self._write(frames.Ask(number=self._number))
            await self._first_of(done, answered, within_seconds=ASK_SECONDS)
        finally:
            answered.cancel()
            await self._kill_and_wait("was ended at its time limit")

    async def _kill_and_wait(self, blame: str) -> None:
        self.kill(blame)
        await asyncio.wait({self.end}, timeout=END_SECONDS)

    async def _wait_for_end(self) -> str:
        """Wait until the process is gone, and say how.

        One of exit and closed connection follows from the other, but for a process that closes its connection, or
        leaves it to one that it started.
        """
        exited = asyncio.create_task(self._system.wait())
        closed = asyncio.create_task(self._closed.wait())
        await asyncio.wait({exited, closed}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({exited, closed}, timeout=END_SECONDS)
        self.kill("closed its connection")
        code = await exited
        self._end_group()  # else what a handler has started would be left behind
        closed.cancel()
        if self._transport is not None:
            self._transport.abort()
        return f"the handler's process {self._blame or _how(code)}"

    def _end_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it has just ended
            os.killpg(self.pid, signal.SIGKILL)

    def _take(self, frame: frames.Up) -> None:
        match frame:
            case frames.Done() if self._done is not None and frame.number == self._number:
                self._done.set_result(frame)
            case frames.Noted() if frame.number == self._number:
                self._noted = frame
                if frame.asked:
                    self._answered.set()
            case frames.Send() | frames.Count() | frames.Call():
                task = asyncio.create_task(self._answer(frame))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case frames.Loading():
                self._loading = frame.key
            case frames.Loaded() | frames.Failed():
                self._loaded.set_result(frame)

    async def _answer(self, frame: frames.Send | frames.Count | frames.Call) -> None:
        answer: frames.Sent | frames.Told
        try:
            if isinstance(frame, frames.Call):
                value = await self._asks[frame.binding](frame.method, frame.arguments)
                answer = frames.Told(number=frame.number, value=value)
            else:
                answer = frames.Sent(number=frame.number, backlog=await self._carry_out(frame))
        except Exception as error:  # noqa: BLE001 - it is the handler's, who sees it as if it had sent by itself
            name = InvalidMessage.__name__ if isinstance(error, msgspec.DecodeError) else type(error).__name__
            kind = frames.Told if isinstance(frame, frames.Call) else frames.Sent
            answer = kind(number=frame.number, error=name, sentence=str(error))
        try:
            self._write(answer)
        except FrameTooLarge as error:
            self._refuse(frame.number, "TooLarge", f"the answer is too large: {error}")
        except (TypeError, ValueError, OverflowError) as error:  # else the handler would wait for ever
            self._refuse(frame.number, "InvalidInput", f"the answer cannot be carried to a handler: {error}")

    def _refuse(self, number: int, error: str, sentence: str) -> None:
        self._write(frames.Told(number=number, error=error, sentence=sentence))

    async def _carry_out(self, frame: frames.Send | frames.Count) -> Backlog:
        if isinstance(frame, frames.Count):
            return await self._counts[frame.binding]()
        messages = msgspec.msgpack.decode(frame.messages, type=list[Outgoing])
        return await self._sends[frame.binding](messages, frame.delay_seconds)

    def _write(self, frame: frames.Down) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(frame))


def _how(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
