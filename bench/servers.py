"""Several servers on one database, each a process: together they send so many messages and receive them all."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple

import msgspec
import uvloop

from bench.store import Rig
from millrace.clock import wall_ms
from millrace.settlement import Ack
from millrace.sql.stores import postgres_store

CONSUMERS, BATCH = 2, 100

Server = subprocess.Popen[str]


class Work(NamedTuple):
    """Messages a second through all servers, how many were received, and how many different ones."""

    per_second: float
    received: int
    distinct: int


def work_per_second(url: str, servers: int, messages: int) -> Work:
    """Measure so many servers on a database that is prepared and empty."""
    queue_id = uvloop.run(_make_queue(url))
    with _started(url, queue_id, servers, messages) as started:
        began = perf_counter()
        for server in started:
            _say(server, "go")
        keys = [key for server in started for key in msgspec.json.decode(_hear(server), type=list[int])]
        seconds = perf_counter() - began
    return Work(messages / seconds, len(keys), len(set(keys)))


@contextmanager
def _started(url: str, queue_id: str, servers: int, messages: int) -> Iterator[list[Server]]:
    """Start the servers and wait until each is connected."""
    command = [sys.executable, "-m", "bench.servers", url, queue_id, str(messages // servers)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(servers)
    ]
    try:
        for server in started:
            _hear(server)
        yield started
    finally:
        for server in started:
            server.kill()
            server.communicate()


def _say(server: Server, line: str) -> None:
    assert server.stdin is not None
    server.stdin.write(line + "\n")
    server.stdin.flush()


def _hear(server: Server) -> str:
    assert server.stdout is not None
    return server.stdout.readline()


async def _make_queue(url: str) -> str:
    rig = await Rig.over(postgres_store(url, wall_ms))
    await rig.store.close()
    return rig.queue.id


async def _serve(url: str, queue_id: str, sent: int) -> None:
    """Send this server's share, and receive until nothing is left of anybody's; print the keys of what it received."""
    store = postgres_store(url, wall_ms)
    rig = Rig(store, await store.queue("bench", queue_id))
    await store.backlog(queue_id)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    sending = asyncio.create_task(rig.send(sent, per_send=BATCH, callers=4))
    keys: list[int] = []
    await asyncio.gather(*(_receive(rig, keys, sending) for _ in range(CONSUMERS)))
    print(msgspec.json.encode(keys).decode(), flush=True)
    await store.close()


async def _receive(rig: Rig, keys: list[int], sending: asyncio.Task[float]) -> None:
    """Receive and acknowledge until all are sent and the queue is empty."""
    while True:
        is_all_sent = sending.done()
        received = await rig.store.receive(rig.queue.id, BATCH, 60_000, wall_ms())
        keys += [message.lease.key for message in received.messages]
        if received.messages:
            await rig.store.settle(rig.queue.id, [(message.lease, Ack()) for message in received.messages], wall_ms())
        elif is_all_sent and received.backlog is not None and received.backlog.count == 0:
            return
        else:
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
