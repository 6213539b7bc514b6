"""`/api/archives`: what was archived, and how it comes back."""

from collections.abc import Sequence

import msgspec

from millrace.access.scopes import Scope
from millrace.apps.messaging.cleanup import archives, messages
from millrace.apps.messaging.cleanup.archives import Archive
from millrace.apps.messaging.cleanup.lines import Archived, read_entry, read_message
from millrace.audit import Noted
from millrace.clock import iso_milliseconds
from millrace.errors import Conflict, NotFound
from millrace.http.desk import Desk, check_unlimited
from millrace.http.request import Request
from millrace.http.routes import Answer, Route
from millrace.platform import Platform
from millrace.resources.objects.contract import ObjectStore
from millrace.work import Work

SHOWN, SHOWN_MAX = 100, 1_000
AUDIT_LINES = 500


class ArchiveShown(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An archive: what it holds of which target, from before when, and its checksum."""

    archive_id: str
    target: str
    rows: int
    bytes: int
    sha256: str
    older_than: str
    created_at: str
    restored_at: str | None


class ArchiveList(msgspec.Struct, frozen=True):
    """The archives of the account, the newest first."""

    archives: list[ArchiveShown]


class Restored(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came back: of `rows` those that were not there."""

    archive_id: str
    rows: int
    restored: int


class ArchiveRoutes:
    """The routes of archives."""

    def __init__(self, platform: Platform, objects: ObjectStore) -> None:
        self._platform, self._objects = platform, objects

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        return (
            Route(method="GET", path="/api/archives", handle=self.list_archives, scope=Scope.MANAGE, gives=ArchiveList,
                  query={"limit": {"type": "integer", "minimum": 1, "maximum": SHOWN_MAX}}),
            Route(method="POST", path="/api/archives/{id}/restore", handle=self.restore_archive, scope=Scope.MANAGE,
                  gives=Restored, refuses=(NotFound, Conflict)),
        )  # fmt: skip

    async def list_archives(self, desk: Desk, request: Request) -> Answer:
        """List what was archived before it was removed."""
        check_unlimited(request, "archives belong to the whole account")
        account_id, limit = request.key.account_id, request.number("limit", SHOWN, SHOWN_MAX)
        found = await self._platform.read(lambda work: archives.of_account(work, account_id, limit))
        return Answer(msgspec.json.encode(ArchiveList([_shown(archive) for archive in found])))

    async def restore_archive(self, desk: Desk, request: Request) -> Answer:
        """Put back what an archive holds and is not there, once its checksum is found to be right."""
        check_unlimited(request, "archives belong to the whole account")
        account_id, archive_id = request.key.account_id, request.params["id"]
        archive = await self._platform.read(lambda work: archives.find(work, account_id, archive_id))
        await archives.check(self._objects, archive)
        restored = 0
        if archive.target == "audit_logs":
            async for entries in archives.lines(self._objects, archive, read_entry, AUDIT_LINES):
                restored += await self._restore_entries(entries)
        else:
            async for found in archives.lines(self._objects, archive, read_message, messages.REMOVED_ROWS):
                restored += await self._restore_messages(account_id, found)
        await self._platform.write(lambda work: _note(work, account_id, archive, restored))
        return Answer(msgspec.json.encode(Restored(archive_id=archive.id, rows=archive.lines, restored=restored)))

    async def _restore_entries(self, entries: Sequence[Noted]) -> int:
        return await self._platform.write(lambda work: work.restore_audit(entries))

    async def _restore_messages(self, account_id: str, found: Sequence[Archived]) -> int:
        return await self._platform.write(lambda work: messages.restore(work, account_id, found))


def _note(work: Work, account_id: str, archive: Archive, restored: int) -> None:
    work.apply("archive_restored", {"now_ms": work.now_ms, "account_id": account_id, "id": archive.id})
    work.note(account_id, "archive.restored", f"archive {archive.id}", target=archive.target, restored=restored)


def _shown(archive: Archive) -> ArchiveShown:
    restored_at = None if archive.restored_at_ms is None else iso_milliseconds(archive.restored_at_ms)
    return ArchiveShown(
        archive_id=archive.id,
        target=archive.target,
        rows=archive.lines,
        bytes=archive.bytes,
        sha256=archive.sha256,
        older_than=iso_milliseconds(archive.older_than_ms),
        created_at=iso_milliseconds(archive.created_at_ms),
        restored_at=restored_at,
    )
