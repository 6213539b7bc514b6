"""The work that every peer does, in its own process: singles, batches of 100, then a drain at depth 100,000."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import uvloop

BODY_BYTES = 200
BATCH = 100
DEPTH = 100_000
CALLERS, SENDERS = 256, 8  # of singles and of batches
SINGLES_SECONDS, FILL_SECONDS, DRAIN_SECONDS = 3, 10, 4  # what is slow stops early: all peers together take a minute


class Peer(NamedTuple):
    """How a peer does the four steps; a consumer's number goes with each receive."""

    send_one: Callable[[], Awaitable[Any]]
    send_batch: Callable[[], Awaitable[Any]]
    receive: Callable[[int], Awaitable[Sequence[Any]]]
    settle: Callable[[Sequence[Any]], Awaitable[Any]]
    analyze: Callable[[], Awaitable[Any]]  # as autovacuum would by and by
    consumers: int = 2
    single_callers: int = CALLERS
    senders: int = SENDERS


async def measure(peer: Peer) -> None:
    """Print batched sends, single sends and settlements, each in messages a second."""

    async def send_one(_: int) -> int:
        await peer.send_one()
        return 1

    async def send_batch(_: int) -> int:
        await peer.send_batch()
        return BATCH

    singles, sent = await _rate(send_one, peer.single_callers, SINGLES_SECONDS)
    batches, _ = await _rate(send_batch, peer.senders, FILL_SECONDS, DEPTH - sent)
    await peer.analyze()
    print(batches, singles, await _drain(peer))


async def _drain(peer: Peer) -> float:
    """Let each consumer settle one batch while it receives the next; messages a second."""
    held: dict[int, Sequence[Any]] = {}

    async def receive_and_settle(consumer: int) -> int:
        before = held.pop(consumer, ())
        held[consumer], _ = await asyncio.gather(peer.receive(consumer), _settle(peer, before))
        return len(before) or len(held[consumer])

    began = perf_counter()
    rate, seen = await _rate(receive_and_settle, peer.consumers, DRAIN_SECONDS)
    await asyncio.gather(*(_settle(peer, batch) for batch in held.values()))
    return seen / (perf_counter() - began) if rate else 0.0


async def _settle(peer: Peer, batch: Sequence[Any]) -> None:
    if batch:
        await peer.settle(batch)


async def _rate(
    step: Callable[[int], Awaitable[int]], callers: int, seconds: float, enough: int = sys.maxsize
) -> tuple[float, int]:
    """Let callers repeat a step until time is up, there is enough or nothing is left; messages a second, messages."""
    done = 0
    began = perf_counter()

    async def caller(number: int) -> None:
        nonlocal done
        while done < enough and perf_counter() - began < seconds:
            did = await step(number)
            done += did
            if not did:
                return

    await asyncio.gather(*(caller(number) for number in range(callers)))
    return done / (perf_counter() - began), done


def run(connect: Callable[[str], Awaitable[Peer]]) -> None:
    """Measure the peer that this process is for; the database's address is its first argument."""

    async def main() -> None:
        await measure(await connect(sys.argv[1]))

    uvloop.run(main())
