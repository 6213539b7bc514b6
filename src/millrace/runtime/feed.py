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
from millrace.coordination import places
from millrace.coordination.places import Places
from millrace.errors import DeliveryPaused, QueueNotFound
from millrace.message import Backlog, Lease, Message
from millrace.queue import Queue
from millrace.runtime import window
from millrace.runtime.waits import at_most
from millrace.settlement import Outcome
from millrace.store import IsReady, Received, Store

IN_LINE_SECONDS = places.IN_LINE_MS / 2000


class Taken(msgspec.Struct, frozen=True):
    """One batch as it was received; `place` is what it holds of a limit that counts over all servers."""

    messages: list[Message]
    backlog: Backlog | None = None
    place: int | None = None


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
        self._places = Places(store, clock)
        self._place_of: dict[int, int] = {}  # by the receipt of a batch
        self._is_in_line = False

    async def settings(self) -> ConsumerSettings | None:
        """Look the queue up (from memory, unless it was changed) and give its consumer's settings."""
        self._changed.clear()
        self._last, self._is_in_line = None, False
        queue = await self._look_up()
        consumer = queue.consumer
        if consumer is None or consumer.type != self._consumer_type or queue.settings.delivery_paused:
            return None
        return consumer.settings

    async def receive(self, settings: ConsumerSettings) -> Taken:
        """Take a batch if the window says that one is ready, and, of a limited consumer, if one of its places is free."""
        is_ready = window.of(self.present().consumer, self._clock)
        try:
            if settings.max_concurrency is None or not self._store.shares:
                return await self._receive(settings, is_ready)
            if not await self._would_receive(settings, is_ready):
                return Taken([])
            return await self._receive_in_place(settings, settings.max_concurrency, is_ready)
        except DeliveryPaused:
            self._catalog.forget(self.present().id)
            return Taken([])

    async def _receive(self, settings: ConsumerSettings, is_ready: IsReady | None) -> Taken:
        received = await self._broker.receive(self.present(), settings.batch_size, self.lease_ms, is_ready)
        self._last = received
        return Taken(received.messages, received.backlog)

    async def _would_receive(self, settings: ConsumerSettings, is_ready: IsReady | None) -> bool:
        """Look without taking anything: an idle consumer then holds no place that another one may need."""
        found = False

        def decline(count: int, ready_since_ms: int, is_urgent: bool) -> bool:  # noqa: FBT001 - as the store calls it
            nonlocal found
            found = is_ready is None or is_ready(count, ready_since_ms, is_urgent)
            return False

        await self._receive(settings, decline)
        return found

    async def _receive_in_place(self, settings: ConsumerSettings, limit: int, is_ready: IsReady | None) -> Taken:
        """Take a place and then a batch; without a batch the place goes back."""
        queue_id = self.present().id
        place = await self._places.take(queue_id, limit, self.lease_ms)
        if place is None:
            self._is_in_line = True
            return Taken([])
        taken = Taken([])
        try:
            taken = await self._receive(settings, is_ready)
        finally:
            if not taken.messages:
                await self._places.give_back(queue_id, place)
        if not taken.messages:
            return taken
        self._place_of[taken.messages[0].lease.receipt] = place
        return Taken(taken.messages, taken.backlog, place)

    async def wait(self) -> None:
        """Wait until something changes, or until a batch is ready because time has passed."""
        seconds = self._store.look_again_seconds()
        if self._is_in_line:
            seconds = IN_LINE_SECONDS
        elif self._last is not None and self._found is not None and self._found.consumer is not None:
            max_wait_time_ms = self._found.consumer.settings.max_wait_time_ms
            at_ms = window.look_again_ms(self._last.ready_since_ms, self._last.next_due_at_ms, max_wait_time_ms)
            seconds = window.seconds_until(at_ms, self._clock(), seconds)
        await at_most(seconds, self._changed)

    async def settle(self, outcomes: Sequence[tuple[Lease, Outcome]]) -> int:
        """Settle at the broker, and give the batch's place back."""
        settlements = await self._broker.settle(self.present(), outcomes)
        receipt = outcomes[0][0].receipt
        if (place := self._place_of.get(receipt)) is not None:
            await self._places.give_back(self.present().id, place)
            del self._place_of[receipt]
        return sum(settlement is None for settlement in settlements)

    async def extend(self, leases: Sequence[Lease]) -> None:
        """Extend at the broker."""
        await self._broker.extend(self.present(), leases, self.lease_ms)
        place = self._place_of.get(leases[0].receipt)
        if place is not None:
            await self._places.extend(self.present().id, place, self.lease_ms)

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
