"""Connections stay at home: in their process, and in their event loop; threads share them."""

import asyncio
import subprocess
import sys
from threading import Barrier, Thread

import httpx2
import pytest

from millrace import AsyncClient, Client
from millrace.errors import ConfigurationError
from tests.support import ROOT

FORKING = """
import os, sys
from millrace import Client

client = Client(sys.argv[1], "a-token")
client.metrics("my-queue")
child = os.fork()
for _ in range(20):
    assert client.metrics("my-queue").count == 2
    assert client.queue("my-queue")["queue_name"] == "my-queue"
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_client_goes_from_one_event_loop_to_the_next(recorded):
    client = AsyncClient(recorded.url, "a-token")

    async def ask() -> int:
        backlog = await client.metrics("my-queue")
        return backlog.count

    assert [asyncio.run(ask()) for _ in range(3)] == [2, 2, 2]
    asyncio.run(client.close())


async def test_two_event_loops_at_once_are_told_to_have_a_client_each(recorded):
    async with AsyncClient(recorded.url, "a-token") as client:
        await client.metrics("my-queue")

        with pytest.raises(ConfigurationError, match="make a client for each loop"):
            await asyncio.to_thread(lambda: asyncio.run(client.metrics("my-queue")))

        assert (await client.metrics("my-queue")).count == 2


def test_threads_that_call_first_share_the_connections(recorded, monkeypatch):
    made, barrier = [], Barrier(10)
    monkeypatch.setattr(httpx2, "Client", lambda _make=httpx2.Client, **more: made.append(_make(**more)) or made[-1])
    client = Client(recorded.url, "a-token")

    def ask() -> None:
        barrier.wait()
        client.metrics("my-queue")

    threads = [Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    client.close()


def test_a_forked_process_has_connections_of_its_own(recorded):
    command = [sys.executable, "-c", FORKING, recorded.url]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 0, done.stderr
