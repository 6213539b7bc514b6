"""Waiting for an event, with an end."""

import asyncio


async def at_most(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, but not longer."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
