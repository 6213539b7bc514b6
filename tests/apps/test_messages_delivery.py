"""Jobs that are delivered: side by side, each with an end of its own, and none sent twice by one process."""

import asyncio
from contextlib import suppress
from typing import Any

import apsw
import pytest

from millrace.apps.messaging import consumer
from millrace.apps.messaging.ends import End
from millrace.apps.messaging.letters import hand_to
from millrace.apps.messaging.pacing import shared_pace
from millrace.apps.messaging.providers.contract import Away, Failed, Refused
from millrace.apps.messaging.providers.guard import Guarded
from millrace.apps.messaging.queues import DEAD_LETTERS, QUEUE
from millrace.apps.messaging.sweep import sweep
from millrace.bucket import Rate
from millrace.handlers import PermanentError, RetryLater
from millrace.settlement import Ack
from millrace.sql.sqlite import connection
from tests.apps.databases import DATABASES
from tests.apps.message_rooms import ACCOUNT, Rooms, email, export, open_rooms, open_servers, sms

on_both = pytest.mark.parametrize("database", DATABASES)


class Lock:
    """Keeps the database file locked, as somebody else's transaction does: nothing can be written meanwhile."""

    def __init__(self, rooms: Rooms) -> None:
        self._file = apsw.Connection(rooms.platform.store.location)

    def take(self) -> None:
        self._file.execute("begin immediate")

    def give_back(self) -> None:
        self._file.execute("rollback")


def failed(reason: str = "451 busy", **more: Any) -> Failed:
    return Failed("recorder", reason, **more)


async def lapse(rooms: Rooms) -> None:
    """Let the leases end."""
    rooms.clock.advance(61)
    await rooms.sweep()


@on_both
async def test_the_jobs_of_a_batch_run_side_by_side(tmp_path, database):
    """S1-05, S1-18, S1-64: none could finish before all ten are at work."""
    async with open_rooms(tmp_path, database) as rooms:
        barrier = asyncio.Barrier(10)

        async def process(doing: Any) -> End:
            await barrier.wait()
            return End(outcome=Ack(), status="sent")

        rooms.processes["email_send"] = process
        await rooms.queue(*[email(f"msg-{number}") for number in range(10)])

        async with asyncio.timeout(5):
            await rooms.deliver()

        assert [(await rooms.row(f"msg-{number}")).status for number in range(10)] == ["sent"] * 10
        assert await rooms.messages() == []


async def test_within_a_batch_a_higher_priority_is_sent_first_though_it_takes_longer(tmp_path):
    """S1-70."""
    async with open_rooms(tmp_path) as rooms:
        is_high_done = asyncio.Event()
        rooms.provider.answers["high"] = [is_high_done]
        await rooms.queue(*[email(name, priority=name) for name in ("low", "normal", "high")])
        rooms.clock.advance(10)

        delivering = asyncio.create_task(rooms.deliver())
        await rooms.provider.asked.wait()
        tried_first = [*rooms.provider.tried]
        is_high_done.set()
        await delivering

        assert tried_first == ["high"]
        assert rooms.provider.taken == ["high", "normal", "low"]


async def test_a_higher_priority_that_hangs_holds_no_other_back(tmp_path, monkeypatch):
    """S1-19."""
    monkeypatch.setattr(consumer, "HEAD_START_SECONDS", 0.001)
    async with open_rooms(tmp_path) as rooms:
        is_low_taken = asyncio.Event()
        rooms.provider.answers |= {"high": [is_low_taken], "low": [is_low_taken.set]}
        await rooms.queue(*[email(name, priority=name) for name in ("low", "high")])
        rooms.clock.advance(10)

        async with asyncio.timeout(5):
            await rooms.deliver()

        assert rooms.provider.taken == ["low", "high"]


@on_both
async def test_one_poisoned_job_leaves_the_nine_others_of_its_batch_alone(tmp_path, database):
    """S1-19, S1-66."""
    async with open_rooms(tmp_path, database) as rooms:
        rooms.provider.answers["bad"] = [RuntimeError("the recipient is ada@example.com")]
        await rooms.queue(email("bad"), *[email(f"msg-{number}") for number in range(9)])

        await rooms.deliver()

        assert sorted(rooms.provider.taken) == [f"msg-{number}" for number in range(9)]
        bad = await rooms.row("bad")
        assert (bad.status, bad.attempts, bad.reason) == ("queued", 1, "RuntimeError")  # and not its text
        assert len(await rooms.messages()) == 1
        assert ("retried", "RuntimeError") in rooms.ends()


@on_both
async def test_what_is_refused_is_tried_once_and_buried_with_its_reason(tmp_path, database):
    """S1-08, S1-26, S1-56."""
    async with open_rooms(tmp_path, database) as rooms:
        rooms.provider.answers["msg-1"] = [Refused("recorder", "550 5.1.1 no such user")]
        await rooms.queue(email())

        await rooms.run()

        row = await rooms.row("msg-1")
        assert rooms.provider.tried == ["msg-1"]
        assert (row.status, row.attempts, row.reason) == ("failed", 1, "550 5.1.1 no such user")
        assert await rooms.dead() == ["550 5.1.1 no such user (attempt 1)"]
        assert await rooms.messages() == []
        assert await rooms.story("msg-1") == ["queued", "processing", "failed"]


@on_both
async def test_what_fails_is_tried_three_times_after_two_and_four_times_the_base(tmp_path, database):
    """S1-07, S1-20, S1-21, S1-54, S1-55, X01, X02."""
    async with open_rooms(tmp_path, database) as rooms:
        rooms.provider.answers["msg-1"] = [failed()]
        await rooms.queue(email())

        gaps = await rooms.run()

        assert rooms.provider.tried == ["msg-1"] * 3
        assert gaps == [120, 240]
        assert await rooms.dead() == ["451 busy (attempt 3)"]
        [dead] = await rooms.messages(DEAD_LETTERS)
        assert b"msg-1" in dead.body
        assert (await rooms.row("msg-1")).attempts == 3
        assert await rooms.story("msg-1") == ["queued", *["processing", "queued"] * 2, "processing", "failed"]
        assert rooms.ends() == [("retried", "451 busy"), ("retried", "451 busy"), ("failed", "451 busy")]


async def test_with_more_attempts_the_pauses_go_on_to_double(tmp_path):
    async with open_rooms(tmp_path) as rooms:
        catalog = rooms.platform.catalog
        queue = await catalog.queue_named(ACCOUNT, QUEUE)
        await catalog.adjust_consumer(queue, queue.consumer.id, {"max_attempts": 5})
        rooms.provider.answers["msg-1"] = [failed()]
        await rooms.queue(email())

        assert await rooms.run() == [120, 240, 480, 960]


async def test_a_job_that_fails_twice_is_sent_by_its_third_attempt(tmp_path):
    async with open_rooms(tmp_path) as rooms:
        rooms.provider.answers["msg-1"] = [failed(), failed("timeout"), lambda: None]
        await rooms.queue(email())

        await rooms.run()

        row = await rooms.row("msg-1")
        assert (row.status, row.attempts, row.reason, row.provider_id) == ("sent", 3, None, "taken-1")
        assert await rooms.dead() == []


@pytest.mark.parametrize(("asked_seconds", "waited_seconds"), [(30, 120), (120, 120), (600, 600), (90_000, 90_000)])
async def test_a_provider_that_asks_for_a_longer_pause_than_ours_gets_it(tmp_path, asked_seconds, waited_seconds):
    async with open_rooms(tmp_path) as rooms:
        rooms.provider.answers["msg-1"] = [failed(retry_after_seconds=asked_seconds), lambda: None]
        await rooms.queue(email())

        assert await rooms.run(hours=48) == [waited_seconds]


@on_both
async def test_a_provider_that_is_not_asked_costs_no_attempt(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        rooms.provider.answers["msg-1"] = [*[Away("recorder", 30)] * 8, lambda: None]
        await rooms.queue(email())

        gaps = await rooms.run()

        row = await rooms.row("msg-1")
        assert gaps == [30] * 8
        assert (row.status, row.attempts) == ("sent", 1)
        assert rooms.ends()[0][0] == "postponed"


@on_both
@pytest.mark.parametrize(
    ("error", "tries", "reason"),
    [(PermanentError("no"), 1, "no"), (RetryLater(5), 3, "retry in 5 s"), (ValueError("secret"), 3, "ValueError")],
)
async def test_the_errors_of_processors_mean_what_they_say(tmp_path, database, error, tries, reason):
    """S1-56."""
    async with open_rooms(tmp_path, database) as rooms:
        rooms.provider.answers["sms-1"] = [error]
        await rooms.queue(sms())

        await rooms.run()

        assert rooms.provider.tried == ["sms-1"] * tries
        assert await rooms.dead() == [f"{reason} (attempt {tries})"]


STRANGE = "550 \udcff\0 " + "x" * 10_000


@on_both
@pytest.mark.parametrize("error", [Refused("recorder", STRANGE), failed(STRANGE), PermanentError(STRANGE)])
async def test_a_reason_that_no_database_holds_is_cut_and_mended(tmp_path, database, error):
    async with open_rooms(tmp_path, database) as rooms:
        rooms.provider.answers["msg-1"] = [error]
        await rooms.queue(email())

        await rooms.run()

        [reason] = await rooms.dead()
        assert reason.startswith("550 ")
        assert len(reason) <= 500
        assert (await rooms.row("msg-1")).reason.startswith(reason.partition(" (attempt")[0])


@on_both
async def test_a_job_whose_process_dies_each_time_is_buried_after_six_deliveries(tmp_path, database):
    """X01: `max_retries` counts, whatever the cause."""
    async with open_rooms(tmp_path, database) as rooms:
        await rooms.queue(email())
        rooms.provider.answers["msg-1"] = [asyncio.Event()]

        for _ in range(6):
            rooms.provider.asked.clear()
            dying = asyncio.create_task(rooms.again().line.deliver())
            await rooms.provider.asked.wait()
            dying.cancel()
            with suppress(asyncio.CancelledError):
                await dying
            await lapse(rooms)
        await rooms.deliver()
        await sweep(rooms.rules, rooms.platform, ACCOUNT)

        assert len(rooms.provider.tried) == 6
        assert await rooms.dead() == ["max_retries"]
        row = await rooms.row("msg-1")
        assert (row.status, row.attempts, row.reason) == ("failed", 6, "max_retries")


@on_both
async def test_what_was_taken_is_recorded_though_the_lease_was_lost_and_is_not_sent_again(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        await rooms.queue(email())
        rooms.provider.answers["msg-1"] = [lambda: rooms.clock.advance(61)]

        await rooms.line.deliver()
        lost = await rooms.row("msg-1")
        await rooms.sweep()
        await rooms.run()

        assert (lost.status, lost.provider_id) == ("sent", "taken-1")
        assert rooms.provider.tried == ["msg-1"]
        assert await rooms.messages() == []
        assert await rooms.story("msg-1") == ["queued", "processing", "sent"]


@on_both
async def test_a_second_delivery_that_fails_does_not_undo_that_the_first_has_sent(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        await rooms.queue(email())
        slow = asyncio.Event()
        rooms.provider.answers["msg-1"] = [slow]
        first = asyncio.create_task(rooms.line.deliver())
        await rooms.provider.asked.wait()
        await lapse(rooms)

        async def late(doing: Any) -> End:
            slow.set()
            await first
            raise failed()

        other = rooms.again()
        other.processes["email_send"] = late
        await other.deliver()
        await rooms.run()

        assert (await rooms.row("msg-1")).status == "sent"
        assert rooms.provider.taken == ["msg-1"]
        assert await rooms.messages() == []
        assert await rooms.dead() == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a locked file found out at once."""
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 1)
    monkeypatch.setattr(consumer, "PAUSE_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_sent", [True, False])
async def test_a_store_that_is_away_for_a_moment_is_told_when_it_is_back(tmp_path, is_sent):
    async with open_rooms(tmp_path) as rooms:
        lock = Lock(rooms)
        await rooms.queue(email())

        def leave() -> None:
            lock.take()
            asyncio.get_running_loop().call_later(0.1, lock.give_back)
            if not is_sent:
                raise failed()

        rooms.provider.answers["msg-1"] = [leave]
        await rooms.line.deliver()

        assert (await rooms.row("msg-1")).status == ("sent" if is_sent else "queued")
        assert rooms.provider.tried == ["msg-1"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_lapsed", [True, False])
async def test_what_was_sent_while_the_store_stays_away_is_written_later_and_not_sent_again(
    tmp_path, monkeypatch, is_lapsed
):
    monkeypatch.setattr(consumer, "WRITE_SECONDS", 0)
    async with open_rooms(tmp_path) as rooms:
        lock = Lock(rooms)
        await rooms.queue(email())
        rooms.provider.answers["msg-1"] = [lock.take]

        delivering = asyncio.create_task(rooms.line.deliver())
        await rooms.provider.asked.wait()
        await asyncio.sleep(0.05)  # the consumer, too, tries to settle for as long as the lock lasts
        away = await rooms.row("msg-1")
        if is_lapsed:
            rooms.clock.advance(61)
        lock.give_back()
        await delivering
        await rooms.sweep()
        await rooms.run()

        assert away.status == "processing"
        assert (await rooms.row("msg-1")).status == "sent"
        assert rooms.provider.tried == ["msg-1"]
        assert await rooms.messages() == []


@pytest.mark.usefixtures("impatient")
async def test_what_failed_while_the_store_stays_away_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(consumer, "WRITE_SECONDS", 0)
    async with open_rooms(tmp_path) as rooms:
        lock = Lock(rooms)
        await rooms.queue(email())

        def leave() -> None:
            lock.take()
            asyncio.get_running_loop().call_later(0.1, lock.give_back)
            raise failed()

        rooms.provider.answers["msg-1"] = [leave, lambda: None]
        await rooms.line.deliver()
        await rooms.run()

        assert rooms.provider.taken == ["msg-1"]
        assert (await rooms.row("msg-1")).status == "sent"


async def test_a_queue_that_is_deleted_under_a_batch_spares_the_history_of_what_was_sent(tmp_path):
    async with open_rooms(tmp_path) as rooms:
        catalog, gate = rooms.platform.catalog, asyncio.Event()
        rooms.provider.answers["msg-2"] = [gate]
        await rooms.queue(email(), email("msg-2"))
        delivering = asyncio.create_task(rooms.line.deliver())
        await rooms.provider.asked.wait()
        queue = await catalog.queue_named(ACCOUNT, QUEUE)
        await catalog.delete(ACCOUNT, queue.id)

        gate.set()
        await delivering

        assert [(await rooms.row(name)).status for name in ("msg-1", "msg-2")] == ["sent", "sent"]


@on_both
async def test_a_job_that_was_sent_straight_into_the_queue_is_adopted(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        job_id = await rooms.send(email())

        await rooms.deliver()

        row = await rooms.row("msg-1")
        assert (row.job_id, row.status, row.owner) == (job_id, "sent", "queue")
        assert await rooms.story("msg-1") == ["queued", "processing", "sent"]
        assert (await rooms.queue(email()))[0].job_id == job_id  # X64 holds for it, too


GARBAGE: dict[str, tuple[Any, str]] = {
    "no object": (["email_send"], "json"),
    "no type": ({"messageId": "msg-1"}, "json"),
    "an unknown type": (email(type="fax_send"), "json"),
    "a wrong field": (email(recipient="nobody"), "json"),
    "an address in the wrong place": (sms(recipient="eve@example.com"), "json"),
    "text": (b"hello", "text"),
    "bytes": (b"\x00\xff", "bytes"),
    "null": (None, "json"),
    "a type with U+0000": (email(type="fax\0"), "json"),
    "a type that is long": (email(type="x" * 100_000), "json"),
    "a field with U+0000": (email(**{"bcc\0": 1}), "json"),
    "half of a character": (b'{"type":"\\ud800"}', "json"),
    "no JSON": (b"{", "json"),
    "a number that is too large": (b'{"type":1e999}', "json"),
    "filters that are deep": (b'{"type":"export_generation","filters":' + b'{"a":' * 900 + b"1" + b"}" * 901, "json"),
}


@on_both
@pytest.mark.parametrize(("body", "content_type"), GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_is_no_job_is_buried_at_once_with_a_reason(tmp_path, database, body, content_type):
    async with open_rooms(tmp_path, database) as rooms:
        await rooms.send(body, content_type)
        await rooms.queue(email("good"))

        await rooms.deliver()

        [reason] = await rooms.dead()
        assert reason
        assert "nobody" not in reason
        assert "eve@" not in reason
        assert rooms.provider.taken == ["good"]
        assert ("failed", reason) in rooms.ends()


@on_both
async def test_the_same_job_again_through_the_queue_is_dropped_and_another_one_under_its_id_is_buried(
    tmp_path, database
):
    """X64."""
    async with open_rooms(tmp_path, database) as rooms:
        await rooms.queue(email())
        for body in (email(), email(content="other")):
            await rooms.send(body)
        await rooms.send(email("msg-2"))
        await rooms.send(email("msg-2"))

        await rooms.run()

        assert sorted(rooms.provider.tried) == ["msg-1", "msg-2"]
        assert await rooms.dead() == ["id 'msg-1' stands for another job"]
        assert await rooms.messages() == []
        assert (await rooms.row("msg-1")).status == "sent"


async def test_two_servers_share_the_jobs_and_send_each_once(tmp_path):
    """S1-79."""
    async with open_servers(tmp_path) as (one, two):
        await one.queue(*[email(f"msg-{number}") for number in range(60)])

        await asyncio.gather(one.deliver(), two.deliver())

        assert sorted(one.provider.taken) == sorted(f"msg-{number}" for number in range(60))
        assert await one.messages() == []


async def test_a_type_without_a_processor_here_is_retried(tmp_path):
    async with open_rooms(tmp_path) as rooms:
        await rooms.queue(export(), email())

        await rooms.run()

        assert (await rooms.row("msg-1")).status == "sent"
        assert (await rooms.row("export-1")).status == "failed"


@on_both
async def test_a_message_beyond_the_rate_waits_for_its_turn_and_asks_for_it_once(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        pace = shared_pace(rooms.platform, ACCOUNT)
        rooms.processes["email_send"] = hand_to(Guarded(rooms.provider, rooms.platform.telemetry, Rate(1, 5), pace))
        await rooms.queue(*(email(f"msg-{number}") for number in range(8)))

        gaps = await rooms.run()

        assert sum(gaps) == 7 * 5
        assert sorted(rooms.provider.taken) == [f"msg-{number}" for number in range(8)]
        stories = [await rooms.story(f"msg-{number}") for number in range(8)]
        assert sorted(stories, key=len) == [
            ["queued", "processing", "sent"],
            *[["queued", "processing", "queued", "processing", "sent"]] * 7,
        ]
        assert {(await rooms.row(f"msg-{number}")).attempts for number in range(8)} == {1}
