"""`/api/exports`: how far an export is, and its file."""

import re
from collections.abc import Sequence

import msgspec

from millrace.access.scopes import Scope
from millrace.apps.messaging.exports import rows
from millrace.apps.messaging.exports.allowed import check_opens
from millrace.apps.messaging.exports.formats import CONTENT_TYPES
from millrace.apps.messaging.exports.links import SIGNED, LinkRules, check_link
from millrace.apps.messaging.exports.rows import Export
from millrace.apps.messaging.exports.shown import ExportList, ExportShown, shown
from millrace.apps.messaging.job_routes import check_caller
from millrace.apps.messaging.rows import of_ids
from millrace.apps.messaging.sealing import Seals
from millrace.errors import Conflict, Forbidden, Gone, NotFound
from millrace.http.desk import Desk
from millrace.http.request import Request
from millrace.http.routes import Answer, Route, Stream
from millrace.platform import Platform
from millrace.resources.objects.contract import ObjectStore
from millrace.work import Work

LISTED, LISTED_MAX = 20, 100
NAME_CHARACTERS = 100
OTHERS = re.compile(r"[^A-Za-z0-9._-]+")


class ExportRoutes:
    """The routes of exports."""

    def __init__(self, platform: Platform, objects: ObjectStore, seals: Seals, links: LinkRules) -> None:
        self._platform, self._objects, self._seals, self._links = platform, objects, seals, links

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        one = "/api/exports/{exportId}"
        return (
            Route(method="GET", path="/api/exports", handle=self.list_exports, scope=Scope.READ, gives=ExportList,
                  query={"limit": {"type": "integer", "minimum": 1, "maximum": LISTED_MAX}}),
            Route(method="GET", path=one, handle=self.show_export, scope=Scope.READ, gives=ExportShown,
                  refuses=(NotFound,)),
            Route(method="GET", path=one + "/download", handle=self.download, scope=Scope.READ,
                  media_type="*/*", refuses=(NotFound, Conflict, Gone),
                  query={name: {"type": "string"} for name in ("account", "expires", "signature")}),
        )  # fmt: skip

    async def list_exports(self, desk: Desk, request: Request) -> Answer:
        """List the exports that the caller's key asked for, the newest first."""
        check_caller(request)
        account_id, limit = request.key.account_id, request.number("limit", LISTED, LISTED_MAX)

        def read(work: Work) -> list[ExportShown]:
            return self._shown(work, account_id, rows.of_owner(work, account_id, request.key.id, limit))

        return Answer(msgspec.json.encode(ExportList(await self._platform.read(read))))

    async def show_export(self, desk: Desk, request: Request) -> Answer:
        """Show how far an export is, with a link to its file once that is there."""
        check_caller(request)
        account_id = request.key.account_id

        def read(work: Work) -> ExportShown:
            export = rows.find(work, account_id, request.params["exportId"])
            check_opens(request.key, export)
            return self._shown(work, account_id, [export])[0]

        return Answer(msgspec.json.encode(await self._platform.read(read)))

    async def download(self, desk: Desk, request: Request) -> Stream:
        """Give the file of an export: to its key, to admins and operators, and to whoever has a signed link."""
        account_id, export_id = request.key.account_id, request.params["exportId"]
        is_signed = request.key.id == SIGNED
        try:
            export = await self._platform.read(lambda work: rows.find(work, account_id, export_id))
        except NotFound:
            if is_signed:
                raise Forbidden("the link is not one that this server has signed; ask for a new one") from None
            raise
        if is_signed:
            check_link(request.query, account_id, export_id, export.secret, desk.clock())
        else:
            check_caller(request)
            check_opens(request.key, export)
        return await self._file(account_id, export)

    async def _file(self, account_id: str, export: Export) -> Stream:
        """Give the file.

        Raises:
            Conflict: it is not finished.
            Gone: it was removed after its time.
        """
        if export.finished_at_ms is None or export.object_key is None:
            raise Conflict(f"export {export.id[:64]!r} has no file yet; ask for its status")
        stat = None if export.removed_at_ms is not None else await self._objects.stat(export.object_key)
        if stat is None:
            raise Gone(f"the file of export {export.id[:64]!r} was removed after its time; ask for another export")
        await self._platform.write(
            lambda work: work.note(account_id, "export.downloaded", f"message {export.id}", bytes=stat.size)
        )
        headers = (
            (b"content-length", str(stat.size).encode()),
            (b"content-disposition", f'attachment; filename="{_file_name(export)}"'.encode()),
            (b"x-content-type-options", b"nosniff"),
        )
        chunks = await self._objects.get(export.object_key)
        return Stream(chunks, content_type=CONTENT_TYPES[export.format].encode(), headers=headers)

    def _shown(self, work: Work, account_id: str, exports: Sequence[Export]) -> list[ExportShown]:
        jobs = of_ids(work, account_id, [export.id for export in exports])
        return [
            shown(export, jobs.get(export.id), account_id, self._seals, self._links, work.now_ms) for export in exports
        ]


def _file_name(export: Export) -> str:
    """Name the file after its export, in letters that mean nothing to any system."""
    name = OTHERS.sub("_", export.id)[:NAME_CHARACTERS].strip("._")
    return f"export-{name or 'file'}.{export.format}"
