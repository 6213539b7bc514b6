"""What a test can say about the messages that were sent."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from millrace.testing import MemoryBroker
from millrace.testing.sent import matches


class Order(msgspec.Struct):
    id: int


@dataclass
class Bill:
    at: datetime


NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        ({"id": 1}, {"id": 1, "item": "tea"}),
        ({"order": {"id": 1}}, {"order": {"id": 1, "item": "tea"}, "more": 1}),
        ({"items": [{"id": 1}, {"id": 2}]}, {"items": [{"id": 1, "n": 3}, {"id": 2}]}),
        (lambda body: body["id"] > 1, {"id": 2}),
        ({"id": lambda number: number > 1}, {"id": 2}),
        (Order(1), {"id": 1}),
        (Bill(NEW_YEAR), {"at": "2025-01-01T00:00:00Z"}),
        ({"at": NEW_YEAR}, {"at": "2025-01-01T00:00:00Z"}),
        (b"\x00", b"\x00"),
        (None, None),
    ],
)
def test_a_body_is_as_wanted(wanted, body):
    assert matches(wanted, body)


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        ({"id": 1}, {"id": 2}),
        ({"id": 1}, "id"),
        ({"id": None}, {}),
        ([1], [1, 2]),
        (Order(1), {"id": 1, "item": "tea"}),
        (lambda body: False, 1),
        (None, 0),
    ],
)
def test_a_body_is_not_as_wanted(wanted, body):
    assert not matches(wanted, body)


async def test_what_handlers_send_is_found_by_body_and_delay():
    async def take(batch, env):
        await env.INVOICES.send_batch([{"body": {"order": n}} for n in (1, 2)], delay_seconds=60)

    async with MemoryBroker({"orders": take}) as broker:
        await broker.send("orders", {})
        await broker.drain()

        [found] = broker.assert_sent("invoices", body={"order": 2}, delay_seconds=60)

        assert (found.queue, found.body, found.content_type) == ("invoices", {"order": 2}, "json")
        broker.assert_sent("invoices", count=2)
        broker.assert_sent("invoices", body={"order": 3}, count=0)
        assert [sent.queue for sent in broker.sent()] == ["orders", "invoices", "invoices"]


async def test_what_a_message_asked_for_is_noted():
    async with MemoryBroker(queues=["orders"]) as broker:
        await broker.send(
            "orders", 1, priority="high", ordering_key="o-1", send_at=broker.clock.now + timedelta(days=2)
        )

    [message] = broker.sent("orders")
    assert (message.priority, message.ordering_key, message.delay_seconds) == ("high", "o-1", 2 * 86_400)


async def test_a_failed_assertion_lists_what_was_sent():
    async with MemoryBroker(queues=["orders", "invoices"]) as broker:
        await broker.send("orders", {"id": 7}, delay_seconds=5)

        with pytest.raises(AssertionError) as caught:
            broker.assert_sent("invoices", body={"order": 7})
        with pytest.raises(AssertionError, match="1 messages were sent to 'orders'; expected 2"):
            broker.assert_sent("orders", count=2)
        with pytest.raises(AssertionError, match="1 messages were sent to 'orders'; expected none"):
            broker.assert_nothing_sent("orders")

        assert str(caught.value) == (
            "0 messages were sent to 'invoices' with body {'order': 7}; expected at least 1. Sent were:\n"
            "  orders: {'id': 7}, delayed by 5 s"
        )
        broker.assert_nothing_sent("invoices")


async def test_a_message_that_was_refused_was_not_sent():
    async with MemoryBroker(queues=["orders"]) as broker:
        with pytest.raises(Exception, match="exceeds limit"):
            await broker.send("orders", "x" * 200_000)

        broker.assert_nothing_sent()
