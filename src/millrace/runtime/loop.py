"""The one loop for background steps, and the one place that catches everything."""

import asyncio
from collections.abc import Awaitable, Callable

from millrace.errors import StoreUnavailable
from millrace.telemetry import Telemetry


async def run_every(seconds: float, step: Callable[[], Awaitable[object]], telemetry: Telemetry) -> None:
    """Call `step` again and again with a pause between, whatever it raises, until cancelled."""
    while True:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - a failed step is logged and tried again
            event = "store.failed" if isinstance(error, StoreUnavailable) else "loop.failed"
            telemetry.emit(event, step=getattr(step, "__qualname__", str(step)), error=error)
        await asyncio.sleep(seconds)
