"""A handler of the test kit that never ends fails the test; it does not hold it up."""

import asyncio

import pytest

from millrace import each
from millrace.testing import MemoryBroker

SHORT_SECONDS = 0.05


async def hang(batch):
    await asyncio.Event().wait()


@each
async def hang_over_twos(message):
    if message.body == 2:
        await asyncio.Event().wait()


async def give_up(batch):
    raise TimeoutError("the shop does not answer")


async def test_a_handler_that_never_ends_fails_the_test_and_has_had_its_attempt():
    async with MemoryBroker({"orders": hang}, handler_seconds=SHORT_SECONDS) as broker:
        await broker.send("orders", 1)

        with pytest.RaisesGroup(pytest.RaisesExc(TimeoutError, match="ran longer than 0.05 s")):
            await broker.drain()

        assert [message.attempts for message in await broker.messages("orders")] == [1]


async def test_a_message_that_hangs_costs_the_others_of_its_batch_nothing():
    async with MemoryBroker({"orders": hang_over_twos}, handler_seconds=SHORT_SECONDS) as broker:
        await broker.send_batch("orders", [{"body": number} for number in range(5)])

        report = await broker.drain(raise_errors=False)

        assert (report.acked, report.retried, report.dropped) == (4, 3, 1)


async def test_a_timeout_of_the_handlers_own_stays_what_it_is():
    async with MemoryBroker({"orders": give_up}) as broker:
        await broker.send("orders", 1)

        with pytest.RaisesGroup(pytest.RaisesExc(TimeoutError, match="the shop does not answer")):
            await broker.drain()


@pytest.mark.millrace(handlers={"orders": hang}, handler_seconds=SHORT_SECONDS)
def test_the_limit_may_stand_in_a_mark(millrace_broker):
    millrace_broker.send("orders", 1)

    with pytest.RaisesGroup(TimeoutError):
        millrace_broker.drain()
