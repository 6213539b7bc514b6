"""What may be a handler, how it may end, and bodies of the type that it asks for."""

import asyncio
import dataclasses
import functools
import typing

import msgspec
import pytest

from millrace.batch import BatchMessage, MessageBatch
from millrace.errors import ConfigurationError
from millrace.handlers import PermanentError, as_call, outcome_of
from millrace.settlement import Ack, Reject, Retry
from tests.unit.batches import batch


class Order(msgspec.Struct):
    number: int


class Picky(msgspec.Struct):
    number: int

    def __post_init__(self):
        if self.number == 2:
            raise KeyError("a bug of the type's own")


@dataclasses.dataclass
class Parcel:
    weight: float


class Foreign:
    pass


def bodies_seen(kind):
    """Make a handler of that type that keeps the bodies it is shown."""
    seen = []

    async def handle(batch):
        seen.append([message.body for message in batch.messages])

    handle.__annotations__["batch"] = kind
    return handle, seen


async def test_bodies_are_of_the_type_that_the_handler_asks_for():
    handle, seen = bodies_seen("MessageBatch[Order]")

    await as_call(handle)(batch(b'{"number": 7}', b'{"number": 8, "more": 1}'), None)

    assert seen == [[Order(7), Order(8)]]


@pytest.mark.parametrize(
    ("kind", "body", "content_type", "expected"),
    [
        (dict, b'{"a": 1}', "json", {"a": 1}),
        (Parcel, b'{"weight": 2}', "json", Parcel(2.0)),
        (str, b"hello", "text", "hello"),
        (bytes, b"\xff", "bytes", b"\xff"),
        (str | None, b"null", "json", None),
        (list[object], b'[1, "a"]', "json", [1, "a"]),
        (typing.Any, b"[]", "json", []),
    ],
)
async def test_any_type_that_msgspec_reads_will_do(kind, body, content_type, expected):
    held = batch(body, content_type=content_type)
    handle, seen = bodies_seen(MessageBatch[kind])

    await as_call(handle)(held, None)

    assert seen == [[expected]]


async def test_a_message_whose_body_does_not_fit_is_rejected_and_not_shown():
    held = batch(b'{"number": 7}', b'{"number": "secret"}', b'"text"')
    handle, seen = bodies_seen(MessageBatch[Order])

    await as_call(handle)(held, None)

    assert seen == [[Order(7)]]
    assert held.outcomes(Ack()) == [
        Ack(),
        Reject("body does not fit Order: Expected `int`, got `str` - at `$.number`"),
        Reject("body does not fit Order: Expected `object`, got `str`"),
    ]


async def test_a_handler_is_not_called_when_no_body_fits():
    held = batch(b"1", b"2")
    handle, seen = bodies_seen(MessageBatch[Order])

    await as_call(handle)(held, None)

    assert seen == []


async def test_a_type_whose_own_code_fails_costs_the_message_an_attempt_and_not_its_life():
    held = batch(b'{"number": 1}', b'{"number": 2}')
    handle, seen = bodies_seen(MessageBatch[Picky])

    await as_call(handle)(held, None)

    assert seen == [[Picky(1)]]
    assert held.outcomes(Ack()) == [Ack(), Retry(reason="KeyError")]
    assert [(message.id[-1], type(error)) for message, error in held.failures] == [("1", KeyError)]


async def test_what_is_said_about_the_shown_batch_counts_for_the_whole():
    held = batch(b'{"number": 1}', b"0", b'{"number": 2}')

    async def handle(batch):
        batch.messages[0].ack()
        batch.retry_all(delay_seconds=5)

    handle.__annotations__["batch"] = MessageBatch[Order]

    await as_call(handle)(held, None)

    assert [type(outcome) for outcome in held.outcomes(Ack())] == [Ack, Reject, Retry]


async def test_an_annotation_that_cannot_be_resolved_leaves_bodies_as_they_were_sent():
    handle, seen = bodies_seen("MessageBatch[OnlyForTypeCheckers]")

    await as_call(handle)(batch(b'{"a": 1}'), None)

    assert seen == [[{"a": 1}]]


def test_a_type_that_no_body_can_be_read_as_stops_the_start():
    for kind in (Foreign, list[Foreign]):
        handle, _ = bodies_seen(MessageBatch[kind])

        with pytest.raises(ConfigurationError, match=r"no body can be read as .*Foreign"):
            as_call(handle)


class Counter:
    async def __call__(self, batch, env): ...


async def _yields(batch):
    yield batch


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (lambda: None, "expected (batch), (batch, env) or (batch, env, ctx)"),
        (lambda batch, env, ctx, more: None, "takes (batch, env, ctx, more); expected"),
        (lambda batch, *, more: None, "expected (batch)"),
        (None, "a handler is NoneType; expected a function"),
        ("module:name", "a handler is str; expected a function"),
        (Counter, "Counter is a class; expected a function or an instance"),
        (_yields, "is a generator; expected a function without yield"),
    ],
)
def test_what_cannot_be_called_with_a_batch_is_refused_at_the_start(handler, sentence):
    with pytest.raises(ConfigurationError) as caught:
        as_call(handler)

    assert sentence in str(caught.value)


def test_what_can_be_called_with_a_batch_is_taken():
    for handler in (
        Counter(),
        Counter().__call__,
        functools.partial(lambda more, batch: None, 1),
        lambda batch, env, ctx, more=1: None,
        lambda *arguments, **options: None,
        print,
    ):
        as_call(handler)


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (KeyboardInterrupt, "the handler raised KeyboardInterrupt"),
        (GeneratorExit, "the handler raised GeneratorExit"),
        (asyncio.CancelledError, "the handler raised CancelledError"),
        (SystemExit(4), "the handler called exit(4)"),
        (StopIteration, "StopIteration"),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
async def test_no_way_to_raise_ends_the_server(raised, sentence, is_async):
    async def in_loop(batch):
        raise raised

    def in_thread(batch):
        raise raised

    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError) as caught:
            await as_call(in_loop if is_async else in_thread)(batch(), None)

    assert sentence in str(caught.value)


async def test_a_call_that_is_cancelled_from_outside_stays_cancelled_and_takes_left_work_with_it():
    begun, ended = asyncio.Event(), []

    async def left():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("left")

    async def handle(batch, env, ctx):
        ctx.wait_until(left())
        await asyncio.sleep(0)
        begun.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(as_call(handle)(batch(), None))
    await begun.wait()
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended == ["left"]


async def test_work_that_left_work_leaves_is_finished():
    done = []

    async def second():
        done.append(2)

    async def handle(batch, env, ctx):
        async def first():
            await asyncio.sleep(0)
            ctx.wait_until(second())

        ctx.wait_until(first())

    await as_call(handle)(batch(), None)

    assert done == [2]


async def test_the_handlers_own_error_counts_before_that_of_work_it_left():
    async def left():
        raise ValueError("later")

    async def handle(batch, env, ctx):
        ctx.wait_until(left())
        raise PermanentError("no such user")

    with pytest.raises(PermanentError) as caught:
        await as_call(handle)(batch(), None)

    assert outcome_of(caught.value) == Reject("no such user")


def test_a_function_of_one_message_is_no_batch_handler():
    async def send_mail(message: BatchMessage) -> None: ...

    with pytest.raises(ConfigurationError, match=r"expected a MessageBatch, or each\("):
        as_call(send_mail)
