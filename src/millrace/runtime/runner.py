"""The runner: starts consumers and background steps, and stops them in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.loop import run_every
from millrace.telemetry import Telemetry

Step = tuple[float, Callable[[], Awaitable[object]]]


class Runner:
    """Consumers and steps (seconds between, function) of one process."""

    def __init__(self, consumers: Sequence[QueueConsumer], telemetry: Telemetry) -> None:
        self._consumers, self._telemetry = consumers, telemetry
        self._feeding: dict[QueueConsumer, asyncio.Task[None]] = {}
        self._stepping: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self, steps: Sequence[Step]) -> None:
        """Begin, with steps to be done in the background."""
        for consumer in self._consumers:
            self.add(consumer)
        self._stepping = [asyncio.create_task(run_every(seconds, step, self._telemetry)) for seconds, step in steps]

    def add(self, consumer: QueueConsumer) -> None:
        """Run one more consumer, until it or all are stopped."""
        if self._stopping:
            return
        feeding = asyncio.create_task(consumer.run())
        self._feeding[consumer] = feeding
        feeding.add_done_callback(partial(self._ended, consumer))

    def wake(self) -> None:
        """Let all consumers look again."""
        for consumer in self._feeding:
            consumer.wake()

    def _ended(self, consumer: QueueConsumer, feeding: asyncio.Task[None]) -> None:
        del self._feeding[consumer]
        if not feeding.cancelled() and feeding.exception() is not None:
            self._telemetry.emit("loop.failed", step="consumer", error=feeding.exception())

    async def stop(self) -> None:
        """Stop receiving, let handlers finish and settle, then end the steps."""
        self._stopping = True
        for consumer in self._feeding:
            consumer.stop()
        await asyncio.gather(*self._feeding.values(), return_exceptions=True)
        for task in self._stepping:
            task.cancel()
        await asyncio.gather(*self._stepping, return_exceptions=True)
