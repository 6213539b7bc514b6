"""The consumer: receives batches, calls a handler, settles. Push is pull that we run for you.

Where the batches come from is the feed's business: this process's store, or a server over HTTP.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import count
from time import monotonic
from typing import Any, Protocol

from millrace import limits
from millrace.batch import MessageBatch
from millrace.consumer import ConsumerSettings
from millrace.errors import Forbidden, MillraceError, QueueNotFound, Unauthenticated
from millrace.handlers import Call, outcome_of
from millrace.message import Lease, Message
from millrace.runtime.feed import Feed, Taken
from millrace.runtime.scaling import next_concurrency
from millrace.runtime.waits import at_most
from millrace.settlement import Outcome
from millrace.telemetry import Telemetry

PAUSE_SECONDS = 0.5  # after a failure, doubled with each further one up to what the feed allows
ASKED_SECONDS_MAX = 60.0  # a server may ask for a longer pause
CANCEL_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 5.0


class Slots(Protocol):
    """What several consumers share: whoever has a slot may call its handler."""

    async def take(self, name: str) -> None:
        """Wait for a slot."""
        ...

    def give_back(self, name: str) -> None:
        """Let another one have it."""
        ...


class QueueConsumer:
    """Feeds one queue to one handler, until it is stopped."""

    def __init__(
        self,
        feed: Feed,
        call: Call,
        telemetry: Telemetry,
        *,
        env: Any = None,
        handler_seconds: float = limits.HANDLER_SECONDS,
        slots: Slots | None = None,
    ) -> None:
        self._feed, self._call, self._telemetry = feed, call, telemetry
        self._env, self._handler_seconds, self._slots = env, handler_seconds, slots
        self._running: set[asyncio.Task[None]] = set()
        self._held = self._calls = self._failures = 0
        self._concurrency = 1
        self._last_failed = False
        self._trouble: Exception | None = None
        self._a_call_ended = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Receive and hand over until `stop`, then wait for the handlers under way and settle.

        Raises:
            Unauthenticated, Forbidden: the key does not serve any more.
        """
        try:
            while not self._stopping.is_set():
                try:
                    await self._turn()
                except (Unauthenticated, Forbidden):
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is, the queue must be fed again
                    await self._pause_after(error)
        finally:
            if self._running:
                await asyncio.wait(self._running)

    def wake(self) -> None:
        """Look again, since the queue or its consumer may have been changed."""
        self._a_call_ended.set()
        self._feed.wake()

    def stop(self) -> None:
        """Take no more batches."""
        self._stopping.set()
        self._a_call_ended.set()
        self._feed.stop()

    async def handle(self, taken: Taken) -> None:
        """Call the handler with one batch and settle what it says."""
        await self._handle(taken, on_end=lambda: None)

    async def _turn(self) -> None:
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        settings = await self._feed.settings()
        if settings is None:
            await self._feed.wait()
        elif self._calls >= min(self._concurrency, settings.max_concurrency or self._concurrency):
            await self._until_a_call_ends()
        elif self._feed.confirms_first:
            self._calls += 1
            self._keep(self._round(settings))
        elif not await self._receive(settings):
            await self._feed.wait()

    async def _until_a_call_ends(self) -> None:
        """Wait for room; not for ever, since the limit may be raised meanwhile."""
        self._a_call_ended.clear()
        if not self._stopping.is_set():
            await at_most(LOOK_AGAIN_SECONDS, self._a_call_ended)

    async def _round(self, settings: ConsumerSettings) -> None:
        """Take a batch, have it handled, have that confirmed; several rounds may go on at once."""
        taken = Taken([])
        try:
            taken = await self._feed.receive(settings)
            self._note_received(settings, taken)
            if taken.messages:
                await self._handle(taken, on_end=lambda: None)
            else:
                await self._feed.wait()
        except Exception as error:  # noqa: BLE001 - the loop raises it, pauses and goes on
            self._trouble, self._concurrency = error, 1
        finally:
            self._end_call(taken)

    async def _receive(self, settings: ConsumerSettings) -> bool:
        """Start a call if a batch is ready, and say whether one was."""
        if not await self._take_slot():
            return True
        taken = Taken([])
        try:
            taken = await self._feed.receive(settings)
        finally:
            if not taken.messages:
                self._give_slot_back()
        self._note_received(settings, taken)
        if not taken.messages:
            return False
        self._calls += 1
        self._keep(self._handle(taken, on_end=partial(self._end_call, taken)))
        return True

    def _note_received(self, settings: ConsumerSettings, taken: Taken) -> None:
        """Count what is held now, and go by the backlog in how much to do side by side."""
        self._failures = 0
        backlog = taken.backlog.count if taken.backlog else 0
        self._concurrency = next_concurrency(
            self._concurrency,
            waiting=backlog - self._held - len(taken.messages),
            batch_size=settings.batch_size,
            failed=self._last_failed,
            maximum=settings.max_concurrency,
        )
        self._held += len(taken.messages)

    def _end_call(self, taken: Taken) -> None:
        self._calls -= 1
        self._held -= len(taken.messages)
        self._give_slot_back()
        self._a_call_ended.set()
        self._feed.wake()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        call = asyncio.create_task(work)
        self._running.add(call)
        call.add_done_callback(self._finished)

    def _finished(self, call: asyncio.Task[None]) -> None:
        self._running.discard(call)
        if not call.cancelled() and call.exception() is not None:
            self._telemetry.emit("loop.failed", **self._fields(), error=call.exception())

    async def _handle(self, taken: Taken, on_end: Callable[[], None]) -> None:
        batch = MessageBatch(self._feed.queue, taken.messages, taken.backlog)
        leases = [message.lease for message in taken.messages]
        began = monotonic()
        with contextlib.ExitStack() as ending:
            ending.callback(on_end)
            error = await self._call_within_limits(batch, leases)
            self._last_failed = error is not None
            duration_ms = (monotonic() - began) * 1000
            said = zip(batch.messages, batch.outcomes(outcome_of(error)), strict=True)
            outcomes = [(message.lease, outcome) for message, outcome in said if not message.is_settled]
            if not self._feed.confirms_first and taken.place is None:
                ending.close()  # the next receive then shares the group commit of this settlement
            if outcomes:
                await self._settle(outcomes)
        self._report(batch, taken.messages, error, duration_ms)

    async def _call_within_limits(self, batch: MessageBatch, leases: Sequence[Lease]) -> BaseException | None:
        """Call the handler, extending the leases while it runs; give what it raised."""
        call = asyncio.ensure_future(self._call(batch, self._env))
        until = monotonic() + self._handler_seconds
        extend_seconds = next_seconds = max(0.1, self._feed.lease_ms / 3000)
        try:
            while True:
                done, _ = await asyncio.wait({call}, timeout=min(next_seconds, max(0.0, until - monotonic())))
                if done:
                    return RuntimeError("the handler was cancelled") if call.cancelled() else call.exception()
                if monotonic() >= until:
                    call.cancel()
                    await asyncio.wait({call}, timeout=CANCEL_SECONDS)
                    return TimeoutError(f"the handler ran longer than {self._handler_seconds:g} s")
                next_seconds = extend_seconds if await self._extend(leases) else extend_seconds / 4
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def _extend(self, leases: Sequence[Lease]) -> bool:
        """Extend leases, and say whether that went well."""
        try:
            await self._feed.extend(leases)
        except (MillraceError, OSError) as error:  # the leases may lapse; the handler's work still counts
            self._telemetry.emit(self._feed.failed_event, **self._fields(), error=str(error))
            return False
        return True

    async def _settle(self, outcomes: Sequence[tuple[Lease, Outcome]]) -> None:
        """Settle, trying again while the store is away: until the leases lapse this is still our word."""
        until = monotonic() + self._feed.lease_ms / 1000
        for tried in count():
            try:
                stale = await self._feed.settle(outcomes)
            except (QueueNotFound, Unauthenticated, Forbidden):
                return
            except (MillraceError, OSError):
                if monotonic() >= until:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if stale and not tried:  # a try whose answer was lost may have settled them
                self._telemetry.emit("handler.lease_lost", **self._fields(), count=stale)
            return

    def _report(
        self, batch: MessageBatch, messages: Sequence[Message], error: BaseException | None, duration_ms: float
    ) -> None:
        """Tell how the call went: one line for an error of the batch, one for each message that failed by itself."""
        fields = self._fields()
        self._telemetry.emit("handler.returned", **fields, count=len(messages), duration_ms=duration_ms)
        if batch.ignored:
            self._telemetry.emit("handler.ignored", **fields, calls=dict(Counter(batch.ignored)))
        for message, failure in batch.failures:
            ids = {"message_id": message.id, "correlation_id": message.headers.get("X-Correlation-ID", "")}
            self._telemetry.emit("message.failed", **fields, **ids, attempts=message.attempts, error=failure)
        if error is not None:
            correlation_ids = {(message.headers or {}).get("X-Correlation-ID", "") for message in messages} - {""}
            self._telemetry.emit(
                "handler.failed",
                **fields,
                duration_ms=duration_ms,
                message_ids=[message.id for message in messages],
                correlation_ids=sorted(correlation_ids),
                error=error,
            )

    def _fields(self) -> dict[str, str]:
        return {"account_id": self._feed.account_id, "queue": self._feed.queue}

    async def _take_slot(self) -> bool:
        """Wait for a slot, where there are any; False when the consumer is to stop."""
        if self._slots is None:
            return True
        taking = asyncio.ensure_future(self._slots.take(self._feed.queue))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                return False
            taking.result()
            return True
        finally:
            stopping.cancel()
            taking.cancel()  # when it was granted, this does nothing

    def _give_slot_back(self) -> None:
        if self._slots is not None:
            self._slots.give_back(self._feed.queue)

    async def _pause_after(self, error: Exception) -> None:
        """Tell of a failure, and wait longer after each further one; a missing queue may be on its way."""
        self._failures += 1
        if not isinstance(error, QueueNotFound):
            known = isinstance(error, MillraceError | OSError)
            event, shown = (self._feed.failed_event, str(error)) if known else ("loop.failed", error)
            self._telemetry.emit(event, **self._fields(), error=shown)
        seconds = min(PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), self._feed.longest_pause_seconds)
        asked_seconds = min(getattr(error, "retry_after", None) or 0, ASKED_SECONDS_MAX)
        await at_most(max(seconds, asked_seconds), self._stopping)
