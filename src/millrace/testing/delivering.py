"""Deliveries on demand: all that is ready at the present time, or all that ever will be, the clock moving on."""

from collections.abc import Sequence
from typing import Any

from millrace.errors import ConfigurationError
from millrace.handlers import Call
from millrace.platform import Platform
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.feed import QueueFeed, Taken
from millrace.runtime.reaper import Reaper
from millrace.testing.clock import ManualClock
from millrace.testing.tally import Report, Tally


class NeverIdle(AssertionError):
    """Look at the handlers: one of them sends to its own queue, or has its messages delivered again and again."""


class Line:
    """A queue and its handler."""

    def __init__(self, platform: Platform, account_id: str, queue: str, call: Call, env: Any) -> None:
        self._broker = platform.broker
        self._feed = QueueFeed(
            platform.store, platform.catalog, platform.broker, platform.clock, account_id=account_id, queue=queue
        )
        self._consumer = QueueConsumer(self._feed, call, platform.telemetry, env=env)

    async def deliver(self) -> bool:
        """Have the handler get one batch of what is ready, full or not; False when there is none for it."""
        settings = await self._feed.settings()
        if settings is None:
            return False
        received = await self._broker.receive(self._feed.present(), settings.batch_size, self._feed.lease_ms)
        if received.messages:
            await self._consumer.handle(Taken(received.messages, received.backlog))
        return bool(received.messages)

    async def next_due_ms(self) -> int | None:
        """Say when the next message that is not ready will be; None when there is none for the handler."""
        if await self._feed.settings() is None:
            return None
        looked = await self._broker.receive(self._feed.present(), 1, self._feed.lease_ms, _leave_it)
        return looked.next_due_at_ms


class Deliveries:
    """The lines of a broker, and how to run them. One run at a time."""

    def __init__(self, platform: Platform, clock: ManualClock, lines: dict[str, Line], tally: Tally) -> None:
        self._lines, self._clock, self._tally = lines, clock, tally
        self.sweep = Reaper(platform.store, clock, platform.telemetry).sweep  # what a server does in the background

    async def drain(self, queues: Sequence[str], max_deliveries: int, *, raise_errors: bool) -> Report:
        """See `MemoryBroker.drain`."""
        __tracebackhide__ = True
        lines = self._chosen(queues)
        self._tally.renew()
        await self._deliver(lines, max_deliveries, raise_errors=raise_errors)
        return self._tally.report()

    async def run_until_idle(
        self, queues: Sequence[str], limit_seconds: float, max_deliveries: int, *, raise_errors: bool
    ) -> Report:
        """See `MemoryBroker.run_until_idle`."""
        __tracebackhide__ = True
        lines, limit_ms = self._chosen(queues), self._clock() + limit_seconds * 1000
        self._tally.renew()
        while True:
            await self._deliver(lines, max_deliveries, raise_errors=raise_errors)
            times = [await line.next_due_ms() for line in lines]
            due_at_ms = min((at_ms for at_ms in times if at_ms is not None), default=None)
            if due_at_ms is None:
                return self._tally.report()
            if due_at_ms > limit_ms:
                raise NeverIdle(
                    f"after {limit_seconds:g} s of the clock there are still messages to come. {self._so_far()}"
                )
            self._clock.now_ms = due_at_ms

    async def _deliver(self, lines: Sequence[Line], max_deliveries: int, *, raise_errors: bool) -> None:
        """Give each line a batch in turn, until there is none for any of them."""
        __tracebackhide__ = True
        await self.sweep()
        is_busy = True
        while is_busy:
            is_busy = False
            for line in lines:
                if not await line.deliver():
                    continue
                is_busy = True
                if raise_errors:
                    self._tally.raise_errors()
                if self._tally.by_queue.total() > max_deliveries:
                    raise NeverIdle(f"more than {max_deliveries:,} deliveries were made. {self._so_far()}")

    def _chosen(self, queues: Sequence[str]) -> list[Line]:
        for queue in queues:
            if queue not in self._lines:
                known = ", ".join(self._lines) or "none"
                raise ConfigurationError(f"queue {queue!r} has no handler here; there are handlers for: {known}")
        return [line for queue, line in self._lines.items() if not queues or queue in queues]

    def _so_far(self) -> str:
        counts = ", ".join(f"{queue} {count:,}" for queue, count in self._tally.by_queue.most_common(5))
        return f"Deliveries by queue: {counts or 'none'}"


def _leave_it(count: int, ready_since_ms: int, is_urgent: bool) -> bool:  # noqa: FBT001 - as the store calls it
    return False
