"""The consumer: receives batches, calls a handler, settles. Push is pull that we run for you."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from millrace import limits
from millrace.batch import MessageBatch
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.clock import Clock
from millrace.errors import DeliveryPaused, QueueNotFound, StoreUnavailable
from millrace.handlers import Handler, as_call, outcome_of
from millrace.message import Lease, Message
from millrace.queue import ConsumerSettings, Queue
from millrace.runtime import window
from millrace.runtime.scaling import next_concurrency
from millrace.settlement import Outcome
from millrace.store import Received, Store
from millrace.telemetry import Telemetry

LOOK_AGAIN_SECONDS = 30.0
MISSING_QUEUE_SECONDS = 1.0
STORE_PAUSE_SECONDS = 0.5
EXTEND_SECONDS = limits.PUSH_LEASE_MS / 3000
CANCEL_SECONDS = 5.0


class QueueConsumer:
    """Feeds one queue of one account to one handler, until it is stopped."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        broker: Broker,
        telemetry: Telemetry,
        clock: Clock,
        *,
        account_id: str,
        queue_name: str,
        handler: Handler,
        env: Any = None,
        handler_seconds: float = limits.HANDLER_SECONDS,
    ) -> None:
        self._store, self._catalog, self._broker = store, catalog, broker
        self._telemetry, self._clock = telemetry, clock
        self._account_id, self._queue_name = account_id, queue_name
        self._call, self._env, self._handler_seconds = as_call(handler), env, handler_seconds
        self._running: set[asyncio.Task[None]] = set()
        self._held = 0
        self._calls = 0
        self._concurrency = 1
        self._last_failed = False
        self._changed = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Receive and hand over until `stop`, then wait for the handlers under way and settle."""
        while not self._stopping:
            try:
                queue = await self._catalog.queue_named(self._account_id, self._queue_name)
                with self._store.watch(queue.id) as changed:
                    self._changed = changed
                    await self._feed(queue.id)
            except QueueNotFound:
                await self._pause(MISSING_QUEUE_SECONDS)
            except StoreUnavailable as error:
                self._telemetry.emit("store.failed", queue=self._queue_name, error=error)
                await self._pause(STORE_PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, the queue must be fed again
                self._telemetry.emit("loop.failed", queue=self._queue_name, error=error)
                await self._pause(STORE_PAUSE_SECONDS)
        if self._running:
            await asyncio.wait(self._running)

    def stop(self) -> None:
        """Take no more batches."""
        self._stopping = True
        self._changed.set()

    async def _feed(self, queue_id: str) -> None:
        while not self._stopping:
            self._changed.clear()
            queue = await self._catalog.queue(self._account_id, queue_id)
            if queue.name != self._queue_name:  # renamed: a handler belongs to a name
                return
            if queue.consumer is None or queue.consumer.type != "worker" or queue.settings.delivery_paused:
                await self._pause(LOOK_AGAIN_SECONDS)
                continue
            settings = queue.consumer.settings
            if self._calls >= min(self._concurrency, settings.max_concurrency or self._concurrency):
                await self._pause(LOOK_AGAIN_SECONDS)
                continue
            try:
                received = await self._broker.receive(
                    queue, settings.batch_size, limits.PUSH_LEASE_MS, self._window(settings)
                )
            except DeliveryPaused:
                self._catalog.forget(queue_id)
                continue
            self._scale(settings, received)
            if received.messages:
                self._start(queue, received)
            else:
                await self._pause(self._seconds_to_look_again(settings, received))

    def _window(self, settings: ConsumerSettings) -> Any:
        return lambda count, ready_since_ms: window.is_ready(
            count,
            ready_since_ms,
            batch_size=settings.batch_size,
            max_wait_time_ms=settings.max_wait_time_ms,
            now_ms=self._clock(),
        )

    def _scale(self, settings: ConsumerSettings, received: Received) -> None:
        backlog = received.backlog.count if received.backlog else 0
        self._concurrency = next_concurrency(
            self._concurrency,
            waiting=backlog - self._held - len(received.messages),
            batch_size=settings.batch_size,
            failed=self._last_failed,
            maximum=settings.max_concurrency,
        )

    def _seconds_to_look_again(self, settings: ConsumerSettings, received: Received) -> float:
        at_ms = window.look_again_ms(received.ready_since_ms, received.next_due_at_ms, settings.max_wait_time_ms)
        if at_ms is None:
            return LOOK_AGAIN_SECONDS
        return min(LOOK_AGAIN_SECONDS, max(0.001, (at_ms - self._clock()) / 1000))

    async def _pause(self, seconds: float) -> None:
        """Wait until something changes, but not longer."""
        if self._stopping:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    def _start(self, queue: Queue, received: Received) -> None:
        self._calls += 1
        self._held += len(received.messages)
        task = asyncio.create_task(self._handle(queue, received))
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._telemetry.emit("loop.failed", queue=self._queue_name, error=task.exception())

    async def _handle(self, queue: Queue, received: Received) -> None:
        batch = MessageBatch(queue.name, received.messages, received.backlog)
        leases = [message.lease for message in received.messages]
        began = monotonic()
        try:
            error = await self._call_within_limits(queue, batch, leases)
        finally:
            # Before settling: the next receive then shares the group commit of this settlement.
            self._calls -= 1
            self._held -= len(leases)
            self._changed.set()
        self._last_failed = error is not None
        duration_ms = (monotonic() - began) * 1000
        outcomes = list(zip(leases, batch.outcomes(outcome_of(error)), strict=True))
        await self._settle(queue, outcomes)
        self._report(queue, received.messages, error, duration_ms)

    async def _call_within_limits(
        self, queue: Queue, batch: MessageBatch, leases: Sequence[Lease]
    ) -> BaseException | None:
        """Call the handler, extending the leases while it runs; give what it raised."""
        call = asyncio.ensure_future(self._call(batch, self._env))
        until = monotonic() + self._handler_seconds
        try:
            while True:
                done, _ = await asyncio.wait({call}, timeout=min(EXTEND_SECONDS, max(0.0, until - monotonic())))
                if done:
                    return RuntimeError("the handler was cancelled") if call.cancelled() else call.exception()
                if monotonic() >= until:
                    call.cancel()
                    await asyncio.wait({call}, timeout=CANCEL_SECONDS)
                    return TimeoutError(f"the handler ran longer than {self._handler_seconds} s")
                await self._extend(queue, leases)
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def _extend(self, queue: Queue, leases: Sequence[Lease]) -> None:
        try:
            await self._broker.extend(queue, leases, limits.PUSH_LEASE_MS)
        except (StoreUnavailable, QueueNotFound) as error:  # the leases may lapse; the handler's work still counts
            self._telemetry.emit("store.failed", queue=queue.name, error=error)

    async def _settle(self, queue: Queue, outcomes: Sequence[tuple[Lease, Outcome]]) -> None:
        """Settle, trying again while the store is away: until the leases lapse this is still our word."""
        until = monotonic() + limits.PUSH_LEASE_MS / 1000
        while True:
            try:
                settlements = await self._broker.settle(queue, outcomes)
            except QueueNotFound:
                return
            except StoreUnavailable:
                if monotonic() >= until:
                    raise
                await asyncio.sleep(STORE_PAUSE_SECONDS)
                continue
            stale = sum(settlement is None for settlement in settlements)
            if stale:
                self._telemetry.emit("handler.lease_lost", queue=queue.name, count=stale)
            return

    def _report(
        self, queue: Queue, messages: Sequence[Message], error: BaseException | None, duration_ms: float
    ) -> None:
        fields = {"account_id": queue.account_id, "queue": queue.name, "duration_ms": duration_ms}
        self._telemetry.emit("handler.returned", **fields)
        if error is not None:
            ids = [message.id for message in messages]
            correlation_ids = sorted(
                {(message.headers or {}).get("X-Correlation-ID", "") for message in messages} - {""}
            )
            self._telemetry.emit(
                "handler.failed", **fields, message_ids=ids, correlation_ids=correlation_ids, error=error
            )
