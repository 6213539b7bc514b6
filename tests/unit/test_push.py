"""The pusher against real receivers: what it sends, what it makes of answers and failures, and when it waits."""

import asyncio
import math
import re
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from millrace import __version__
from millrace.access.signatures import verify
from millrace.backoff import Backoff
from millrace.batch import MessageBatch
from millrace.clock import wall_ms
from millrace.message import Lease, Message
from millrace.resources.outbound import Outbound
from millrace.runtime.push import Pusher, Target
from millrace.runtime.push_wire import PushFailed
from millrace.settlement import Ack, Policy, Postpone, Reject, Retry
from millrace.telemetry import Telemetry
from tests.docs.pages import DOCS, blocks
from tests.unit.receiver import Receiver, answer, never, now_s, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MIDDLE = 0.5
EVENTS = ("push.failed", "push.opened", "push.closed")


class Rig:
    """A pusher whose seconds a test moves, and what it told."""

    def __init__(self, url: str, *, allow: tuple[str, ...] = ("127.0.0.1",), timeout_seconds: float = 5, **policy: Any):
        known = {"max_retries": 3, "retry_delay_seconds": 0, "dead_letter_queue": "dead"}
        self.target = Target(url=url, secret=SECRET, policy=Policy(**(known | policy)))
        self.now_s = 1000.0
        self.events: list[tuple[str, dict[str, Any]]] = []
        telemetry = Telemetry()
        telemetry.subscribe(lambda name, fields: self.events.append((name, fields)), *EVENTS)
        self.outbound = Outbound(allow)
        self.pusher = Pusher(
            self.outbound, telemetry, wall_ms, lambda: self.target,
            timeout_seconds=timeout_seconds, monotonic=lambda: self.now_s, chance=lambda: MIDDLE,
        )  # fmt: skip

    async def push(self, batch: MessageBatch) -> list[Any]:
        """Push a batch as a consumer does, and give the outcomes that were noted."""
        await self.pusher.take("orders")
        try:
            await self.pusher.call(batch, None)
        finally:
            self.pusher.give_back("orders")
        return [message.outcome for message in batch.messages]

    async def fail(self, batch: MessageBatch | None = None) -> list[Any]:
        """Push a batch that fails."""
        batch = batch or orders()
        with pytest.raises(PushFailed):
            await self.push(batch)
        return [message.outcome for message in batch.messages]

    async def fail_until_open(self) -> None:
        for _ in range(5):
            await self.fail()

    def told(self) -> list[str]:
        return [name for name, _ in self.events]


def orders(*attempts: int) -> MessageBatch:
    messages = [
        Message(
            id=f"{n:032x}", lease=Lease(n, 1), attempts=one, failures=0, sent_at_ms=1_700_000_000_500,
            content_type="json", body=b'{"n":1}', source="http",
        )
        for n, one in enumerate(attempts or (1, 1))
    ]  # fmt: skip
    return MessageBatch("orders", messages)


async def test_a_push_is_signed_and_says_who_calls():
    async with receiving() as receiver:
        await Rig(receiver.url).push(orders())

    [request] = receiver.requests
    assert verify(SECRET, request.headers, request.body, now_s())
    assert request.headers["user-agent"] == f"Millrace/{__version__}"
    assert request.headers["content-type"] == "application/json"
    assert request.json["batch_id"] == request.headers["webhook-id"]


async def test_each_push_has_an_id_of_its_own():
    async with receiving() as receiver:
        rig = Rig(receiver.url)
        await rig.push(orders())
        await rig.push(orders())

    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 2


async def test_the_answer_settles_each_message():
    outcomes = [
        {"id": f"{0:032x}", "outcome": "retry", "delay_seconds": 7},
        {"id": f"{2:032x}", "outcome": "reject", "reason": "no such order"},
    ]
    async with receiving(lambda request: answer(body={"outcomes": outcomes})) as receiver:
        noted = await Rig(receiver.url).push(orders(1, 1, 1))

    assert noted == [Retry(7), Ack(), Reject("no such order")]


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (answer(500), "answered 500: it failed"),
        (answer(410), "answered 410: it refuses"),
        (answer(302, Location="http://10.0.0.1/"), "a redirect is never followed"),
        (answer(body=b"<html>secret</html>"), "not in a form that is understood"),
        (b"nonsense\r\n\r\n", "the connection broke"),
    ],
)
async def test_a_failure_counts_an_attempt_and_settles_nothing(response: bytes, why: str):
    async with receiving(lambda request: response) as receiver:
        rig = Rig(receiver.url)
        noted = await rig.fail(orders(1, 2))

    [(name, fields)] = rig.events
    assert [type(outcome) for outcome in noted] == [Retry, Retry]
    assert [outcome.delay_seconds for outcome in noted] == [2, 4]
    assert why in noted[0].reason
    assert (name, fields["queue"], fields["host"], fields["count"]) == ("push.failed", "orders", "127.0.0.1", 2)
    assert "secret" not in str(fields)


async def test_a_url_that_answers_too_late_is_a_failure():
    async with receiving(never) as receiver:
        [outcome] = await Rig(receiver.url, timeout_seconds=0.1).fail(orders(1))

    assert "no complete answer within 0.1 s" in outcome.reason


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/?token=secret", "http://user:secret@hooks.example/", "nonsense"])
async def test_a_url_that_is_refused_is_a_failure_and_not_shown(url: str):
    rig = Rig(url, allow=())

    [outcome] = await rig.fail(orders(1))

    assert isinstance(outcome, Retry)
    assert "secret" not in str(rig.events)


async def test_a_secret_that_is_none_is_a_failure_and_nothing_is_sent():
    async with receiving() as receiver:
        rig = Rig(receiver.url)
        rig.target = Target(url=receiver.url, secret="whsec_", policy=rig.target.policy)
        await rig.fail()

    assert receiver.requests == []


async def test_delays_grow_with_the_attempts_up_to_five_minutes():
    async with receiving(lambda request: answer(500)) as receiver:
        noted = await Rig(receiver.url, max_retries=100).fail(orders(1, 3, 8, 9, 50))

    assert [outcome.delay_seconds for outcome in noted] == [2, 8, 256, 300, 300]


@pytest.mark.parametrize(
    "own", [{"retry_delay_seconds": 60}, {"backoff": Backoff(kind="fixed", base_seconds=60)}], ids=["delay", "backoff"]
)
async def test_delays_of_the_consumers_own_are_left_to_it(own: dict[str, Any]):
    async with receiving(lambda request: answer(500)) as receiver:
        [outcome] = await Rig(receiver.url, **own).fail(orders(1))

    assert isinstance(outcome, Retry)
    assert outcome.delay_seconds is None


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"dead_letter_queue": None}, [Retry, Retry, Postpone, Postpone]),
        ({"dead_letter_queue": "dead"}, [Retry, Retry, Retry, Retry]),
        ({"dead_letter_queue": None, "max_retries": 9, "max_attempts": 2}, [Retry, Postpone, Postpone, Postpone]),
        ({"dead_letter_queue": None, "max_retries": 0}, [Postpone, Postpone, Postpone, Postpone]),
    ],
    ids=["without dead letters", "with dead letters", "by failures", "without retries"],
)
async def test_a_failure_of_the_url_never_drops_a_message(policy: dict[str, Any], expected: list[type]):
    async with receiving(lambda request: answer(500)) as receiver:
        noted = await Rig(receiver.url, **({"max_retries": 2} | policy)).fail(orders(1, 2, 3, 4))

    assert [type(outcome) for outcome in noted] == expected


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed_and_counts_nothing(status: int):
    async with receiving(lambda request: answer(status, Retry_After="120")) as receiver:
        rig = Rig(receiver.url)
        noted = await rig.push(orders())

    assert noted == [Postpone(120), Postpone(120)]
    assert rig.pusher.seconds_until_ready() == 120
    assert rig.told() == ["push.failed", "push.opened"]


async def test_five_failures_in_a_row_stop_the_pushes_until_the_pause_is_over():
    async with receiving(lambda request: answer(500)) as receiver:
        rig = Rig(receiver.url)
        await rig.fail_until_open()
        taking = asyncio.create_task(rig.pusher.take("orders"))
        await asyncio.wait({taking}, timeout=0)

        assert rig.pusher.seconds_until_ready() == 1
        assert not taking.done()
        assert rig.told() == ["push.failed"] * 5 + ["push.opened"]
        taking.cancel()


async def test_one_batch_at_a_time_tries_a_url_that_failed():
    async with receiving(lambda request: answer(500)) as receiver:
        rig = Rig(receiver.url)
        await rig.fail_until_open()
        rig.now_s += 1
        await rig.pusher.take("orders")
        second = asyncio.create_task(rig.pusher.take("orders"))
        await asyncio.wait({second}, timeout=0)

        assert rig.pusher.seconds_until_ready() == math.inf
        assert not second.done()
        rig.pusher.give_back("orders")
        await second


async def test_a_try_that_fails_counts_for_no_message_and_doubles_the_pause():
    async with receiving(lambda request: answer(500)) as receiver:
        rig = Rig(receiver.url)
        await rig.fail_until_open()
        rig.now_s += 1
        noted = await rig.fail(orders(4, 1))

    assert noted == [Postpone(2), Postpone(2)]
    assert rig.pusher.seconds_until_ready() == 2


async def test_a_try_that_succeeds_lets_all_go_on():
    async with receiving(lambda request: answer(500)) as receiver:
        rig = Rig(receiver.url)
        await rig.fail_until_open()
        receiver.respond = lambda request: answer()
        rig.now_s += 1
        noted = await rig.push(orders())
        await rig.pusher.take("orders")
        await rig.pusher.take("orders")

    assert noted == [Ack(), Ack()]
    assert rig.told()[-1] == "push.closed"


async def test_batches_under_way_when_it_opens_come_back_uncounted():
    gate = asyncio.Event()

    async def fail(receiver: Receiver) -> bytes:
        if len(receiver.requests) == 7:
            gate.set()
        await gate.wait()
        return answer(500)

    async with receiving(lambda request: fail(receiver)) as receiver:
        rig = Rig(receiver.url)
        noted = await asyncio.gather(*(rig.fail(orders(1)) for _ in range(7)))

    assert sorted(type(outcome).__name__ for [outcome] in noted) == ["Postpone"] * 2 + ["Retry"] * 5


async def test_another_url_begins_anew():
    async with receiving(lambda request: answer(500)) as broken, receiving() as mended:
        rig = Rig(broken.url)
        await rig.fail_until_open()
        rig.target = Target(url=mended.url, secret=SECRET, policy=rig.target.policy)

        assert rig.pusher.seconds_until_ready() == 0
        assert await rig.push(orders(1)) == [Ack()]


async def test_what_an_older_url_did_says_nothing_about_the_present_one():
    all_came, gate = asyncio.Event(), asyncio.Event()

    async def fail_later(receiver: Receiver) -> bytes:
        if len(receiver.requests) == 5:
            all_came.set()
        await gate.wait()
        return answer(500)

    async with receiving(lambda request: fail_later(broken)) as broken, receiving() as mended:
        rig = Rig(broken.url)
        old = asyncio.gather(*(rig.fail(orders(1)) for _ in range(5)))
        await all_came.wait()
        rig.target = Target(url=mended.url, secret=SECRET, policy=rig.target.policy)
        await rig.push(orders(1))
        gate.set()

        assert await old == [[Postpone(0)]] * 5
        assert rig.pusher.seconds_until_ready() == 0


async def test_an_hour_of_failures_costs_a_message_few_attempts_and_the_url_few_requests():
    async with receiving(lambda request: answer(500)) as receiver:
        rig = Rig(receiver.url, dead_letter_queue=None)
        until_s, attempts = rig.now_s + 3600, 1
        while rig.now_s < until_s:
            rig.now_s += rig.pusher.seconds_until_ready()
            [outcome] = await rig.fail(orders(attempts))
            attempts += isinstance(outcome, Retry)
            rig.now_s += outcome.delay_seconds

    assert attempts == 4
    assert len(receiver.requests) < 30


async def test_the_sentence_of_a_failure_names_no_path_and_no_query():
    async with receiving(lambda request: answer(500)) as receiver:
        rig = Rig(f"{receiver.url}/private?token=private")
        await rig.fail()

    assert re.search("private", str(rig.events)) is None


async def test_the_receiver_of_the_page_takes_a_push_and_refuses_a_forged_one(monkeypatch: pytest.MonkeyPatch):
    [program] = [block.text for block in blocks(DOCS / "howto" / "push.md", "python") if "Receiver" in block.text]
    names: dict[str, Any] = {"__name__": "page"}
    exec(program, names)
    monkeypatch.setattr(names["Receiver"], "log_message", lambda *arguments: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), names["Receiver"]) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        rig = Rig(f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("PUSH_SECRET", SECRET)
        taken = await rig.push(orders(1))
        monkeypatch.setenv("PUSH_SECRET", "whsec_" + "A" * 32)
        [refused] = await rig.fail(orders(1))
        await rig.outbound.aclose()
        server.shutdown()

    assert taken == [Reject("no order in it")]
    assert "answered 401" in refused.reason
