"""Each message of a batch has its own call and its own end."""

import asyncio
import threading
import typing

import msgspec
import pytest

from millrace.batch import BatchMessage, MessageBatch
from millrace.errors import ConfigurationError
from millrace.handlers import PermanentError, RetryLater, as_call, by_field, each
from millrace.settlement import Ack, Reject, Retry
from tests.unit.batches import batch


class Email(msgspec.Struct):
    to: str


class Sms(msgspec.Struct):
    number: int


async def test_every_message_ends_as_its_own_call_does():
    ends = {1: PermanentError("no such user"), 2: RetryLater(30), 3: ValueError("x"), 4: SystemExit(1)}

    async def handle(message):
        if message.body in ends:
            raise ends[message.body]

    held = batch(b"0", b"1", b"2", b"3", b"4")

    await as_call(each(handle))(held, None)

    retries = [Retry(30), Retry(reason="ValueError"), Retry(reason="RuntimeError")]
    assert held.outcomes(Retry()) == [Ack(), Reject("no such user"), *retries]
    assert [message.body for message, _ in held.failures] == [1, 2, 3, 4]
    assert held.failures[2][1] is ends[3]


async def test_what_the_function_said_itself_counts_whatever_its_end():
    async def handle(message):
        if message.body == 0:
            message.retry(delay_seconds=7)
        else:
            message.ack()
            raise ValueError("after the work")

    held = batch(b"0", b"1")

    await as_call(each(handle))(held, None)

    assert held.outcomes(Reject("nobody spoke")) == [Retry(7), Ack()]


async def test_a_message_that_its_function_rejected_is_no_call_that_came_too_late():
    async def handle(message):
        message.reject("no address")

    held = batch(b"0")

    await as_call(each(handle))(held, None)

    assert (held.outcomes(Ack()), held.ignored) == ([Reject("no address")], [])


@pytest.mark.parametrize("at_once", [None, 2])
async def test_messages_run_side_by_side_up_to_a_limit(at_once):
    running, most, all_here = 0, 0, asyncio.Event()

    async def handle(message):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == (at_once or 5):
            all_here.set()
        await all_here.wait()
        running -= 1

    async with asyncio.timeout(5):
        await as_call(each(handle, at_once=at_once))(batch(b"0", b"1", b"2", b"3", b"4"), None)

    assert most == (at_once or 5)


async def test_plain_functions_run_side_by_side_in_threads():
    together = threading.Barrier(3, timeout=5)

    def handle(message):
        together.wait()

    held = batch(b"0", b"1", b"2")

    await as_call(each(handle))(held, None)

    assert held.outcomes(Retry()) == [Ack()] * 3


async def test_a_function_gets_as_many_arguments_as_it_takes():
    seen = []

    async def two(message, env):
        seen.append((message.body, env))

    async def three(message, env, ctx):
        seen.append((message.body, env, type(ctx).__name__))

    await as_call(each(two))(batch(), "env")
    await as_call(each(three))(batch(), "env")

    assert seen == [(1, "env"), (1, "env", "Context")]


async def test_work_left_for_one_message_counts_for_that_message_only():
    async def left():
        raise ValueError("late failure")

    async def handle(message, env, ctx):
        if message.body == 1:
            ctx.wait_until(left())

    held = batch(b"0", b"1")

    await as_call(each(handle))(held, None)

    assert held.outcomes(Reject("nobody spoke")) == [Ack(), Retry(reason="ValueError")]


async def test_the_first_parameter_says_whether_message_or_body_is_wanted():
    seen = []

    async def no_word(first):
        seen.append(first)

    async def anything(first: typing.Any):
        seen.append(first)

    async def message(first: BatchMessage):
        seen.append(first)

    async def typed_message(first: "BatchMessage[Email]"):
        seen.append(first)

    async def body(first: Email):
        seen.append(first)

    async def plain_body(first: dict):
        seen.append(first)

    for function in (no_word, anything, message, typed_message, body, plain_body):
        await as_call(each(function))(batch(b'{"to": "a@b"}'), None)

    assert [type(first).__name__ for first in seen] == [*["BatchMessage"] * 4, "Email", "dict"]
    assert seen[3].body == Email("a@b")


async def test_a_body_that_does_not_fit_is_rejected_and_its_function_not_called():
    seen = []

    async def handle(email: Email):
        seen.append(email)

    held = batch(b'{"to": "a@b"}', b'{"to": 5}')

    await as_call(each(handle))(held, None)

    assert seen == [Email("a@b")]
    assert held.outcomes(Retry())[1] == Reject("body does not fit Email: Expected `str`, got `int` - at `$.to`")


@pytest.mark.parametrize("at_once", [0, -1, 1.5, True, "2"])
def test_a_bad_limit_is_refused(at_once):
    with pytest.raises(ConfigurationError, match=r"at_once is .*expected 1 or more"):
        each(print, at_once=at_once)


def test_a_function_that_no_message_can_be_given_to_is_refused():
    async def unresolved(order: "Ordr"): ...  # noqa: F821

    async def of_a_batch(batch: MessageBatch): ...

    for function, sentence in (
        (unresolved, "takes 'Ordr', a name that its module does not have"),
        (of_a_batch, "no body can be read as MessageBatch"),
        (lambda: None, r"expected \(message\), \(message, env\)"),
        (None, "a handler is NoneType"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            each(function)


async def test_a_call_that_is_cancelled_keeps_what_was_settled_by_then():
    waiting = asyncio.Event()

    async def handle(message):
        if message.body == 1:
            waiting.set()
            await asyncio.Event().wait()

    held = batch(b"0", b"1")
    call = asyncio.create_task(as_call(each(handle))(held, None))
    await waiting.wait()
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert held.outcomes(Retry(reason="TimeoutError")) == [Ack(), Retry(reason="TimeoutError")]
    assert held.failures == []


async def test_a_field_of_the_body_picks_the_function():
    seen = []

    async def send_email(email: Email, env):
        seen.append(("email", email, env))

    def send_sms(message: BatchMessage[Sms]):
        seen.append(("sms", message.body))

    held = batch(b'{"type": "email", "to": "a@b"}', b'{"type": "sms", "number": 5}', b'{"type": "sms"}')

    await as_call(by_field("type", {"email": send_email, "sms": send_sms}))(held, "env")

    assert sorted(seen, key=lambda one: one[0]) == [("email", Email("a@b"), "env"), ("sms", Sms(5))]
    assert [type(outcome) for outcome in held.outcomes(Retry())] == [Ack, Ack, Reject]


async def test_a_path_leads_into_the_body():
    seen = []

    async def take(message):
        seen.append(message.body)

    held = batch(b'{"event": {"type": "new"}}', b'{"event": "new"}')

    await as_call(by_field("event.type", {"new": take}))(held, None)

    assert seen == [{"event": {"type": "new"}}]
    assert held.outcomes(Retry())[1] == Reject("body has no event.type; expected new")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"type": "fax"}', "type is 'fax'; expected email, sms"),
        (b'{"type": null}', "type is None; expected email, sms"),
        (b'{"type": ["email"]}', "type is ['email']; expected email, sms"),
        (b"{}", "body has no type; expected email, sms"),
        (b'"email"', "body has no type; expected email, sms"),
        (b'{"type": "' + b"x" * 500 + b'"}', "type is '" + "x" * 99 + "; expected email, sms"),
    ],
)
async def test_what_nobody_handles_is_rejected_and_the_reason_says_what_is_handled(body, reason):
    held = batch(body)

    await as_call(by_field("type", {"email": print, "sms": print}))(held, None)

    assert held.outcomes(Retry()) == [Reject(reason)]


async def test_what_nobody_handles_goes_to_otherwise():
    seen = []

    async def rest(message):
        seen.append(message.body)

    held = batch(b'{"type": "fax"}', b"5")

    await as_call(by_field("type", {"email": print}, otherwise=rest))(held, None)

    assert seen == [{"type": "fax"}, 5]
    assert held.outcomes(Retry()) == [Ack(), Ack()]


async def test_a_field_may_lead_to_another_field():
    seen = []

    async def take(message):
        seen.append(message.body["size"])

    handler = by_field("type", {"parcel": by_field("size", {"S": take}), "letter": each(take)})

    await as_call(handler)(batch(b'{"type": "parcel", "size": "S"}', b'{"type": "letter", "size": "L"}'), None)

    assert seen == ["S", "L"]


def test_no_field_and_no_handlers_are_refused():
    for field, handlers in (("", {"a": print}), ("type", {})):
        with pytest.raises(ConfigurationError, match="expected both"):
            by_field(field, handlers)
