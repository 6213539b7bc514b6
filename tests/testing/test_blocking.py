"""The broker in tests that are not async."""

import sqlite3
from contextlib import closing

import pytest

from millrace.errors import ConfigurationError
from millrace.testing import MemoryBroker


def test_the_verbs_return_when_they_are_done():
    bodies = []

    async def handle(batch, env):
        bodies.extend(message.body for message in batch.messages)
        await env.INVOICES.send("bill")

    with MemoryBroker({"orders": handle}) as broker:
        broker.send("orders", "tea", delay_seconds=5)
        broker.clock.advance(5)
        report = broker.drain()

        assert bodies == ["tea"]
        assert report.acked == 1
        assert len(broker.assert_sent("invoices", body="bill")) == 1


def test_async_code_of_the_test_runs_on_the_brokers_loop():
    with MemoryBroker() as broker:
        backlog = broker.run(broker.env.INVOICES.send("bill"))

        assert backlog.count == 1


def test_handlers_run_in_the_thread_of_the_test():
    with closing(sqlite3.connect(":memory:")) as database:  # it can be used in this thread only

        async def handle(batch):
            database.execute("select 1")

        with MemoryBroker({"orders": handle}) as broker:
            broker.send("orders", 1)

            assert broker.drain().acked == 1


async def test_in_an_async_test_it_says_what_to_use():
    with pytest.raises(ConfigurationError, match="this test is async; use `async with"), MemoryBroker():
        pass
