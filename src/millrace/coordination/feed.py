"""Following a state: each of its changes, once and in order; and how that is written as Server-Sent Events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from functools import partial

import msgspec

from millrace import limits
from millrace.coordination.states import State, history, watch_name
from millrace.store import Store

VERSIONS_AT_ONCE = 10  # each may be a megabyte


async def follow(store: Store, account_id: str, kind: str, key: str, after_version: int = 0) -> AsyncGenerator[State]:
    """Give each version after `after_version`, in order: first what was missed, then each as it commits.

    None is given twice, and none is left out of those that are kept: who is more than 100 versions late finds a
    gap in the numbers. A removal comes as a version with `is_removed`. It ends only when it is closed.
    """
    with store.watch(watch_name(account_id, kind, key)) as changed:
        while True:
            changed.clear()  # before reading: what commits meanwhile sets it again
            after = partial(history, after_version=after_version, limit=VERSIONS_AT_ONCE)
            missed = await store.read(partial(after, account_id=account_id, kind=kind, key=key))
            for state in missed:
                yield state
                after_version = state.version
            if not missed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(store.look_again_seconds()):
                        await changed.wait()


async def sse(
    states: AsyncIterator[State], keep_alive_seconds: float = limits.FEED_KEEP_ALIVE_SECONDS
) -> AsyncGenerator[bytes]:
    """Write versions as Server-Sent Events, with a comment now and then so that nobody takes silence for an end."""
    coming: asyncio.Future[State] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(states))
            await asyncio.wait({coming}, timeout=keep_alive_seconds)
            if not coming.done():
                yield b": nothing new\n\n"
                continue
            try:
                state, coming = coming.result(), None
            except StopAsyncIteration:
                return
            yield event_of(state)
    finally:
        await _close(states, coming)


def event_of(state: State) -> bytes:
    """Write one version: its number as the event's id, its value as data; a removal is an event `removed`."""
    name = b"event: removed\n" if state.is_removed else b""
    return b"%bid: %d\ndata: %b\n\n" % (name, state.version, msgspec.json.encode(state.value))


async def _close(states: AsyncIterator[State], coming: asyncio.Future[State] | None) -> None:
    """End what is followed: a generator can be closed only when nothing waits in it."""
    if coming is not None:
        coming.cancel()
        await asyncio.wait({coming})
    if isinstance(states, AsyncGenerator):
        await states.aclose()
