"""A database as D1 shows it: `await env.DB.prepare("select …").bind(…).all()`. It reads the published views."""

from collections.abc import Sequence
from typing import Any

import msgspec

from millrace.handlers.asking import Ask, Binding


class D1Result(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as dicts by column. `meta` tells how many there are."""

    results: list[dict[str, Any]]
    success: bool = True
    meta: dict[str, Any]


class D1Statement(Binding):
    """A statement, and the values of its parameters."""

    def __init__(self, ask: Ask, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        self._ask, self._sql, self._parameters = ask, sql, parameters

    def bind(self, *values: Any) -> "D1Statement":
        """Give the same with values for `?`, or for `?1`, `?2` and so on."""
        return D1Statement(self._ask, self._sql, values)

    async def all(self) -> D1Result:
        """Run it and give its rows.

        Raises:
            InvalidInput: it is no single statement that only reads the published views.
            StoreUnavailable: the database cannot be read now.
        """
        columns, rows = await self._rows()
        results = [dict(zip(columns, row, strict=True)) for row in rows]
        return D1Result(results=results, meta={"rows_read": len(rows), "rows_written": 0, "changes": 0})

    async def run(self) -> D1Result:
        """Run it and give its rows, as `all`."""
        return await self.all()

    async def first(self, column: str | None = None) -> Any:
        """Give the first row, or its value of one column; None when there is no row."""
        results = (await self.all()).results
        if not results:
            return None
        return results[0] if column is None else results[0][column]

    async def raw(self, *, column_names: bool = False) -> list[list[Any]]:
        """Give the rows as lists, perhaps after one of the columns' names."""
        columns, rows = await self._rows()
        return [list(columns), *rows] if column_names else list(rows)

    async def _rows(self) -> tuple[Sequence[str], Sequence[list[Any]]]:
        answer = await self._ask("query", {"sql": self._sql, "parameters": self._parameters})
        return answer["columns"], answer["rows"]


class D1Database(Binding):
    """A database that is read by statements."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def prepare(self, sql: str) -> D1Statement:
        """Make a statement."""
        return D1Statement(self._ask, sql)

    async def batch(self, statements: Sequence[D1Statement]) -> list[D1Result]:
        """Run statements one after the other."""
        return [await statement.all() for statement in statements]
