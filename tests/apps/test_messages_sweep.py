"""Jobs whose messages went another way than by our handler, on both databases."""

import asyncio

import pytest

from millrace.apps.messaging import review
from millrace.apps.messaging.jobs import read_job
from millrace.apps.messaging.queueing import By
from millrace.apps.messaging.queues import DEAD_LETTERS, QUEUE
from millrace.apps.messaging.sweep import Seen, step_of, sweep
from tests.apps.databases import DATABASES
from tests.apps.message_rooms import ACCOUNT, email, open_rooms

LEASE_SECONDS = 61


@pytest.fixture(params=DATABASES)
async def rooms(request, tmp_path):
    async with open_rooms(tmp_path, request.param) as made:
        yield made


async def correct(rooms):
    await sweep(rooms.rules, rooms.platform, ACCOUNT)


async def queue_named(rooms, name=QUEUE):
    return await rooms.platform.catalog.queue_named(ACCOUNT, name)


async def begin_and_stop(rooms):
    """Let the handler begin, and never end."""
    rooms.provider.asked.clear()
    rooms.provider.answers["msg-1"] = [asyncio.Event()]
    delivering = asyncio.create_task(rooms.deliver())
    await rooms.provider.asked.wait()
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)


@pytest.mark.parametrize(
    ("status", "seen", "step"),
    [
        ("queued", Seen("ready"), None),
        ("queued", Seen("leased"), None),
        ("queued", Seen(None, "lapsed"), ("failed", "lapsed")),
        ("queued", Seen(None), ("cancelled", "removed from the queue")),
        ("processing", Seen("leased"), None),
        ("processing", Seen("ready"), ("queued", "its handler stopped")),
        ("processing", Seen(None, ""), ("failed", "the queue gave it up")),
        ("failed", Seen(None, "lapsed"), None),
        ("failed", Seen(None), None),
        ("failed", Seen("ready"), ("queued", "redriven")),
    ],
)
def test_the_place_of_a_message_says_what_became_of_its_job(status, seen, step):
    assert step_of(status, seen) == step


async def test_a_job_is_left_alone_as_long_as_its_message_waits_or_is_held(rooms):
    await rooms.queue(email("msg-2", sendAt="2026-01-01T00:00:00Z"), email())
    await begin_and_stop(rooms)

    await correct(rooms)

    assert (await rooms.story("msg-1"), await rooms.story("msg-2")) == (["queued", "processing"], ["queued"])


async def test_a_job_whose_handler_was_killed_is_queued_again(rooms):
    await rooms.queue(email())
    await begin_and_stop(rooms)
    rooms.clock.advance(LEASE_SECONDS * 10)

    await correct(rooms)
    await correct(rooms)

    assert await rooms.story("msg-1") == ["queued", "processing", "queued"]


async def test_a_job_whose_message_the_engine_buried_has_failed(rooms):
    await rooms.queue(email())
    for _ in range(6):
        await begin_and_stop(rooms)
        rooms.clock.advance(LEASE_SECONDS * 10)
        await rooms.sweep()
    assert len(await rooms.dead()) == 1

    await correct(rooms)

    row = await rooms.row("msg-1")
    assert (row.status, row.reason) == ("failed", (await rooms.dead())[0])


async def test_a_job_whose_message_was_purged_is_cancelled(rooms):
    await rooms.queue(*[email(f"msg-{number}") for number in range(3)])
    await rooms.platform.broker.purge(await queue_named(rooms))
    await rooms.queue(email("msg-9"))

    await correct(rooms)

    assert [(await rooms.row(f"msg-{number}")).status for number in (0, 1, 2, 9)] == ["cancelled"] * 3 + ["queued"]
    assert (await rooms.row("msg-0")).reason == "removed from the queue"


async def test_a_job_whose_dead_letter_somebody_redrove_is_queued_again(rooms):
    rooms.provider.answers["msg-1"] = [ValueError()]
    await rooms.queue(email())
    await rooms.run()
    assert await rooms.platform.broker.redrive(await queue_named(rooms, DEAD_LETTERS)) == 1

    await correct(rooms)

    row = await rooms.row("msg-1")
    assert (row.status, row.reason) == ("queued", "redriven")


async def test_a_draft_and_what_ended_are_never_touched(rooms):
    await rooms.queue(email())
    await rooms.deliver()
    letter = read_job(email("msg-2"))
    await rooms.platform.write(lambda work: review.draft(work, ACCOUNT, letter, rooms.rules, By("author")))

    await correct(rooms)

    assert (await rooms.story("msg-1"), await rooms.story("msg-2")) == (["queued", "processing", "sent"], ["draft"])


async def test_a_thousand_jobs_are_corrected_in_chunks(rooms):
    for first in range(0, 1000, 100):
        await rooms.queue(*[email(f"msg-{number}") for number in range(first, first + 100)])
    await rooms.platform.broker.purge(await queue_named(rooms))

    await correct(rooms)

    counts = await rooms.platform.read(lambda work: work.fetch("outbound_counts", {"account_id": ACCOUNT}))
    assert [tuple(row) for row in counts] == [("cancelled", 1000)]
