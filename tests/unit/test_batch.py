"""Section by section: what each call on a message or a batch means, and which call wins."""

import pytest

from millrace.errors import InvalidInput
from millrace.handlers import PermanentError, RetryLater, as_call, outcome_of
from millrace.settlement import Ack, Reject, Retry
from tests.unit.batches import batch

FAILED = Retry(reason="ValueError")


CASES = [
    ("nothing said, returned", lambda b, m: None, Ack(), Ack()),
    ("nothing said, raised", lambda b, m: None, FAILED, FAILED),
    ("ack stays when the handler fails later", lambda b, m: m.ack(), FAILED, Ack()),
    ("retry stays when the handler returns", lambda b, m: m.retry(), Ack(), Retry()),
    ("ack after retry is ignored", lambda b, m: (m.retry(), m.ack()), Ack(), Retry()),
    ("retry after ack is ignored", lambda b, m: (m.ack(), m.retry()), Ack(), Ack()),
    ("a second retry replaces the delay", lambda b, m: (m.retry(delay_seconds=1), m.retry(delay_seconds=9)), Ack(), Retry(9)),
    ("ack_all counts though the handler fails", lambda b, m: b.ack_all(), FAILED, Ack()),
    ("retry_all counts though it returns", lambda b, m: b.retry_all(delay_seconds=3), Ack(), Retry(3)),
    ("retry_all after ack_all is ignored", lambda b, m: (b.ack_all(), b.retry_all()), Ack(), Ack()),
    ("ack_all after retry_all is ignored", lambda b, m: (b.retry_all(), b.ack_all()), Ack(), Retry()),
    ("a second retry_all replaces the delay", lambda b, m: (b.retry_all(delay_seconds=1), b.retry_all(delay_seconds=4)), Ack(), Retry(4)),
    ("a call on the message beats one on the batch", lambda b, m: (m.retry(), b.ack_all()), Ack(), Retry()),
    ("ack after retry_all is ignored", lambda b, m: (b.retry_all(), m.ack()), Ack(), Retry()),
    ("retry after ack_all is ignored", lambda b, m: (b.ack_all(), m.retry()), Ack(), Ack()),
    ("retry after retry_all has its own delay", lambda b, m: (b.retry_all(), m.retry(delay_seconds=2)), Ack(), Retry(2)),
    ("reject is final", lambda b, m: (m.reject("no"), m.retry(), m.ack()), Ack(), Reject("no")),
]  # fmt: skip


@pytest.mark.parametrize(("act", "unspoken", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_which_call_wins(act, unspoken, expected):
    held = batch()

    act(held, held.messages[0])

    assert held.outcomes(unspoken) == [expected]


def test_a_batch_call_does_not_touch_messages_with_a_call_of_their_own():
    held = batch(b"1", b"2", b"3")
    held.messages[0].ack()
    held.messages[1].retry(delay_seconds=7)

    held.retry_all()

    assert held.outcomes(Ack()) == [Ack(), Retry(7), Retry()]


@pytest.mark.parametrize("delay", [-1, 86_401, "5", True, float("nan")])
def test_a_bad_delay_is_refused_with_the_range(delay):
    held = batch()

    with pytest.raises(InvalidInput):
        held.messages[0].retry(delay_seconds=delay)
    with pytest.raises(InvalidInput):
        held.retry_all(delay_seconds=delay)
    assert held.outcomes(Ack()) == [Ack()]


def test_a_message_shows_its_body_time_and_attempts():
    (message,) = batch(b'{"a": [1, null]}').messages

    assert (message.body, message.attempts, message.headers) == ({"a": [1, None]}, 1, {})
    assert message.timestamp.isoformat() == "2023-11-14T22:13:20.500000+00:00"


def test_what_a_handler_raises_decides_for_the_messages_it_did_not_speak_for():
    assert outcome_of(None) == Ack()
    assert outcome_of(ValueError("x")) == Retry(reason="ValueError")
    assert outcome_of(PermanentError("no such user")) == Reject("no such user")
    assert outcome_of(RetryLater(30)) == Retry(30)


def test_errors_of_the_users_own_making_mean_what_their_class_means():
    class Gone(PermanentError):
        def __str__(self) -> str:
            raise ValueError

    class Soon(RetryLater):
        def __init__(self) -> None:
            """Leave the delay to the consumer."""

    assert outcome_of(Gone()) == Reject("PermanentError")
    assert outcome_of(Soon()) == Retry()


async def test_a_handler_gets_as_many_arguments_as_it_takes():
    seen = []

    async def one(batch):
        seen.append((batch,))

    def two(batch, env):
        seen.append((batch, env))

    async def three(batch, env, ctx):
        seen.append((batch, env, ctx))

    for handler in (one, two, three, lambda *arguments: seen.append(arguments)):
        await as_call(handler)("batch", "env")

    assert [len(arguments) for arguments in seen] == [1, 2, 3, 3]


async def test_what_was_given_to_wait_until_is_awaited_and_may_fail_the_batch():
    done = []

    async def work(fails):
        done.append(fails)
        if fails:
            raise ValueError("late failure")

    def handler(fails):
        async def handle(batch, env, ctx):
            ctx.wait_until(work(fails))

        return handle

    await as_call(handler(False))("batch", None)
    with pytest.raises(ValueError, match="late failure"):
        await as_call(handler(True))("batch", None)
    assert done == [False, True]


async def test_a_handler_that_exits_fails_and_does_not_end_the_process():
    async def handler(batch):
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="exit\\(3\\)"):
        await as_call(handler)("batch", None)


async def test_what_a_plain_function_gives_back_to_be_awaited_is_awaited():
    done = []

    async def real(batch):
        done.append(batch)

    await as_call(lambda batch: real(batch))("batch", None)  # noqa: PLW0108 - a decorator looks like this

    assert done == ["batch"]


async def test_a_plain_handler_may_leave_work_behind_from_its_thread():
    done = []

    async def work():
        done.append(1)

    await as_call(lambda batch, env, ctx: ctx.wait_until(work()))("batch", None)

    assert done == [1]


async def test_left_work_is_finished_though_the_handler_failed():
    done = []

    async def work():
        done.append(1)

    async def handler(batch, env, ctx):
        ctx.wait_until(work())
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await as_call(handler)("batch", None)
    assert done == [1]


def test_a_reason_is_cut_and_made_text():
    held = batch()

    held.messages[0].reject("\udce9" + "x" * 10_000)

    (outcome,) = held.outcomes(Ack())
    assert outcome.reason.startswith("?xx")
    assert len(outcome.reason) == 500
    assert outcome_of(PermanentError("\udce9")) == Reject("?")


def test_a_retry_later_beyond_the_limit_is_refused_where_it_is_made():
    with pytest.raises(InvalidInput):
        RetryLater(100_000)


@pytest.mark.parametrize(
    ("speak", "ignored"),
    [
        (lambda batch, message: (message.ack(), message.retry()), ["retry after ack"]),
        (lambda batch, message: (message.retry(), message.ack()), ["ack after retry"]),
        (lambda batch, message: (message.reject("no"), message.ack()), ["ack after reject"]),
        (lambda batch, message: (message.ack(), message.reject("no")), ["reject after ack"]),
        (lambda batch, message: (batch.ack_all(), message.retry()), ["retry after ack_all"]),
        (lambda batch, message: (batch.retry_all(), message.ack()), ["ack after retry_all"]),
        (lambda batch, message: (batch.retry_all(), batch.ack_all()), ["ack_all after retry_all"]),
        (lambda batch, message: (batch.ack_all(), batch.retry_all()), ["retry_all after ack_all"]),
        (lambda batch, message: (batch.ack_all(), message.ack()), []),
        (lambda batch, message: (message.ack(), message.ack(), batch.ack_all(), batch.ack_all()), []),
        (lambda batch, message: (message.retry(), message.retry(delay_seconds=3), batch.ack_all()), []),
    ],
)
def test_a_call_that_comes_too_late_is_noted(speak, ignored):
    made = batch("a")

    speak(made, made.messages[0])

    assert made.ignored == ignored
