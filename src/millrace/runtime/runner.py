"""The runner: starts consumers and background steps, and stops them in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.loop import run_every
from millrace.telemetry import Telemetry

Step = tuple[float, Callable[[], Awaitable[object]]]


class Runner:
    """Consumers and steps (seconds between, function) of one process."""

    def __init__(self, consumers: Sequence[QueueConsumer], steps: Sequence[Step], telemetry: Telemetry) -> None:
        self._consumers, self._steps, self._telemetry = consumers, steps, telemetry
        self._feeding: list[asyncio.Task[None]] = []
        self._stepping: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._feeding = [asyncio.create_task(consumer.run()) for consumer in self._consumers]
        self._stepping = [
            asyncio.create_task(run_every(seconds, step, self._telemetry)) for seconds, step in self._steps
        ]

    async def stop(self) -> None:
        """Stop receiving, let handlers finish and settle, then end the steps."""
        for consumer in self._consumers:
            consumer.stop()
        await asyncio.gather(*self._feeding, return_exceptions=True)
        for task in self._stepping:
            task.cancel()
        await asyncio.gather(*self._stepping, return_exceptions=True)
