"""The work that every peer does, in a process of its own: singles, batches of 100, then a drain at depth 100,000."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import uvloop

BODY_BYTES = 200
BATCH = 100
DEPTH = 100_000
SINGLES_SECONDS, FILL_SECONDS, DRAIN_SECONDS = 3, 10, 4  # slow ones stop early: all peers together take a minute

Step = Callable[[int], Awaitable[int]]


class Peer(NamedTuple):
    """How a peer does its steps, and how many do them at once. Receiving is told the number of the consumer."""

    send_one: Callable[[], Awaitable[Any]]
    send_batch: Callable[[], Awaitable[Any]]
    receive: Callable[[int], Awaitable[Sequence[Any]]]
    settle: Callable[[Sequence[Any]], Awaitable[Any]]
    analyze: Callable[[], Awaitable[Any]]  # what autovacuum does by and by
    single_callers: int = 256
    batch_callers: int = 8
    consumers: int = 2


def run(connect: Callable[[str, int], Awaitable[Peer]]) -> None:
    """Measure with the database and the number of connections in the arguments; with one there is one caller, too.

    Prints batched sends, single sends and settlements, in messages a second.
    """
    uvloop.run(_measure(connect, sys.argv[1], int(sys.argv[2])))


async def _measure(connect: Callable[[str, int], Awaitable[Peer]], url: str, connections: int) -> None:
    peer = await connect(url, connections)
    if connections == 1:
        peer = peer._replace(single_callers=1, batch_callers=1, consumers=1)
    singles, sent = await _singles(peer)
    batches = await _fill(peer, DEPTH - sent)
    await peer.analyze()
    print(batches, singles, await _drain(peer))


async def _singles(peer: Peer) -> tuple[float, int]:
    async def send(_: int) -> int:
        await peer.send_one()
        return 1

    began = perf_counter()
    sent = await _repeat(send, peer.single_callers, SINGLES_SECONDS)
    return sent / (perf_counter() - began), sent


async def _fill(peer: Peer, messages: int) -> float:
    async def send(_: int) -> int:
        await peer.send_batch()
        return BATCH

    began = perf_counter()
    sent = await _repeat(send, peer.batch_callers, FILL_SECONDS, messages)
    return sent / (perf_counter() - began)


async def _drain(peer: Peer) -> float:
    """Let each consumer settle one batch while it receives the next."""
    held: dict[int, Sequence[Any]] = {}

    async def settle(batch: Sequence[Any]) -> None:
        if batch:
            await peer.settle(batch)

    async def receive(consumer: int) -> int:
        held[consumer], _ = await asyncio.gather(peer.receive(consumer), settle(held.get(consumer, ())))
        return len(held[consumer])

    began = perf_counter()
    received = await _repeat(receive, peer.consumers, DRAIN_SECONDS)
    await asyncio.gather(*map(settle, held.values()))
    return received / (perf_counter() - began)


async def _repeat(step: Step, callers: int, seconds: float, enough: int = sys.maxsize) -> int:
    """Let callers repeat a step until time is up, there are enough messages or none is left; give their number."""
    done, until = 0, perf_counter() + seconds

    async def keep_going(caller: int) -> None:
        nonlocal done
        while done < enough and perf_counter() < until:
            messages = await step(caller)
            done += messages
            if not messages:
                return

    await asyncio.gather(*map(keep_going, range(callers)))
    return done
