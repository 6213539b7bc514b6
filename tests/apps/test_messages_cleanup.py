"""Clean-ups: what is old goes into an archive with a checksum, then goes, and can be put back exactly."""

import gzip
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.access.keys import Key
from millrace.access.scopes import Role
from millrace.apps.messaging import rows
from millrace.apps.messaging.cleanup import archives, run
from millrace.apps.messaging.cleanup.archives import Archive
from millrace.apps.messaging.cleanup.retention import retention
from millrace.apps.messaging.cleanup.routes import ArchiveRoutes
from millrace.apps.messaging.cleanup.run import cleaning
from millrace.apps.messaging.jobs import read_job
from millrace.apps.messaging.queueing import By, insert
from millrace.apps.messaging.rows import Change, Row
from millrace.apps.messaging.settings import MessagingSettings
from millrace.errors import Conflict, NotFound, ObjectNotFound, StoreUnavailable
from millrace.http.request import Request
from millrace.resources.objects.files import FileObjects
from millrace.sql import audit
from tests.apps.databases import DATABASES, change
from tests.apps.message_rooms import ACCOUNT, CONTENT, Rooms, cleanup, email, open_rooms
from tests.support import IS_SOAK

on_both = pytest.mark.parametrize("database", DATABASES)
ADMIN = Key(id="key-1", account_id=ACCOUNT, role=Role.ADMIN, created_at_ms=0, hint="")
DAY = 86_400
MANY, FULL = (12_000, 10_000) if IS_SOAK else (1_200, 1_000)


class Unlucky(FileObjects):
    """Objects on a disk that is full from a point on: the first bytes of a file still fit, or all of it does."""

    def __init__(self, folder: Path, *, is_late: bool) -> None:
        super().__init__(folder)
        self._is_late = is_late

    async def put(self, key: str, chunks: AsyncIterator[bytes], **more: Any) -> Any:
        async def cut() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk
                raise StoreUnavailable("the disk is full")

        stat = await super().put(key, chunks if self._is_late else cut(), **more)
        assert self._is_late
        raise StoreUnavailable(f"{stat.size} bytes are there, and nobody knows")


class Attic:
    """The rooms with somewhere to keep archives."""

    def __init__(self, rooms: Rooms, folder: Path) -> None:
        self.rooms, self.folder = rooms, folder
        self.use(FileObjects(folder))
        self.removed_files: list[tuple[str, int]] = []

    def use(self, objects: FileObjects) -> None:
        self.objects = objects
        self.rooms.processes["cleanup"] = cleaning(self.rooms.platform, objects, self._remove_files)

    async def clean(self, target: str = "message_queue", days: float = 0) -> Row:
        """Clean up what is older than so many days, and give the row of the job."""
        older_than = (self.rooms.clock.now - timedelta(days=days)).isoformat()
        [queued] = await self.rooms.queue(cleanup(target, older_than, priority="high"))
        await self.rooms.deliver()
        return await self.rooms.row(queued.job_id)

    async def archives(self) -> list[Archive]:
        return await self.rooms.platform.read(lambda work: archives.of_account(work, ACCOUNT, 100))

    async def restore(self, archive: Archive) -> bytes:
        """Restore as the route does."""
        routes: Any = ArchiveRoutes(self.rooms.platform, self.objects)
        head: Any = SimpleNamespace()
        request = Request(ADMIN, "", b"", {"id": archive.id}, head, head)
        return (await routes.restore_archive(None, request)).body

    def files(self) -> list[Path]:
        return [file for file in self.folder.rglob("*") if file.is_file()]

    def lines(self) -> list[bytes]:
        return [line for file in self.files() for line in gzip.decompress(file.read_bytes()).splitlines()]

    async def _remove_files(self, account_id: str, older_than_ms: int) -> int:
        self.removed_files.append((account_id, older_than_ms))
        return 7


async def all_of(rooms: Rooms, *names: str) -> list[tuple[Row, list[Change]]]:
    def read(work: Any) -> list[tuple[Row, list[Change]]]:
        found = rows.of_ids(work, ACCOUNT, names)
        return [(found[name], rows.history(work, ACCOUNT, name)) for name in names if name in found]

    return await rooms.platform.read(read)


async def names_left(rooms: Rooms, *names: str) -> list[str]:
    return [row.id for row, _ in await all_of(rooms, *names)]


async def acts(rooms: Rooms) -> list[str]:
    found = await rooms.platform.store.read(partial(audit.page, account_id=ACCOUNT, limit=1000))
    return [noted.entry.act for noted in found]


@on_both
async def test_what_ended_before_the_time_goes_and_what_is_newer_stays(tmp_path, database):
    """S1-36, S1-38."""
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        for name in ("old", "new"):
            await rooms.queue(email(name))
            await rooms.deliver()
            rooms.clock.advance(10 * DAY)

        done = await attic.clean(days=15)

        assert await names_left(rooms, "old", "new") == ["new"]
        assert (done.status, done.reason) == ("done", "1 removed")
        with pytest.raises(NotFound):
            await rooms.row("old")
        assert await rooms.story("old") == []


@on_both
async def test_what_has_not_ended_is_never_removed(tmp_path, database):
    """S1-36, X52."""
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        far = "2199-01-01T00:00:00Z"
        await rooms.queue(email("sent"))
        await rooms.deliver()
        rooms.clock.advance(10 * DAY)
        await rooms.queue(email("scheduled", sendAt=far), email("queued", priority="low"))
        job = read_job(email("draft"))
        await rooms.platform.write(lambda work: insert(work, ACCOUNT, "draft", job, "draft", rooms.rules, By("key-1")))
        await attic.clean(days=-36_500)  # a hundred years from now

        assert await names_left(rooms, "sent", "scheduled", "queued", "draft") == ["scheduled", "queued", "draft"]


@on_both
async def test_the_archive_is_whole_before_the_rows_go_and_brings_them_back_as_they_were(tmp_path, database):
    """S1-39."""
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        names = [f"msg-{number}" for number in range(250)]
        for first in range(0, 250, 50):
            await rooms.queue(*[email(name) for name in names[first : first + 50]])
        await rooms.deliver()
        before = await all_of(rooms, *names)
        rooms.clock.advance(DAY)
        await attic.clean()

        [archive] = await attic.archives()
        [file] = attic.files()
        assert (archive.lines, archive.bytes) == (250, file.stat().st_size)
        assert hashlib.sha256(file.read_bytes()).hexdigest() == archive.sha256
        assert len(attic.lines()) == 250
        assert await names_left(rooms, *names) == []

        first, again = await attic.restore(archive), await attic.restore(archive)
        assert b'"restored":250' in first
        assert b'"restored":0' in again
        assert await all_of(rooms, *names) == before
        assert len([act for act in await acts(rooms) if act == "archive.restored"]) == 2


@on_both
async def test_a_row_that_is_there_again_is_left_alone_by_a_restore(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        await rooms.queue(email())
        await rooms.deliver()
        rooms.clock.advance(DAY)
        await attic.clean()
        await rooms.queue(email(content="another, since its id was free"))
        [archive] = await attic.archives()

        assert b'"restored":0' in await attic.restore(archive)
        assert await rooms.story("msg-1") == ["queued"]


@on_both
async def test_a_file_that_somebody_has_changed_is_refused(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        await rooms.queue(email())
        await rooms.deliver()
        rooms.clock.advance(DAY)
        await attic.clean()
        [archive], [file] = await attic.archives(), attic.files()
        whole = gzip.decompress(file.read_bytes())

        file.write_bytes(gzip.compress(whole.replace(b"ada@", b"eve@")))
        with pytest.raises(Conflict, match="not as it was written"):
            await attic.restore(archive)
        file.unlink()
        with pytest.raises(ObjectNotFound):
            await attic.restore(archive)
        assert await names_left(rooms, "msg-1") == []


@on_both
@pytest.mark.parametrize("is_late", [False, True])
async def test_a_disk_that_is_full_costs_no_row_and_the_next_attempt_cleans_up(tmp_path, database, is_late):
    """S1-39: a process that dies between the file and the rows leaves all rows."""
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        await rooms.queue(email("msg-1"), email("msg-2"))
        await rooms.deliver()
        rooms.clock.advance(DAY)
        attic.use(Unlucky(tmp_path / "objects", is_late=is_late))

        cut = await attic.clean()
        left, of_cut = await names_left(rooms, "msg-1", "msg-2"), await attic.archives()
        attic.use(FileObjects(tmp_path / "objects"))
        await rooms.run()

        assert (cut.status, left, of_cut) == ("queued", ["msg-1", "msg-2"], [])
        assert (await rooms.row(cut.id)).status == "done"
        assert await names_left(rooms, "msg-1", "msg-2") == []
        [archive] = await attic.archives()
        assert archive.lines == 2


@on_both
async def test_what_changes_while_it_is_archived_stays(tmp_path, database):
    """A report of a provider that comes now must not be lost, whatever time the clean-up was given."""
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        await rooms.queue(email())
        await rooms.deliver()
        rooms.clock.advance(DAY)
        row = await rooms.row("msg-1")

        class Meanwhile(FileObjects):
            async def put(self, key: str, chunks: AsyncIterator[bytes], **more: Any) -> Any:
                stat = await super().put(key, chunks, **more)
                await rooms.platform.write(lambda work: rows.move(work, ACCOUNT, row, "delivered"))
                return stat

        attic.use(Meanwhile(tmp_path / "objects"))
        done = await attic.clean(days=-1)

        assert done.reason == "0 removed"
        assert await rooms.story("msg-1") == ["queued", "processing", "sent", "delivered"]


@on_both
async def test_old_entries_of_the_audit_trail_go_and_come_back_and_the_chain_holds(tmp_path, database):
    """S1-35, S1-85."""
    async with open_rooms(tmp_path, database) as rooms:
        attic, store = Attic(rooms, tmp_path / "objects"), rooms.platform.store
        for number in range(30):
            await rooms.queue(email(f"msg-{number}"))
        await audit.chain(store)
        rooms.clock.advance(10 * DAY)
        await rooms.queue(email("new"))
        await audit.chain(store)

        done = await attic.clean("audit_logs", days=5)
        left = await acts(rooms)
        await audit.chain(store)
        pruned = await audit.verify(store)
        [archive] = await attic.archives()
        restored = await attic.restore(archive)
        await audit.chain(store)

        assert done.reason == f"{archive.lines} removed"
        assert archive.lines >= 30
        assert left.count("message.queued") == 2  # of the new one, and of the clean-up
        assert f'"restored":{archive.lines}'.encode() in restored
        assert (await acts(rooms)).count("message.queued") == 32
        assert pruned.ok
        assert (await audit.verify(store)).ok
        assert b'"restored":0' in await attic.restore(archive)


@on_both
async def test_a_clean_up_of_files_says_how_many_went(tmp_path, database):
    """S1-37."""
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")

        done = await attic.clean("temp_files", days=1)

        assert (done.status, done.reason) == ("done", "7 removed")
        assert attic.removed_files == [(ACCOUNT, rooms.clock() - DAY * 1000)]
        assert "cleanup.done" in await acts(rooms)


@on_both
async def test_the_retention_queues_a_clean_up_of_each_target(tmp_path, database):
    """S1-38, S1-40, S1-86."""
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        settings = MessagingSettings(account_id=ACCOUNT, folder=tmp_path, audit_logs_days=300, temp_files_days=0.5)

        await retention(rooms.rules, settings)(rooms.platform, ACCOUNT)
        jobs = [message.body for message in await rooms.messages()]
        rooms.clock.advance(1)
        await rooms.deliver()

        assert len(jobs) == 3
        assert (await acts(rooms)).count("cleanup.done") == 3
        assert attic.removed_files == [(ACCOUNT, rooms.clock() - 1000 - DAY * 500)]
        assert b'"olderThan":"2024-03-07T00:00:00.000+00:00"' in b"".join(jobs)


async def test_an_archive_of_sealed_messages_is_sealed(tmp_path):
    async with open_rooms(tmp_path, key=bytes(32)) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        await rooms.queue(email())
        await rooms.deliver()
        rooms.clock.advance(DAY)
        await attic.clean()
        [archive] = await attic.archives()

        assert not any(CONTENT.encode() in line or b"ada@" in line for line in attic.lines())
        await attic.restore(archive)
        rooms.provider.answers.clear()
        assert (await rooms.queue(email()))[0].job_id == (await rooms.row("msg-1")).job_id


async def test_another_account_keeps_what_it_has(tmp_path):
    async with open_rooms(tmp_path) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        await rooms.queue(email())
        await rooms.deliver()
        change(rooms.platform.store.location, "update outbound_messages set account_id = 'other'")
        rooms.clock.advance(DAY)

        assert (await attic.clean()).reason == "0 removed"
        assert attic.files() == []


@on_both
async def test_many_rows_fill_several_archives_and_come_back(tmp_path, database, monkeypatch):
    monkeypatch.setattr(run, "ARCHIVE_LINES", FULL)
    async with open_rooms(tmp_path, database) as rooms:
        attic = Attic(rooms, tmp_path / "objects")
        await rooms.queue(email())
        await rooms.deliver()
        _multiply(rooms, MANY - 1)
        rooms.clock.advance(DAY)

        done = await attic.clean()
        found = await attic.archives()
        restored = [await attic.restore(archive) for archive in found]

        assert done.reason == f"{MANY} removed"
        assert sorted(archive.lines for archive in found) == [MANY - FULL, FULL]
        assert sorted(int(text.split(b'"restored":')[1][:-1]) for text in restored) == [MANY - FULL, FULL]
        assert await rooms.story("copy-777") == ["queued", "processing", "sent"]
        assert len(set(attic.lines())) == MANY


async def test_an_archive_that_packs_well_is_read_to_its_last_line(tmp_path):
    """Of 60 MB a few bytes are left, so that one piece of the file holds many lines."""
    objects, lines = FileObjects(tmp_path), [b"a" * 3_000_000 + str(number).encode() + b"\n" for number in range(20)]

    async def pages() -> AsyncIterator[archives.Page]:
        for line in lines:
            yield archives.Page(line, 1)

    filled = await archives.fill(objects, ACCOUNT, pages())
    archive = Archive("1", "message_queue", filled.key, filled.lines, filled.bytes, filled.sha256, 0, 0, None)
    found = [line async for some in archives.lines(objects, archive, bytes, 3) for line in some]

    assert filled.bytes < 100_000
    assert [line + b"\n" for line in found] == lines


def _multiply(rooms: Rooms, count: int) -> None:
    """Write copies of msg-1 with its history."""
    columns = "type, status, priority, key_id, body_hash, changes, attempts, owner, correlation_id, created_at_ms, updated_at_ms"
    numbers = f"with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < {count})"
    change(
        rooms.platform.store.location,
        f"{numbers} insert into outbound_messages (account_id, id, body, {columns}) "
        f"select account_id, 'copy-' || n, body, {columns} from outbound_messages, numbers where id = 'msg-1'",
    )
    lines = "account_id, number, at_ms, status, attempt, reason, provider, actor"
    change(
        rooms.platform.store.location,
        f"{numbers} insert into message_history (message_id, {lines}) "
        f"select 'copy-' || n, {lines} from message_history, numbers where message_id = 'msg-1'",
    )
