"""Read-only SQL over the published views, for an account's admin."""

from typing import Any

import msgspec

from millrace.access.scopes import Scope
from millrace.errors import InvalidInput
from millrace.http.desk import Desk, check_unlimited
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.views import Rows, Views


class SqlBody(msgspec.Struct, frozen=True):
    """One statement, with a value for each `?` in it or for each `:name`."""

    sql: str
    params: list[Any] | dict[str, Any] = []


class SqlAnswer(msgspec.Struct, frozen=True):
    """The rows, in the order of the columns; `is_cut` says that there were more."""

    columns: list[str]
    rows: list[list[Any]]
    is_cut: bool


SQL = Shape(SqlBody)


def route(views: Views) -> Route:
    """Give the route that reads these views."""

    async def query(desk: Desk, request: Request) -> Answer:
        """Run one statement that reads the views of the key's account."""
        check_unlimited(request, "the views show all queues")
        body: SqlBody = SQL.read(request.body)
        rows: Rows = await views.query(request.key.account_id, body.sql, body.params)
        return Answer(msgspec.json.encode(SqlAnswer(rows.columns, rows.rows, rows.is_cut)))

    return Route(
        method="POST",
        path="/api/sql",
        handle=query,
        scope=Scope.SQL,
        takes=SQL,
        gives=SqlAnswer,
        refuses=(InvalidInput,),
    )
