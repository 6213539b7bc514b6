"""Exports as they are made: what is in them, what follows them, and what a failure leaves behind."""

import asyncio
import csv
import io

import pytest

from millrace.access.cipher import KEY_BYTES
from millrace.apps.messaging import rows
from millrace.apps.messaging.exports import rows as exports
from millrace.apps.messaging.exports import run
from millrace.apps.messaging.exports.files import remove_files
from millrace.apps.messaging.exports.following import Following
from millrace.apps.messaging.exports.links import LinkRules
from millrace.apps.messaging.exports.run import exporting
from millrace.apps.messaging.jobs import read_job
from millrace.apps.messaging.providers.contract import Refused
from millrace.apps.messaging.queueing import By, queue_jobs
from millrace.apps.messaging.sealing import Kept
from millrace.clock import iso_milliseconds
from millrace.errors import ObjectNotFound, StoreUnavailable
from millrace.resources.objects.files import FileObjects
from millrace.testing.clock import START
from tests.apps.databases import DATABASES
from tests.apps.message_rooms import ACCOUNT, CONTENT, email, export, open_rooms, sms

KEPT_MS = 86_400_000
DAY = START.date().isoformat()
HEADS = [
    *("messageId", "type", "status", "priority", "recipient", "subject", "content", "attempts", "reason", "provider"),
    *("providerId", "createdAt", "updatedAt", "scheduledFor", "deliveredAt"),
]


class FullDisk(FileObjects):
    """A folder whose disk is full once something was written."""

    async def put(self, key, chunks, **more):
        await anext(chunks)
        raise StoreUnavailable("the folder of objects cannot be used: No space left on device")


class SlowDisk(FileObjects):
    """A folder that takes some pieces, and the rest when it is told to."""

    def __init__(self, folder, pieces=1):
        super().__init__(folder)
        self.left, self.taken, self.go_on = pieces, asyncio.Event(), asyncio.Event()

    async def put(self, key, chunks, **more):
        async def held():
            async for chunk in chunks:
                yield chunk
                self.left -= 1
                if self.left == 0:
                    self.taken.set()
                    await self.go_on.wait()

        return await super().put(key, held(), **more)


def exporting_into(rooms, objects, public_url="https://example.org"):
    """Let the rooms make exports, in this folder."""
    following = Following(rooms.rules, LinkRules(3_600, public_url), KEPT_MS)
    rooms.processes["export_generation"] = exporting(rooms.platform, objects, following)
    return rooms


@pytest.fixture(params=DATABASES)
async def rooms(request, tmp_path):
    async with open_rooms(tmp_path, request.param) as made:
        yield exporting_into(made, FileObjects(tmp_path / "objects"))


@pytest.fixture
def objects(tmp_path):
    return FileObjects(tmp_path / "objects")


def files_in(tmp_path):
    return [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]


async def found(rooms, export_id="export-1"):
    return await rooms.platform.read(lambda work: exports.find(work, ACCOUNT, export_id))


async def text_of(rooms, objects, export_id="export-1"):
    key = (await found(rooms, export_id)).object_key
    return b"".join([piece async for piece in await objects.get(key)]).decode()


async def made(rooms, objects, **more):
    """Make an export and give its lines."""
    await rooms.queue(export(**{"filters": {}, "priority": "high", **more}))
    await rooms.deliver()
    return list(csv.DictReader(io.StringIO(await text_of(rooms, objects), newline="")))


async def test_an_export_holds_what_was_sent_oldest_first(rooms, objects):
    """S1-30."""
    await rooms.queue(email("msg-2", subject="=1+1", sendAt="2020-01-01T00:00:00Z"))
    rooms.clock.advance(1)
    await rooms.queue(sms("msg-1"))
    await rooms.deliver()

    first, second = await made(rooms, objects)

    assert list(first) == HEADS
    assert (
        first
        | {
            "messageId": "msg-2",
            "type": "email_send",
            "status": "sent",
            "recipient": "ada@example.com",
            "subject": "'=1+1",
            "content": CONTENT,
            "attempts": "1",
            "provider": "recorder",
            "scheduledFor": "2020-01-01T00:00:00.000Z",
            "createdAt": iso_milliseconds(rooms.clock() - 1_000),
            "deliveredAt": "",
        }
        == first
    )
    assert (second["messageId"], second["recipient"], second["subject"]) == ("msg-1", "'+15005550006", "")


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"startDate": DAY}, ["msg-2", "msg-3"]),
        ({"endDate": DAY}, ["msg-1", "msg-2"]),
        ({"startDate": DAY, "endDate": DAY}, ["msg-2"]),
        ({"status": "failed"}, ["msg-2"]),
        ({"status": "scheduled"}, ["msg-3"]),
        ({"type": "sms_send"}, ["msg-3"]),
        ({"type": "export_generation"}, []),
        ({"colour": "green"}, ["msg-1", "msg-2", "msg-3"]),
    ],
)
async def test_the_filters_count(rooms, objects, filters, ids):
    """S1-30."""
    rooms.provider.answers["msg-2"] = [Refused("recorder", "blocked")]
    noon_ms = rooms.clock()
    for days, job in enumerate((email("msg-1"), email("msg-2"), sms("msg-3", sendAt="2099-01-01T00:00:00Z")), -1):
        rooms.clock.now_ms = noon_ms + days * 86_400_000
        await rooms.queue(job)
        await rooms.deliver()

    lines = await made(rooms, objects, filters=filters)

    assert [line["messageId"] for line in lines] == ids


async def test_many_pages_make_one_file_and_progress_is_told(rooms, objects, tmp_path, monkeypatch):
    """S1-31."""
    monkeypatch.setattr(run, "TELL_ROWS", 300)
    for begin in range(0, 700, 100):
        await rooms.queue(*(email(f"msg-{begin + number:04}", sendAt="2099-01-01T00:00:00Z") for number in range(100)))
    slow = SlowDisk(tmp_path / "objects", pieces=4)
    exporting_into(rooms, slow)

    await rooms.queue(export(filters={}, priority="high"))
    delivering = asyncio.ensure_future(rooms.deliver())
    await slow.taken.wait()
    halfway = await found(rooms)
    slow.go_on.set()
    await delivering

    lines = list(csv.DictReader(io.StringIO(await text_of(rooms, objects), newline="")))
    end = await found(rooms)
    assert (halfway.examined, halfway.total, halfway.finished_at_ms) == (525, 701, None)  # the job itself is looked at
    assert (end.examined, end.written, end.bytes) == (701, 700, len(await text_of(rooms, objects)))
    assert [line["messageId"] for line in lines] == [f"msg-{number:04}" for number in range(700)]


def test_a_page_has_fewer_rows_the_longer_they_are():
    assert run.rows_of_page(250, 250 * 1_000) == 250
    assert run.rows_of_page(25, 25 * 100_000) == 20
    assert run.rows_of_page(1, 10_000_000) == 1


async def test_whoever_waits_is_told_and_the_file_goes_after_its_time(rooms, objects):
    """S1-32, S1-33."""
    await made(rooms, objects, notifyEmail="ada@example.com")

    letter = await rooms.row("export-export-1-ready")
    job = rooms.rules.seals.open(ACCOUNT, letter.id, Kept(letter.body, letter.key_id))
    removal = next(message for message in await rooms.messages() if b"temp_files" in message.body)
    finished = await found(rooms)
    assert job.recipient == "ada@example.com"
    assert "https://example.org/api/exports/export-1/download?account=local&expires=" in job.content
    assert finished.expires_at_ms == finished.finished_at_ms + KEPT_MS
    assert iso_milliseconds(finished.finished_at_ms + 1).encode() in removal.body
    assert iso_milliseconds(finished.expires_at_ms).encode() in removal.body


async def test_a_link_of_a_job_that_came_past_the_door_asks_for_a_key(rooms):
    await rooms.send(export(filters={}, notifyEmail="ada@example.com"))
    await rooms.deliver()

    letter = await rooms.row("export-export-1-ready")
    job = rooms.rules.seals.open(ACCOUNT, letter.id, Kept(letter.body, letter.key_id))
    assert "https://example.org/api/exports/export-1/download\n" in job.content


@pytest.mark.parametrize("taken", [False, True])
async def test_the_letter_has_an_id_however_long_that_of_the_export_is(rooms, taken):
    export_id = "export-1" if taken else "x" * 128
    if taken:
        await rooms.queue(email("export-export-1-ready", sendAt="2099-01-01T00:00:00Z"))

    await rooms.queue(export(export_id, filters={}, notifyEmail="ada@example.com"))
    await rooms.run(hours=0.1)

    assert (await found(rooms, export_id)).finished_at_ms is not None
    assert len(rooms.provider.taken) == 1


async def test_files_go_that_were_finished_before_a_time_and_no_others(rooms, objects, tmp_path):
    """S1-37."""
    for number in range(3):
        await rooms.queue(export(f"export-{number}", filters={}, priority="high"))
        await rooms.deliver()
        rooms.clock.advance(1)
    await objects.put("uploads/other.txt", _bytes(b"stays"), content_type="text/plain", max_bytes=100)
    newest = await found(rooms, "export-2")

    removed = await remove_files(rooms.platform, objects, ACCOUNT, newest.finished_at_ms)
    again = await remove_files(rooms.platform, objects, ACCOUNT, newest.finished_at_ms)
    elsewhere = await remove_files(rooms.platform, objects, "other", newest.finished_at_ms + 1)

    assert (removed, again, elsewhere) == (2, 0, 0)
    assert len(files_in(tmp_path)) == 2
    assert (await objects.stat(newest.object_key)) is not None
    assert (await found(rooms, "export-0")).removed_at_ms == rooms.clock()


async def test_an_attempt_that_was_cut_off_is_begun_again_and_its_file_removed(rooms, objects, tmp_path):
    await rooms.queue(export(filters={}, priority="high"))
    await objects.put("exports/old/file.csv", _bytes(b"half"), content_type="text/csv", max_bytes=100)
    await rooms.platform.write(lambda work: exports.begin(work, ACCOUNT, "export-1", "exports/old/file.csv", 0))

    await rooms.deliver()

    with pytest.raises(ObjectNotFound):
        await objects.get("exports/old/file.csv")
    assert len(files_in(tmp_path)) == 1
    assert (await rooms.row("export-1")).status == "done"


async def test_of_two_attempts_the_later_one_counts(rooms, objects, tmp_path):
    slow = SlowDisk(tmp_path / "objects")
    exporting_into(rooms, slow)
    await rooms.queue(export(filters={}, priority="high"))
    first = asyncio.ensure_future(rooms.deliver())
    await slow.taken.wait()

    await rooms.platform.write(lambda work: exports.begin(work, ACCOUNT, "export-1", "exports/other/file.csv", 0))
    slow.go_on.set()
    await first

    assert (await found(rooms)).finished_at_ms is None
    assert "another attempt" in (await rooms.row("export-1")).reason
    assert files_in(tmp_path) == []


async def test_a_finished_export_is_not_made_again(rooms, objects, tmp_path):
    await made(rooms, objects)
    before = files_in(tmp_path)
    process = rooms.processes["export_generation"]

    end = await process(run.Doing(ACCOUNT, "export-1", read_job(export(filters={}))))

    assert end.is_success
    assert files_in(tmp_path) == before


async def test_a_full_disk_leaves_no_file_and_says_why(rooms, tmp_path):
    exporting_into(rooms, FullDisk(tmp_path / "objects"))

    await rooms.queue(export(filters={}))
    await rooms.run()

    row = await rooms.row("export-1")
    assert (row.status, row.attempts) == ("failed", 3)
    assert row.reason.endswith("No space left on device")
    assert await rooms.dead() == [f"{row.reason} (attempt 3)"]
    assert files_in(tmp_path) == []


async def test_what_a_failed_export_left_behind_goes_with_the_old_files(rooms, objects, tmp_path):
    exporting_into(rooms, FullDisk(tmp_path / "objects"))
    await rooms.queue(export(filters={}))
    await rooms.run()
    key = (await found(rooms)).object_key
    await objects.put(key, _bytes(b"half"), content_type="text/csv", max_bytes=100)
    rooms.clock.advance(1)

    removed = await remove_files(rooms.platform, objects, ACCOUNT, rooms.clock())

    assert removed == 0
    assert files_in(tmp_path) == []


async def test_sealed_messages_are_readable_in_the_file(request, tmp_path, objects):
    async with open_rooms(tmp_path, key=b"k" * KEY_BYTES) as sealed:
        exporting_into(sealed, objects)
        await sealed.queue(email())
        await sealed.deliver()

        (line,) = await made(sealed, objects)

    assert line["content"] == CONTENT


async def test_messages_under_another_master_key_fail_the_export_with_that_reason(tmp_path, objects):
    async with open_rooms(tmp_path, key=b"k" * KEY_BYTES) as sealed:
        await sealed.queue(email())
        await sealed.deliver()
        other = exporting_into(sealed.on_cipher(b"o" * KEY_BYTES), objects)

        await other.queue(export(filters={}))
        await other.run()

        row = await other.row("export-1")
    assert row.status == "failed"
    assert "another master key" in row.reason


async def test_a_key_that_may_not_read_messages_gets_its_own(rooms, objects):
    await rooms.queue(email("of-key-1"))
    job = read_job(export(filters={}, priority="high"))
    mine = read_job(email("of-key-2"))
    by = By("key-2", "", "own")
    await rooms.platform.write(lambda work: queue_jobs(work, ACCOUNT, [mine, job], rooms.rules, by))

    await rooms.deliver()

    lines = list(csv.DictReader(io.StringIO(await text_of(rooms, objects), newline="")))
    assert [line["messageId"] for line in lines] == ["of-key-2"]


async def test_the_audit_trail_is_exported_too(rooms, objects):
    await rooms.queue(email())

    lines = await made(rooms, objects, filters={"source": "audit", "type": "message.queued"})

    assert list(lines[0]) == ["number", "at", "actor", "act", "object", "details", "correlationId"]
    assert [line["object"] for line in lines] == ["message msg-1", "message export-1"]
    assert CONTENT not in str(lines)


async def test_when_a_message_was_delivered_is_told_by_its_history(rooms, objects):
    await rooms.queue(email())
    await rooms.deliver()
    rooms.clock.advance(5)
    row = await rooms.row("msg-1")
    await rooms.platform.write(lambda work: rows.move(work, ACCOUNT, row, "delivered"))
    delivered_at = iso_milliseconds(rooms.clock())
    rooms.clock.advance(5)

    (line,) = await made(rooms, objects)

    assert line["deliveredAt"] == delivered_at


async def _bytes(text):
    yield text
