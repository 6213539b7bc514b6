"""`GET /api/messages/…`: what there is of a job, what became of it, and what becomes of it now."""

import msgspec

from millrace.access.scopes import Scope
from millrace.apps.messaging import rows
from millrace.apps.messaging.exports.allowed import reach_of
from millrace.apps.messaging.job_routes import check_caller
from millrace.apps.messaging.queueing import Rules
from millrace.apps.messaging.rows import Change, Row
from millrace.apps.messaging.shown import HistoryShown, MessageShown, change_of, message_of
from millrace.errors import NotFound
from millrace.http.desk import Desk
from millrace.http.request import Request
from millrace.http.routes import Answer, Route
from millrace.platform import Platform
from millrace.work import Work

ONE = "/api/messages/{id}"


class MessageRoutes:
    """The routes that show jobs."""

    def __init__(self, platform: Platform, rules: Rules) -> None:
        self._platform, self._rules = platform, rules

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        return (
            Route(method="GET", path=ONE, handle=self.show_message, scope=Scope.READ, gives=MessageShown,
                  refuses=(NotFound,)),
            Route(method="GET", path=ONE + "/history", handle=self.show_history, scope=Scope.READ, gives=HistoryShown,
                  refuses=(NotFound,)),
        )  # fmt: skip

    async def show_message(self, desk: Desk, request: Request) -> Answer:
        """Show a job, by its id or by that of its message in the queue; its content to those who may peek or review."""
        check_caller(request)
        row = await self._platform.read(lambda work: rows.find(work, request.key.account_id, request.params["id"]))
        job = self._rules.seals.show_row(request.key.account_id, row) if may_read(request) else None
        return Answer(msgspec.json.encode(message_of(row, job, desk.clock())))

    async def show_history(self, desk: Desk, request: Request) -> Answer:
        """Show what became of a job so far: each change with its time, its attempt and its reason."""
        check_caller(request)
        account_id = request.key.account_id

        def read(work: Work) -> tuple[Row, list[Change]]:
            row = rows.find(work, account_id, request.params["id"])
            return row, rows.history(work, account_id, row.id)

        row, changes = await self._platform.read(read)
        return Answer(msgspec.json.encode(HistoryShown(row.id, [change_of(change) for change in changes])))


def may_read(request: Request) -> bool:
    """Say whether the caller may read what messages hold."""
    return reach_of(request.key) == "all"
