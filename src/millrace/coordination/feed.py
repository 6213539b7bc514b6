"""Following what is numbered: each change, once and in order; and how that is written as Server-Sent Events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import TypeVar

import msgspec

from millrace import limits
from millrace.coordination.states import State, history, watch_name
from millrace.sql.transaction import Transaction
from millrace.store import Store

T = TypeVar("T")

VERSIONS_AT_ONCE = 10  # each may be a megabyte


def follow(store: Store, account_id: str, kind: str, key: str, after_version: int = 0) -> AsyncGenerator[State]:
    """Give each version of a state after `after_version`, in order: first what was missed, then each as it commits.

    None is given twice, and none is left out of those that are kept: who is more than 100 versions late finds a
    gap in the numbers. A removal comes as a version with `is_removed`. It ends only when it is closed.
    """

    def read_after(tx: Transaction, version: int) -> list[State]:
        return history(tx, account_id, kind, key, after_version=version, limit=VERSIONS_AT_ONCE)

    name = watch_name(account_id, kind, key)
    return follow_numbered(store, name, read_after, attrgetter("version"), after_version)


async def follow_numbered(
    store: Store,
    name: str,
    read_after: Callable[[Transaction, int], Sequence[T]],
    number_of: Callable[[T], int],
    after: int = 0,
) -> AsyncGenerator[T]:
    """Give whatever has a number above `after`, in order: first what was missed, then each as it commits.

    Args:
        store: Where it is kept.
        name: What a change of it wakes, as in `Transaction.wake`.
        read_after: Reads the next ones above a number, lowest first; a few at a time.
        number_of: The number of one, which only grows.
        after: What the caller has seen.
    """
    with store.watch(name) as changed:
        while True:
            changed.clear()  # before reading: what commits meanwhile sets it again
            missed = await store.read(_reading(read_after, after))
            for one in missed:
                yield one
                after = number_of(one)
            if not missed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(store.look_again_seconds()):
                        await changed.wait()


def sse(
    states: AsyncIterator[State], keep_alive_seconds: float = limits.FEED_KEEP_ALIVE_SECONDS
) -> AsyncGenerator[bytes]:
    """Write versions of a state as Server-Sent Events, with a comment now and then against silence."""
    return sse_of(states, event_of, keep_alive_seconds)


async def sse_of(
    followed: AsyncIterator[T],
    write: Callable[[T], bytes],
    keep_alive_seconds: float = limits.FEED_KEEP_ALIVE_SECONDS,
) -> AsyncGenerator[bytes]:
    """Write what is followed as Server-Sent Events, with a comment now and then so that nobody takes silence for an end."""
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(followed))
            await asyncio.wait({coming}, timeout=keep_alive_seconds)
            if not coming.done():
                yield b": nothing new\n\n"
                continue
            try:
                one, coming = coming.result(), None
            except StopAsyncIteration:
                return
            yield write(one)
    finally:
        await _close(followed, coming)


def event_of(state: State) -> bytes:
    """Write one version: its number as the event's id, its value as data; a removal is an event `removed`."""
    name = b"event: removed\n" if state.is_removed else b""
    return name + numbered_event(state.version, msgspec.json.encode(state.value))


def numbered_event(number: int, data: bytes) -> bytes:
    """Write one event: its number as the event's id, and JSON, which has no line breaks, as data."""
    return b"id: %d\ndata: %b\n\n" % (number, data)


def _reading(read_after: Callable[[Transaction, int], Sequence[T]], after: int) -> Callable[[Transaction], Sequence[T]]:
    return lambda tx: read_after(tx, after)


async def _close(followed: AsyncIterator[T], coming: asyncio.Future[T] | None) -> None:
    """End what is followed: a generator can be closed only when nothing waits in it."""
    if coming is not None:
        coming.cancel()
        await asyncio.wait({coming})
    if isinstance(followed, AsyncGenerator):
        await followed.aclose()
