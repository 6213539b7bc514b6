"""Review, send later and redrive, on both databases."""

import asyncio

import pytest

from millrace.access.cipher import KEY_BYTES
from millrace.apps.messaging import review, rows
from millrace.apps.messaging.jobs import read_job
from millrace.apps.messaging.queueing import By
from millrace.apps.messaging.queues import DEAD_LETTERS
from millrace.apps.messaging.review import Person
from millrace.clock import iso_milliseconds
from millrace.errors import Conflict, Forbidden, IdempotencyKeyReused, NotFound
from millrace.sql import audit as trail
from tests.apps.databases import DATABASES
from tests.apps.message_rooms import ACCOUNT, CONTENT, email, open_rooms, open_servers

AUTHOR, REVIEWER = Person("author", may_act=False), Person("reviewer", may_act=True)


@pytest.fixture(params=DATABASES)
async def rooms(request, tmp_path):
    async with open_rooms(tmp_path, request.param) as made:
        yield made


async def draft(rooms, message_id="msg-1", **more):
    letter = read_job(email(message_id, **more))
    return await rooms.platform.write(
        lambda work: review.draft(work, ACCOUNT, letter, rooms.rules, By("author", "r-1"))
    )


async def act(rooms, name, message_id="msg-1", **more):
    return await rooms.platform.write(lambda work: getattr(review, name)(work, ACCOUNT, message_id, **more))


def approve(rooms, message_id="msg-1", send_at=None):
    return act(rooms, "approve", message_id, send_at=send_at, rules=rooms.rules)


def cancel(rooms, message_id="msg-1", person=REVIEWER):
    return act(rooms, "cancel", message_id, person=person)


def reschedule(rooms, send_at, message_id="msg-1", person=REVIEWER):
    return act(rooms, "reschedule", message_id, send_at=send_at, person=person, rules=rooms.rules)


def later(rooms, seconds=3600):
    return iso_milliseconds(rooms.clock() + seconds * 1000)


async def audit(rooms):
    entries = await rooms.platform.read(lambda work: trail.page(work.tx, ACCOUNT, 100))
    return [(noted.entry.act, noted.entry.object) for noted in entries if noted.entry.object.startswith("message ")]


async def lines(rooms, message_id="msg-1"):
    changes = await rooms.platform.read(lambda work: rows.history(work, ACCOUNT, message_id))
    return [(change.status, change.reason) for change in changes]


async def test_an_approved_draft_is_sent_and_its_history_tells_so(rooms):
    await draft(rooms)
    assert await rooms.messages() == []

    await approve(rooms)
    await rooms.deliver()

    assert rooms.provider.taken == ["msg-1"]
    expected = [("draft", None), ("queued", "approved"), ("processing", None), ("sent", None)]
    assert await lines(rooms) == expected
    acts = ["message.drafted", "message.approved", "message.queued"]
    assert sorted(await audit(rooms)) == sorted((name, "message msg-1") for name in acts)


async def test_a_draft_that_was_approved_is_approved_no_second_time(rooms):
    await draft(rooms)
    await approve(rooms)

    with pytest.raises(Conflict, match="'msg-1' is queued"):
        await approve(rooms)

    assert len(await rooms.messages()) == 1


async def test_a_rejected_draft_is_never_sent(rooms):
    await draft(rooms)

    await act(rooms, "reject", reason="too loud")

    assert await lines(rooms) == [("draft", None), ("rejected", "too loud")]
    assert await rooms.messages() == []
    with pytest.raises(Conflict, match="is rejected; only a draft can be approved"):
        await approve(rooms)
    with pytest.raises(Conflict, match="rejected message"):
        await rooms.queue(email())


async def test_the_same_draft_again_is_the_one_there_is_and_another_is_refused(rooms):
    await draft(rooms)
    await approve(rooms)

    again = await draft(rooms)

    assert again.status == "queued"
    assert await rooms.story("msg-1") == ["draft", "queued"]
    with pytest.raises(IdempotencyKeyReused):
        await draft(rooms, subject="Another")


async def test_a_direct_message_is_in_the_queue_at_once(rooms):
    letter = read_job(email())

    row = await rooms.platform.write(
        lambda work: review.send_direct(work, ACCOUNT, letter, rooms.rules, By("key-1", "r-1"))
    )

    assert (row.status, len(await rooms.messages())) == ("queued", 1)


async def test_a_draft_with_a_time_waits_for_it_once_it_is_approved(rooms):
    await draft(rooms, sendAt=later(rooms, 600))
    await approve(rooms)

    await rooms.deliver()
    assert rooms.provider.tried == []
    rooms.clock.advance(600)
    await rooms.deliver()

    assert rooms.provider.taken == ["msg-1"]


async def test_the_reviewer_may_name_another_time(rooms):
    await draft(rooms)

    row = await approve(rooms, send_at=later(rooms))

    assert row.due_at_ms == rooms.clock() + 3_600_000
    assert [message.id for message in await rooms.messages()] == [row.job_id]
    assert await rooms.run() == [3600]


@pytest.mark.parametrize("send_at", [3600, None], ids=["scheduled", "due"])
async def test_what_was_not_delivered_yet_can_be_cancelled(rooms, send_at):
    more = {} if send_at is None else {"sendAt": later(rooms, send_at)}
    await rooms.queue(email(**more))

    row = await cancel(rooms)

    assert row.status == "cancelled"
    assert await rooms.messages() == []
    assert await rooms.run() == []
    assert rooms.provider.tried == []


async def test_what_is_being_sent_cannot_be_cancelled(rooms):
    may_go_on = asyncio.Event()
    rooms.provider.answers["msg-1"] = [may_go_on]
    await rooms.queue(email())
    sending = asyncio.create_task(rooms.deliver())
    await rooms.provider.asked.wait()

    with pytest.raises(Conflict, match="is processing"):
        await cancel(rooms)

    may_go_on.set()
    await sending
    assert await rooms.story("msg-1") == ["queued", "processing", "sent"]


async def test_what_was_leased_but_not_begun_cannot_be_cancelled(rooms):
    await rooms.queue(email())
    queue = await rooms.platform.catalog.queue_named(ACCOUNT, "message-delivery")
    await rooms.platform.broker.receive(queue, 1, 60_000)

    with pytest.raises(Conflict, match="'msg-1' is queued; only a draft, and"):
        await cancel(rooms)

    assert await rooms.story("msg-1") == ["queued"]


async def test_an_author_cancels_its_own_and_nobody_elses(rooms):
    await draft(rooms)
    await rooms.queue(email("msg-2"))

    row = await cancel(rooms, person=AUTHOR)
    with pytest.raises(Forbidden, match="another key's"):
        await cancel(rooms, "msg-2", AUTHOR)

    assert row.status == "cancelled"
    with pytest.raises(Conflict, match="cancelled message"):  # its id stands for it all the same
        await rooms.queue(email())


async def test_a_scheduled_message_moves_and_one_that_is_due_does_not(rooms):
    await rooms.queue(email(sendAt=later(rooms, 3600)), email("msg-2"))

    row = await reschedule(rooms, later(rooms, 60))
    with pytest.raises(Conflict, match="whose time has not come"):
        await reschedule(rooms, later(rooms, 60), "msg-2")

    assert row.due_at_ms == rooms.clock() + 60_000
    assert await rooms.run() == [60]
    assert rooms.provider.taken == ["msg-2", "msg-1"]


async def test_a_draft_moves_too_and_keeps_its_new_time(rooms):
    await draft(rooms)

    await reschedule(rooms, later(rooms, 60), person=AUTHOR)
    await approve(rooms)

    assert await rooms.run() == [60]


async def test_a_failed_message_goes_back_into_the_queue(rooms):
    rooms.provider.answers["msg-1"] = [ValueError(), ValueError(), ValueError(), lambda: None]
    await rooms.queue(email())
    await rooms.run()
    assert len(await rooms.dead()) == 1

    await act(rooms, "redrive")
    assert await rooms.messages(DEAD_LETTERS) == []
    await rooms.deliver()

    assert (await lines(rooms))[-3:] == [("queued", "redriven"), ("processing", None), ("sent", None)]


async def test_what_is_not_among_the_dead_letters_any_more_is_not_redriven(rooms):
    rooms.provider.answers["msg-1"] = [ValueError()]
    await rooms.queue(email(), email("msg-2"))
    await rooms.run()
    dead = await rooms.platform.catalog.queue_named(ACCOUNT, DEAD_LETTERS)
    await rooms.platform.broker.purge(dead)

    with pytest.raises(Conflict, match="not in the dead letters any more"):
        await act(rooms, "redrive")
    with pytest.raises(Conflict, match="is sent"):
        await act(rooms, "redrive", "msg-2")
    with pytest.raises(NotFound):
        await act(rooms, "redrive", "msg-3")

    assert (await rooms.row("msg-1")).status == "failed"


async def test_a_message_that_was_redriven_after_a_purge_of_its_queue_can_still_be_cancelled(rooms):
    rooms.provider.answers["msg-1"] = [ValueError()]
    await rooms.queue(email())
    await rooms.run()
    queue = await rooms.platform.catalog.queue_named(ACCOUNT, "message-delivery")
    await rooms.platform.broker.purge(queue)
    await act(rooms, "redrive")

    row = await cancel(rooms)

    assert row.status == "cancelled"
    assert await rooms.messages() == []


async def test_each_act_is_in_the_audit_trail_and_holds_nothing_of_the_message(rooms):
    rooms.provider.answers["msg-1"] = [ValueError()]
    await draft(rooms, sendAt=later(rooms))
    await reschedule(rooms, later(rooms, 60))
    await approve(rooms)
    await rooms.run()
    await act(rooms, "redrive")
    await cancel(rooms)
    await draft(rooms, "msg-2")
    await act(rooms, "reject", "msg-2", reason="ada is no customer")

    entries = await rooms.platform.read(lambda work: trail.page(work.tx, ACCOUNT, 100))
    acts = {noted.entry.act for noted in entries}
    named = {"drafted", "rescheduled", "approved", "queued", "redriven", "cancelled", "rejected"}
    assert {f"message.{name}" for name in named} <= acts
    assert not [word for word in ("ada", "Hello", "customer", CONTENT) if word in str(entries)]


async def test_sealed_drafts_move_and_are_approved_alike(tmp_path):
    async with open_rooms(tmp_path, key=b"k" * KEY_BYTES) as rooms:
        await draft(rooms)
        await reschedule(rooms, later(rooms, 60))
        await approve(rooms)

        assert await rooms.run() == [60]
        assert rooms.provider.taken == ["msg-1"]


async def test_of_two_reviewers_at_once_one_approves_and_the_other_is_told(tmp_path):
    async with open_servers(tmp_path) as servers:
        for number in range(20):
            await draft(servers[0], f"msg-{number}")

        acts = [approve(server, f"msg-{number}") for number in range(20) for server in servers]
        ends = await asyncio.gather(*acts, return_exceptions=True)

        assert sum(isinstance(end, Conflict) for end in ends) == 20
        assert sum(isinstance(end, rows.Row) for end in ends) == 20
        assert len(await servers[0].messages()) == 20


async def test_an_approval_and_a_rejection_at_once_do_not_both_count(tmp_path):
    async with open_servers(tmp_path) as servers:
        for number in range(20):
            await draft(servers[0], f"msg-{number}")

        reject = [act(servers[1], "reject", f"msg-{number}", reason=None) for number in range(20)]
        await asyncio.gather(*[approve(servers[0], f"msg-{number}") for number in range(20)], *reject,
                             return_exceptions=True)  # fmt: skip

        ends = [(await servers[0].row(f"msg-{number}")).status for number in range(20)]
        assert len(await servers[0].messages()) == ends.count("queued")
        assert set(ends) <= {"queued", "rejected"}


async def test_a_message_that_two_servers_send_and_cancel_at_once_is_either(tmp_path):
    async with open_servers(tmp_path) as servers:
        await servers[0].queue(*[email(f"msg-{number}") for number in range(20)])

        cancels = [cancel(servers[1], f"msg-{number}") for number in range(20)]
        await asyncio.gather(servers[0].deliver(), *cancels, return_exceptions=True)
        await servers[0].deliver()

        ends = {f"msg-{number}": (await servers[0].row(f"msg-{number}")).status for number in range(20)}
        assert sorted(servers[0].provider.taken) == sorted(name for name, end in ends.items() if end == "sent")
        assert set(ends.values()) <= {"sent", "cancelled"}
