"""The broker of the test kit: deliveries on demand, under the rules of a server, in a time that a test moves."""

from datetime import timedelta

import msgspec
import pytest

from millrace import App, BatchMessage, MessageBatch, PermanentError, RetryLater, by_field, each
from millrace.errors import ConfigurationError, InvalidInput, QueueNotFound
from millrace.platform import QueueNeed
from millrace.testing import ManualClock, MemoryBroker, NeverIdle
from millrace.testing.clock import START


class Handled:
    """A handler that remembers what it got and when; `errors` are raised first, one a call."""

    def __init__(self, *errors):
        self.errors, self.batches, self.times, self.clock = list(errors), [], [], None

    async def __call__(self, batch):
        self.batches.append([message.body for message in batch.messages])
        self.times.append(self.clock() if self.clock else None)
        if self.errors:
            raise self.errors.pop(0)

    @property
    def seconds(self):
        return [(at_ms - self.times[0]) / 1000 for at_ms in self.times]


async def test_what_is_ready_is_delivered_in_full_batches_and_the_rest_without_a_wait():
    handle = Handled()
    async with MemoryBroker({"orders": handle}, consumers={"orders": {"batch_size": 2}}) as broker:
        await broker.send_batch("orders", [{"body": n} for n in range(5)])

        report = await broker.drain()

        assert handle.batches == [[0, 1], [2, 3], [4]]
        assert (report.deliveries, report.acked) == (5, 5)
        assert broker.clock.now == START


async def test_a_delayed_message_is_delivered_once_the_clock_says_so():
    handle = Handled()
    async with MemoryBroker({"orders": handle}) as broker:
        await broker.send("orders", 1, delay_seconds=60)
        broker.clock.advance(59)
        early = await broker.drain()
        broker.clock.advance(1)

        report = await broker.drain()

        assert early.deliveries == 0
        assert report.acked == 1


async def test_retries_follow_the_backoff_of_the_consumer_on_a_clock_that_moves_itself():
    handle = Handled(OSError(), OSError(), OSError())
    backoff = {"kind": "exponential", "base_seconds": 10, "jitter": 0.5}
    async with MemoryBroker({"orders": handle}, consumers={"orders": {"backoff": backoff}}) as broker:
        handle.clock = broker.clock
        await broker.send("orders", 1)

        report = await broker.run_until_idle(raise_errors=False)

        assert handle.seconds == [0, 20, 60, 140]
        assert (report.retried, report.acked) == (3, 1)
        assert [type(error) for error in report.errors] == [OSError] * 3


async def test_a_message_that_keeps_failing_is_found_among_the_dead_letters_with_its_reason():
    consumer = {"max_retries": 1, "dead_letter_queue": "dead"}
    handle = Handled(OSError(), ValueError("no"))
    async with MemoryBroker({"orders": handle}, consumers={"orders": consumer}) as broker:
        await broker.send("orders", {"id": 7})

        report = await broker.drain(raise_errors=False)

        [dead] = await broker.dead_letters("orders")
        assert (dead.body, dead.reason, dead.origin) == ({"id": 7}, "ValueError", "orders")
        assert (report.retried, report.buried) == (1, 1)
        assert (await broker.backlog("orders")).count == 0


async def test_the_first_batch_with_an_unmeant_error_ends_a_drain_after_its_settlement():
    handle = Handled(KeyError("price"))
    async with MemoryBroker({"orders": handle}, consumers={"orders": {"batch_size": 1}}) as broker:
        await broker.send_batch("orders", [{"body": 1}, {"body": 2}])

        with pytest.RaisesGroup(KeyError) as caught:
            await broker.drain()

        assert "queue 'orders'" in caught.value.exceptions[0].__notes__[0]
        assert handle.batches == [[1]]
        assert [message.attempts for message in await broker.messages("orders")] == [1, 0]


async def test_errors_that_speak_for_messages_are_reported_and_not_raised():
    handle = Handled(RetryLater(30), PermanentError("never"))
    async with MemoryBroker({"orders": handle}) as broker:
        await broker.send("orders", 1)

        report = await broker.run_until_idle()

        assert (report.retried, report.dropped) == (1, 1)
        assert [type(error) for error in report.errors] == [RetryLater, PermanentError]
        assert broker.clock.now == START + timedelta(seconds=30)


async def test_an_error_over_a_single_message_is_raised_too():
    async def handle(message):
        if message.body == 2:
            raise ValueError("two")

    async with MemoryBroker({"orders": each(handle)}) as broker:
        await broker.send_batch("orders", [{"body": 1}, {"body": 2}])

        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="two")):
            await broker.drain()

        assert [message.body for message in await broker.messages("orders")] == [2]


async def test_handlers_that_send_to_each_other_are_all_served():
    async def take(batch, env):
        for message in batch.messages:
            await env.INVOICES.send(message.body, delay_seconds=3600)

    invoices = Handled()
    async with MemoryBroker({"invoices": invoices, "orders": take}) as broker:
        await broker.send("orders", "tea")

        await broker.run_until_idle()

        assert invoices.batches == [["tea"]]
        assert broker.clock.now == START + timedelta(hours=1)


async def test_only_the_queues_that_are_named_are_drained():
    async with MemoryBroker({"one": Handled(), "two": Handled()}) as broker:
        await broker.send("one", 1)
        await broker.send("two", 2)

        await broker.drain("two")

        assert [(await broker.backlog(queue)).count for queue in ("one", "two")] == [1, 0]


async def test_a_handler_that_feeds_itself_is_stopped_with_a_word_about_it():
    async def feed(batch, env):
        await env.LOOP.send("again")

    async with MemoryBroker({"loop": feed}) as broker:
        await broker.send("loop", "first")

        with pytest.raises(NeverIdle, match=r"more than 100 deliveries were made\. Deliveries by queue: loop 101"):
            await broker.drain(max_deliveries=100)


async def test_a_run_that_outlasts_its_time_is_stopped_with_a_word_about_it():
    async def tomorrow(batch):
        raise RetryLater(86_400)

    async with MemoryBroker({"daily": tomorrow}, consumers={"daily": {"max_retries": 100}}) as broker:
        await broker.send("daily", 1)

        with pytest.raises(NeverIdle, match="after 172800 s of the clock there are still messages to come"):
            await broker.run_until_idle(limit_seconds=2 * 86_400)


async def test_a_handler_that_takes_longer_than_its_lease_cannot_retry_any_more():
    async def slow(batch):
        broker.clock.advance(61)
        raise OSError

    async with MemoryBroker({"orders": slow}, consumers={"orders": {"max_retries": 1}}) as broker:
        await broker.send("orders", 1)

        report = await broker.run_until_idle(raise_errors=False)

        assert (report.deliveries, report.retried, report.dropped) == (2, 0, 1)


async def test_what_expires_is_gone_when_the_clock_has_passed_its_retention():
    async with MemoryBroker(queues=["orders"]) as broker:
        await broker.send("orders", 1)

        broker.clock.advance(4 * 86_400)

        assert (await broker.backlog("orders")).count == 0
        assert await broker.messages("orders") == []


class Order(msgspec.Struct):
    id: int


async def test_typed_bodies_and_routing_by_field_work_as_in_a_server():
    orders, changes = [], []

    def take(order: Order):
        orders.append(order)

    async def change(message: BatchMessage):
        changes.append(message.body["to"])

    async def typed(batch: MessageBatch[Order]):
        orders.extend(message.body for message in batch.messages)

    handlers = {"mixed": by_field("type", {"order": take, "change": change}), "typed": typed}
    async with MemoryBroker(handlers, consumers={"typed": {"dead_letter_queue": "misfits"}}) as broker:
        await broker.send("mixed", {"type": "order", "id": 1})
        await broker.send("mixed", {"type": "change", "to": 2})
        await broker.send("typed", Order(3))
        await broker.send("typed", {"id": "three"})

        report = await broker.drain()

        assert (orders, changes) == ([Order(1), Order(3)], [2])
        assert report.buried == 1
        assert "body does not fit Order" in (await broker.dead_letters("typed"))[0].reason


async def test_a_look_at_messages_tells_when_they_will_be_ready():
    async with MemoryBroker({"orders": Handled(RetryLater(40))}) as broker:
        message_id = await broker.send("orders", b"\x00", content_type="bytes", headers={"X-Correlation-ID": "c"})
        await broker.drain()

        [waiting] = await broker.messages("orders")

        assert waiting.id == message_id == f"{1:032x}"
        assert (waiting.body, waiting.attempts, waiting.headers) == (b"\x00", 1, {"X-Correlation-ID": "c"})
        assert waiting.sent_at == START
        assert waiting.ready_at == START + timedelta(seconds=40)


async def test_an_app_brings_its_queues_and_its_handlers_of_which_a_test_may_replace_some():
    def fail(batch):
        raise AssertionError

    stand_in = Handled()
    app = App(
        handlers={"orders": fail}, queues=(QueueNeed(name="archive", consumer={"type": "http_pull", "settings": {}}),)
    )
    async with MemoryBroker.of(app, handlers={"orders": stand_in}, queues=["more"]) as broker:
        for queue in ("orders", "archive", "more"):
            await broker.send(queue, queue)

        await broker.drain()

        assert stand_in.batches == [["orders"]]
        assert len(await broker.messages("archive")) == 1


async def test_variables_and_bindings_are_in_env_and_with_bindings_no_others_are():
    async with MemoryBroker(bindings={"BILLS": "invoices"}, variables={"REGION": "eu"}) as broker:
        await broker.env.BILLS.send(1)

        assert broker.env.REGION == "eu"
        assert (await broker.env.BILLS.metrics()).count == 1
        with pytest.raises(AttributeError, match="no binding 'OTHER'"):
            _ = broker.env.OTHER


async def test_a_paused_queue_keeps_its_messages():
    async with MemoryBroker({"orders": Handled()}) as broker:
        catalog = broker.platform.catalog
        queue = await catalog.queue_named("local", "orders")
        await catalog.change("local", queue.id, settings={"delivery_paused": True})
        await broker.send("orders", 1)

        report = await broker.run_until_idle()

        assert report.deliveries == 0


async def test_wrong_names_are_told_with_the_right_ones():
    async with MemoryBroker({"orders": Handled()}, queues=["archive"]) as broker:
        with pytest.raises(QueueNotFound, match="there is no queue 'order'; there are: archive, orders"):
            await broker.send("order", 1)
        with pytest.raises(ConfigurationError, match=r"queue 'archive' has no handler here; .*: orders"):
            await broker.drain("archive")
        with pytest.raises(ConfigurationError, match="queue 'orders' has no dead-letter queue"):
            await broker.dead_letters("orders")


async def test_a_consumer_setting_that_is_none_stops_the_test():
    with pytest.raises(ConfigurationError, match=r"the consumer of 'orders' has max_batch_size; expected .*batch_size"):
        await MemoryBroker(consumers={"orders": {"max_batch_size": 1}}).__aenter__()


async def test_a_broker_that_is_not_open_says_how_to_open_it():
    with pytest.raises(ConfigurationError, match="async with MemoryBroker"):
        await MemoryBroker().send("orders", 1)


async def test_a_broker_can_be_opened_again_and_begins_anew():
    broker = MemoryBroker(queues=["orders"])
    async with broker:
        await broker.send("orders", 1)

    async with broker:
        assert await broker.messages("orders") == []
        broker.assert_nothing_sent()
        with pytest.raises(ConfigurationError, match="open already"):
            await broker.__aenter__()


def test_the_clock_goes_forward_only_and_starts_with_a_time_zone():
    with pytest.raises(InvalidInput, match="seconds is -1"):
        ManualClock().advance(-1)
    with pytest.raises(InvalidInput, match="expected a time with its zone"):
        ManualClock(START.replace(tzinfo=None))
