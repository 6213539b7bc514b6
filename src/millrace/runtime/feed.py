"""Where a consumer's messages come from: the two verbs receive and settle, and how to wait between them."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Protocol

import msgspec

from millrace import limits
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.clock import Clock
from millrace.consumer import ConsumerSettings
from millrace.errors import DeliveryPaused, QueueNotFound
from millrace.message import Backlog, Lease, Message
from millrace.queue import Queue
from millrace.runtime import window
from millrace.runtime.waits import at_most
from millrace.settlement import Outcome
from millrace.store import Received, Store

LOOK_AGAIN_SECONDS = 30.0


class Taken(msgspec.Struct, frozen=True):
    """One batch as it was received."""

    messages: list[Message]
    backlog: Backlog | None = None


class Feed(Protocol):
    """One queue as its consumer sees it. What it raises is tried again, but for a refused key."""

    account_id: str
    queue: str
    confirms_first: bool  # settle before the next receive; where both share a commit there is no need to
    lease_ms: int
    longest_pause_seconds: float  # between tries while the queue cannot be reached
    failed_event: str  # what tells that it cannot

    async def settings(self) -> ConsumerSettings | None:
        """Give the consumer's settings in force; None while there is nothing to take for us."""
        ...

    async def receive(self, settings: ConsumerSettings) -> Taken:
        """Take a batch; an empty one says that none is ready."""
        ...

    async def wait(self) -> None:
        """Wait until a batch may be ready."""
        ...

    async def settle(self, outcomes: Sequence[tuple[Lease, Outcome]]) -> int:
        """Apply outcomes and give how many came too late."""
        ...

    async def extend(self, leases: Sequence[Lease]) -> None:
        """Let leases end `lease_ms` from now."""
        ...

    def wake(self) -> None:
        """End a `wait` now."""
        ...

    def stop(self) -> None:
        """End a `wait` and a `receive` that waits, for good."""
        ...


class QueueFeed:
    """A queue of this process's own store. A handler belongs to a name: a renamed queue is left alone."""

    confirms_first = False
    lease_ms = limits.PUSH_LEASE_MS
    longest_pause_seconds = 1.0
    failed_event = "store.failed"

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        broker: Broker,
        clock: Clock,
        *,
        account_id: str,
        queue: str,
        consumer_type: str = "worker",
    ) -> None:
        self._store, self._catalog, self._broker, self._clock = store, catalog, broker, clock
        self.account_id, self.queue, self._consumer_type = account_id, queue, consumer_type
        self._found: Queue | None = None
        self._watching = ExitStack()
        self._changed = asyncio.Event()
        self._last: Received | None = None

    async def settings(self) -> ConsumerSettings | None:
        """Look the queue up (from memory, unless it was changed) and give its consumer's settings."""
        self._changed.clear()
        self._last = None
        queue = await self._look_up()
        consumer = queue.consumer
        if consumer is None or consumer.type != self._consumer_type or queue.settings.delivery_paused:
            return None
        return consumer.settings

    async def receive(self, settings: ConsumerSettings) -> Taken:
        """Take a batch if the window says that one is ready."""
        queue = self.present()
        is_ready = window.of(queue.consumer, self._clock)
        try:
            received = await self._broker.receive(queue, settings.batch_size, self.lease_ms, is_ready)
        except DeliveryPaused:
            self._catalog.forget(queue.id)
            return Taken([])
        self._last = received
        return Taken(received.messages, received.backlog)

    async def wait(self) -> None:
        """Wait until something changes, or until a batch is ready because time has passed."""
        seconds = LOOK_AGAIN_SECONDS
        if self._last is not None and self._found is not None and self._found.consumer is not None:
            max_wait_time_ms = self._found.consumer.settings.max_wait_time_ms
            at_ms = window.look_again_ms(self._last.ready_since_ms, self._last.next_due_at_ms, max_wait_time_ms)
            seconds = window.seconds_until(at_ms, self._clock(), LOOK_AGAIN_SECONDS)
        await at_most(seconds, self._changed)

    async def settle(self, outcomes: Sequence[tuple[Lease, Outcome]]) -> int:
        """Settle at the broker."""
        settlements = await self._broker.settle(self.present(), outcomes)
        return sum(settlement is None for settlement in settlements)

    async def extend(self, leases: Sequence[Lease]) -> None:
        """Extend at the broker."""
        await self._broker.extend(self.present(), leases, self.lease_ms)

    def wake(self) -> None:
        """Look again."""
        self._changed.set()

    def stop(self) -> None:
        """Look again; nothing here waits longer than that."""
        self._changed.set()

    async def _look_up(self) -> Queue:
        if self._found is not None:
            with suppress(QueueNotFound):
                queue = await self._catalog.queue(self.account_id, self._found.id)
                if queue.name == self.queue:
                    self._found = queue
                    return queue
        self._watching.close()
        self._found = None
        self._found = queue = await self._catalog.queue_named(self.account_id, self.queue)
        self._changed = self._watching.enter_context(self._store.watch(queue.id))
        return queue

    def present(self) -> Queue:
        """Give the queue as it was looked up last; `settings` comes first."""
        assert self._found is not None, "settings() finds the queue first"
        return self._found
