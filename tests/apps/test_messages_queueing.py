"""Jobs on their way into the queue: remembered under their id, all or none, in the order of their priority."""

import asyncio
import hashlib
from functools import partial
from typing import Any

import pytest

from millrace.apps.messaging import rows
from millrace.apps.messaging.jobs import read_job
from millrace.apps.messaging.queueing import By, insert
from millrace.apps.messaging.shown import status_word
from millrace.audit import Entry
from millrace.bucket import Rate
from millrace.errors import BodyDoesNotFit, Conflict, IdempotencyKeyReused, MessageTooLarge, NotFound, Overloaded
from millrace.message import HIGH, NORMAL
from millrace.sql import audit
from tests.apps.databases import DATABASES
from tests.apps.message_rooms import ACCOUNT, CONTENT, Rooms, cleanup, email, export, open_rooms, open_servers, sms

on_both = pytest.mark.parametrize("database", DATABASES)


async def notes(rooms: Rooms, act: str = "message.queued") -> list[Entry]:
    found = await rooms.platform.store.read(partial(audit.page, account_id=ACCOUNT, limit=100, act=act))
    return [noted.entry for noted in found]


@on_both
async def test_each_type_of_job_has_a_row_a_message_and_a_line_of_history(tmp_path, database):
    """S1-09, S1-14 to S1-17, S1-62."""
    async with open_rooms(tmp_path, database) as rooms:
        queued = await rooms.queue(email(), sms(), export(), cleanup())

        found = [await rooms.row(one.job_id) for one in queued]
        messages = {message.id: message for message in await rooms.messages()}
        assert [row.type for row in found] == ["email_send", "sms_send", "export_generation", "cleanup"]
        assert [row.id for row in found] == ["msg-1", "sms-1", "export-1", queued[3].job_id]
        assert [row.job_id in messages for row in found] == [True] * 4
        assert [messages[row.job_id].priority for row in found] == [HIGH, HIGH, NORMAL, NORMAL]
        assert [await rooms.story(row.id) for row in found] == [["queued"]] * 4


@on_both
async def test_the_same_job_again_is_the_same_job_and_another_one_under_its_id_is_refused(tmp_path, database):
    """X64."""
    async with open_rooms(tmp_path, database) as rooms:
        [first] = await rooms.queue(email())
        [again] = await rooms.queue(dict(reversed(email().items())))

        assert again.job_id == first.job_id
        later = email(sendAt="2030-01-01T00:00:00Z")
        for other in (email(content="other"), email(priority="low"), later, sms("msg-1"), export("msg-1")):
            with pytest.raises(IdempotencyKeyReused, match="msg-1"):
                await rooms.queue(other)
        assert len(await rooms.messages()) == 1
        assert await rooms.story("msg-1") == ["queued"]


@on_both
async def test_a_job_twice_in_one_list_is_one_job(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        queued = await rooms.queue(email(), email("msg-2"), email(), cleanup(), cleanup())

        assert queued[0].job_id == queued[2].job_id
        assert len({one.job_id for one in queued}) == 4  # a clean-up has no id, and is never a repeat
        assert len(await rooms.messages()) == 4


@on_both
async def test_a_list_is_queued_as_a_whole_or_not_at_all(tmp_path, database):
    """S1-11."""
    async with open_rooms(tmp_path, database) as rooms:
        await rooms.queue(email("taken"))

        with pytest.raises(IdempotencyKeyReused, match="taken"):
            await rooms.queue(email("new"), email("taken", content="other"))
        with pytest.raises(IdempotencyKeyReused, match="twice"):
            await rooms.queue(email("twice"), email("twice", content="other"))

        assert len(await rooms.messages()) == 1
        with pytest.raises(NotFound):
            await rooms.row("new")


@on_both
async def test_a_hundred_jobs_go_in_one_call_and_come_back_in_their_order(tmp_path, database):
    """S1-11."""
    async with open_rooms(tmp_path, database) as rooms:
        queued = await rooms.queue(*[email(f"msg-{number}") for number in range(100)])

        assert [one.id for one in queued] == [f"msg-{number}" for number in range(100)]
        assert len(await notes(rooms)) == 100


async def test_two_servers_that_are_given_the_same_jobs_at_once_queue_them_once(tmp_path):
    """X64."""
    async with open_servers(tmp_path) as servers:
        jobs = [email(f"msg-{number}") for number in range(20)]
        calls = [servers[turn % 2].queue(*(jobs if turn % 3 else reversed(jobs))) for turn in range(6)]

        answers = await asyncio.gather(*calls)

        assert len({tuple(sorted(one.job_id for one in answer)) for answer in answers}) == 1
        assert len(await servers[0].messages()) == 20
        assert await servers[1].story("msg-7") == ["queued"]


async def test_of_two_different_jobs_under_one_id_at_once_one_is_refused(tmp_path):
    async with open_servers(tmp_path) as (one, two):
        calls = (one.queue(email(content="of one")), two.queue(email(content="of two")))

        answers = await asyncio.gather(*calls, return_exceptions=True)

        assert sorted(type(answer).__name__ for answer in answers) == ["IdempotencyKeyReused", "list"]
        assert len(await one.messages()) == 1


@pytest.mark.parametrize("status", ["draft", "rejected"])
async def test_a_draft_is_not_queued_by_sending_it_again(tmp_path, status):
    async with open_rooms(tmp_path) as rooms:
        job = read_job(email())
        await rooms.platform.write(lambda work: insert(work, ACCOUNT, "msg-1", job, status, rooms.rules, By("key-1")))

        with pytest.raises(Conflict, match=status):
            await rooms.queue(email())

        assert await rooms.messages() == []


async def test_what_was_cancelled_is_not_said_to_be_queued_when_it_is_sent_again(tmp_path):
    async with open_rooms(tmp_path) as rooms:
        await rooms.queue(email())
        row = await rooms.row("msg-1")
        await rooms.platform.write(lambda work: rows.move(work, ACCOUNT, row, "cancelled"))

        with pytest.raises(Conflict, match="cancelled"):
            await rooms.queue(email())


@on_both
async def test_a_job_with_a_time_is_due_then_and_not_before(tmp_path, database):
    """S1-12, S1-43, S1-90."""
    async with open_rooms(tmp_path, database) as rooms:
        await rooms.queue(
            email("tomorrow", sendAt="2025-01-02T00:00:00Z"), email("past", sendAt="2024-01-01T00:00:00Z")
        )

        await rooms.deliver()
        scheduled = await rooms.row("tomorrow")
        assert rooms.provider.taken == ["past"]
        assert status_word(scheduled, rooms.clock()) == "scheduled"
        assert scheduled.due_at_ms == rooms.clock() + 86_400_000
        rooms.clock.advance(86_399)
        await rooms.deliver()
        assert rooms.provider.taken == ["past"]
        rooms.clock.advance(1)
        await rooms.deliver()
        assert rooms.provider.taken == ["past", "tomorrow"]


@pytest.mark.parametrize(("priority", "seconds"), [("high", 0), ("normal", 1), ("low", 5)])
async def test_a_job_waits_for_as_long_as_its_priority_says(tmp_path, priority, seconds):
    """S1-10, S1-67 to S1-69."""
    async with open_rooms(tmp_path) as rooms:
        await rooms.queue(email(priority=priority))

        await rooms.deliver()
        assert rooms.provider.taken == ([] if seconds else ["msg-1"])
        due_at_ms = await rooms.line.next_due_ms()
        assert due_at_ms == (rooms.clock() + seconds * 1000 if seconds else None)
        rooms.clock.advance(seconds)
        await rooms.deliver()
        assert rooms.provider.taken == ["msg-1"]


@on_both
async def test_what_is_due_goes_high_before_normal_before_low(tmp_path, database):
    """S1-70, X05: the consumer was paused meanwhile."""
    async with open_rooms(tmp_path, database) as rooms:
        catalog = rooms.platform.catalog
        queue = await catalog.queue_named(ACCOUNT, "message-delivery")
        await catalog.change(ACCOUNT, queue.id, settings={"delivery_paused": True})
        for priority in ("low", "normal", "high"):
            await rooms.queue(*[email(f"{priority}-{number}", priority=priority) for number in range(8)])
        rooms.clock.advance(10)

        await catalog.change(ACCOUNT, queue.id, settings={"delivery_paused": False})
        await rooms.deliver()

        assert [name.split("-")[0] for name in rooms.provider.tried] == ["high"] * 8 + ["normal"] * 8 + ["low"] * 8


@on_both
async def test_every_job_leaves_a_hash_in_the_audit_trail_and_nothing_of_what_it_holds(tmp_path, database):
    """S1-85, X59."""
    async with open_rooms(tmp_path, database) as rooms:
        [queued] = await rooms.queue(email())

        [entry] = await notes(rooms)
        assert entry.object == "message msg-1"
        assert entry.details["job"] == queued.job_id
        assert entry.details["type"] == "email_send"
        assert entry.details["hash"] == (await rooms.row("msg-1")).body_hash.hex()
        assert not any(word in repr(entry) for word in (CONTENT, "Hello", "ada@example.com"))


@on_both
async def test_a_job_that_came_past_our_door_is_in_the_audit_trail_as_well(tmp_path, database):
    """S1-85."""
    async with open_rooms(tmp_path, database) as rooms:
        job_id = await rooms.send(email())

        await rooms.deliver()

        [entry] = await notes(rooms)
        assert (entry.object, entry.details["job"], entry.details["type"]) == ("message msg-1", job_id, "email_send")


async def test_with_a_master_key_the_hash_cannot_be_guessed_at(tmp_path):
    async with open_rooms(tmp_path, key=bytes(32)) as rooms:
        await rooms.queue(email())

        row = await rooms.row("msg-1")
        assert (
            row.body_hash
            != hashlib.sha256(rooms.on_cipher(None).rules.seals.keep(ACCOUNT, "x", read_job(email())).body).digest()
        )


@pytest.mark.parametrize("key", [None, bytes(32)], ids=["without", "with"])
async def test_a_job_of_up_to_128_kb_fits_with_a_master_key_as_without(tmp_path, key):
    async with open_rooms(tmp_path, key=key) as rooms:
        around = len(rooms.on_cipher(None).rules.seals.keep(ACCOUNT, "x", read_job(export(filters={"a": ""}))).body)
        await rooms.queue(export(filters={"a": "x" * (128_000 - around)}))

        with pytest.raises(MessageTooLarge, match="128000"):
            await rooms.queue(export("export-2", filters={"a": "x" * (128_001 - around)}))


@on_both
async def test_a_recipient_gets_no_more_than_the_rate_allows(tmp_path, database):
    """X60."""
    async with open_rooms(tmp_path, database, recipient_rate=Rate(2, 60)) as rooms:
        await rooms.queue(
            email("msg-1"), email("msg-2", recipient="ADA@example.com"), email("msg-3", recipient="b@c.de")
        )

        with pytest.raises(Overloaded) as raised:
            await rooms.queue(email("msg-4", recipient="b@c.de"), email("msg-5"))
        assert 0 < raised.value.retry_after <= 60
        await rooms.queue(email("msg-1"), email("msg-6", recipient="b@c.de"))  # a repeat takes nothing, nor did msg-4
        rooms.clock.advance(60)
        await rooms.queue(email("msg-5"))


BAD: dict[str, Any] = {
    "id with U+0000": email("msg-\0"),
    "id that is blank": email(" "),
    "id of two points": email(".."),
    "id with half of a character": email("\ud800"),
    "id that is too long": email("x" * 129),
    "subject with half of a character": email(subject="\udfff"),
    "content with U+0000": email(content="a\0b"),
    "content with half of a character": sms(content="\ud83d"),
    "filter with U+0000": export(filters={"status": "a\0"}),
    "recipient in other letters": email(recipient="ü@example.com"),
    "number in other digits": sms(recipient="+\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668"),
    "day in other digits": cleanup(older_than="\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0661"),
    "day that is none": cleanup(older_than="2026-02-30"),
    "time that is none": email(sendAt="2026-01-01T25:00:00Z"),
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD.keys())
def test_what_no_database_or_mail_may_hold_is_refused(given):
    """S1-83."""
    with pytest.raises(BodyDoesNotFit):
        read_job(given)


@on_both
async def test_filters_may_hold_what_they_like(tmp_path, database):
    """S1-16: `filters: any`."""
    async with open_rooms(tmp_path, database) as rooms:
        strange = {"a\0": ["\0", 1e308, -0.0, 2**64 - 1, None, {"": {}}], "é": "\U0001f600"}
        await rooms.queue(export(filters=strange))

        [queued] = await rooms.queue(export(filters=strange))
        [without] = await rooms.queue(export("export-2", filters=None))

        assert (queued.id, without.id) == ("export-1", "export-2")
