"""What providers report, on both databases: which reports count, which come twice, early or for nobody."""

import asyncio
from functools import partial

import pytest

from millrace.apps.messaging import reports, rows
from millrace.apps.messaging.reports import STEPS, Report
from millrace.apps.messaging.sweep import sweep
from millrace.apps.messaging.webhook_routes import record
from millrace.queue import QueueSettings
from tests.apps.databases import DATABASES
from tests.apps.message_rooms import ACCOUNT, email, open_rooms, open_servers, sms

DAY_SECONDS = 86_400


@pytest.fixture(params=DATABASES)
async def rooms(request, tmp_path):
    async with open_rooms(tmp_path, request.param) as made:
        made.provider.name = "twilio"
        yield made


async def sent(rooms, job=None):
    """Send a message and give the provider's id of it."""
    job = job or sms()
    await rooms.queue(job)
    await rooms.deliver()
    return (await rooms.row(job["messageId"])).provider_id


async def report(rooms, event, provider_id="taken-1", provider="twilio", **more):
    said = Report(provider, event, provider_id=provider_id, **more)
    return await rooms.platform.write(lambda work: reports.take(work, ACCOUNT, said, rooms.rules))


async def kept(rooms):
    return await rooms.platform.read(
        lambda work: work.fetch("old_reports", {"account_id": ACCOUNT, "before_ms": 1 << 62, "limit": 100})
    )


@pytest.mark.parametrize("event", ["delivered", "undelivered", "failed"])
async def test_a_sent_message_gets_the_status_that_is_reported(rooms, event):
    await sent(rooms)

    moved = await report(rooms, event, reason="twilio 30003: the phone cannot be reached")

    assert moved.status == event
    assert (await rooms.story("sms-1"))[-2:] == ["sent", event]
    assert (await rooms.row("sms-1")).reason == "twilio 30003: the phone cannot be reached"


async def test_a_repeat_and_what_comes_too_late_change_nothing(rooms):
    await sent(rooms)
    await report(rooms, "delivered")

    assert [await report(rooms, event) for event in ("delivered", "sent", "undelivered", "failed")] == [None] * 4

    assert await rooms.story("sms-1") == ["queued", "processing", "sent", "delivered"]


async def test_a_complaint_is_one_line_of_history_however_often_it_comes(rooms):
    rooms.provider.name = "resend"
    await sent(rooms, email())
    await report(rooms, "delivered", provider="resend", once="evt-1")

    for _ in range(2):
        await report(rooms, "complained", provider="resend", once="evt-2")

    changes = await rooms.platform.read(lambda work: rows.history(work, ACCOUNT, "msg-1"))
    assert [(change.status, change.reason) for change in changes[3:]] == [
        ("delivered", None), ("delivered", "complained")]  # fmt: skip


async def test_a_report_that_comes_before_our_own_row_says_sent_counts_when_it_does(rooms):
    may_go_on = asyncio.Event()
    rooms.provider.answers["sms-1"] = [may_go_on]
    await rooms.queue(sms())
    sending = asyncio.create_task(rooms.deliver())
    await rooms.provider.asked.wait()

    assert await report(rooms, "delivered") is None
    may_go_on.set()
    await sending

    assert await rooms.story("sms-1") == ["queued", "processing", "sent", "delivered"]
    assert await kept(rooms) == []


async def test_a_report_that_crossed_with_our_own_row_counts_at_the_next_sweep(rooms):
    await sent(rooms)
    crossed = {"account_id": ACCOUNT, "reference": "twilio:taken-1", "event": "delivered", "reason": None}
    await rooms.platform.write(lambda work: work.apply("keep_report", {**crossed, "now_ms": work.now_ms}))

    await sweep(rooms.rules, rooms.platform, ACCOUNT)

    assert (await rooms.row("sms-1")).status == "delivered"
    assert await kept(rooms) == []


async def test_a_report_that_nothing_is_found_for_is_forgotten_after_a_day(rooms):
    await report(rooms, "delivered", "nobody's")

    await sweep(rooms.rules, rooms.platform, ACCOUNT)
    assert len(await kept(rooms)) == 1
    rooms.clock.advance(DAY_SECONDS + 1)
    await sweep(rooms.rules, rooms.platform, ACCOUNT)

    assert await kept(rooms) == []


async def test_a_mail_relay_names_messages_by_our_id_and_only_those_that_went_by_mail(rooms):
    rooms.provider.name = "smtp"
    await sent(rooms, email())
    rooms.provider.name = "twilio"
    await sent(rooms)

    said = [Report("email", "delivered", message_id=name) for name in ("msg-1", "sms-1")]
    for one in said:
        await rooms.platform.write(lambda work, one=one: reports.take(work, ACCOUNT, one, rooms.rules))

    assert [(await rooms.row(name)).status for name in ("msg-1", "sms-1")] == ["delivered", "sent"]


async def test_a_reason_never_keeps_the_recipients_name(rooms):
    rooms.provider.name = "smtp"
    await sent(rooms, email(recipient="grace.hopper@example.com"))
    said = Report("email", "undelivered", message_id="msg-1", reason="user grace.hopper is unknown")

    await rooms.platform.write(lambda work: reports.take(work, ACCOUNT, said, rooms.rules))

    assert (await rooms.row("msg-1")).reason == "user (address) is unknown"


async def test_the_accounts_queue_for_that_is_told_how_messages_ended(rooms):
    catalog = rooms.platform.catalog
    await catalog.ensure(ACCOUNT, "message-status", QueueSettings(), {"type": "http_pull", "settings": {}})
    await sent(rooms)

    said = Report("twilio", "delivered", provider_id="taken-1")
    await rooms.platform.write(partial(record, ACCOUNT, said, rooms.rules))

    told = [message.body for message in await rooms.messages("message-status")]
    assert [b'"sent"' in told[0], b'"delivered"' in told[1]] == [True, True]


async def test_the_same_report_on_two_servers_at_once_is_one_line_of_history(tmp_path):
    async with open_servers(tmp_path) as servers:
        servers[0].provider.name = "twilio"
        await sent(servers[0])

        await asyncio.gather(*[report(servers[number % 2], "delivered") for number in range(10)])

        assert await servers[0].story("sms-1") == ["queued", "processing", "sent", "delivered"]


def test_nothing_comes_back_from_an_end():
    assert {before for before, _ in STEPS} == {"sent", "delivered"}
    assert {after for (before, _), after in STEPS.items() if before == "delivered"} == {"delivered"}
