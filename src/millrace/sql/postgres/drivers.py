"""Whose connection it is that a caller gives, and how a statement is run on it. No driver is imported before its turn."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from millrace.errors import InvalidInput
from millrace.sql.postgres.borrowed import Run
from millrace.sql.statements import load_statements
from millrace.sql.transaction import Row

T = TypeVar("T")
RunAsync = Callable[[str, Sequence[Any]], Awaitable[list[Row]]]

ASYNCPG = ("asyncpg.Connection", "asyncpg.PoolConnectionProxy")
ASYNC_SESSIONS = ("sqlalchemy.AsyncSession", "sqlalchemy.async_scoped_session")
SESSIONS = ("sqlalchemy.Session", "sqlalchemy.scoped_session")
ASYNCHRONOUS = (*ASYNCPG, "psycopg.AsyncConnection", *ASYNC_SESSIONS, "sqlalchemy.AsyncConnection")
SYNCHRONOUS = ("psycopg.Connection", *SESSIONS, "sqlalchemy.Connection")
SPOIL = load_statements("postgres")["spoil"]
IDLE = 0  # of psycopg's TransactionStatus


async def borrow(connection: object, threads: Executor, fn: Callable[[Run], T]) -> T:
    """Run `fn(run)` on a thread, where `run` runs a statement on the connection, and wait for it.

    Once the call is cancelled, the transaction can no longer be committed: part of what `fn` does may be in it.

    Raises:
        InvalidInput: no connection of a driver that is known, or none that has a transaction.
    """
    loop = asyncio.get_running_loop()
    way: _Straight | _Crossing
    if kind_of(connection) in SYNCHRONOUS:
        way = _Straight(connection)
    else:
        way = _Crossing(await _async_runner(connection), loop)
    work = loop.run_in_executor(threads, copy_context().run, fn, way.run)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        way.stop()
        await asyncio.wait([work])
        work.cancelled() or work.exception()  # it is told to nobody any more
        await asyncio.shield(loop.run_in_executor(threads, _spoil, way.run))
        raise


def _runner(connection: Any) -> Run:
    kind = kind_of(connection)
    if kind in SESSIONS:
        connection, kind = connection.connection(), "sqlalchemy.Connection"
    if kind == "sqlalchemy.Connection":
        connection.exec_driver_sql("select 1")  # it begins its transaction with the first statement that it sees itself
        connection = connection.connection.driver_connection
    if kind_of(connection) != "psycopg.Connection":
        raise _unknown(connection)
    _refuse_autocommit(connection)
    return partial(_run_psycopg, connection)


async def _async_runner(connection: Any) -> RunAsync:
    kind = kind_of(connection)
    if kind in ASYNC_SESSIONS:
        connection, kind = await connection.connection(), "sqlalchemy.AsyncConnection"
    if kind == "sqlalchemy.AsyncConnection":
        await connection.exec_driver_sql("select 1")
        connection = (await connection.get_raw_connection()).driver_connection
    kind = kind_of(connection)
    if kind in ASYNCPG:
        if not connection.is_closed() and not connection.is_in_transaction():
            raise _no_transaction("async with connection.transaction()")
        return partial(_run_asyncpg, connection)
    if kind == "psycopg.AsyncConnection":
        _refuse_autocommit(connection)
        return partial(_run_async_psycopg, connection)
    raise _unknown(connection)


def kind_of(connection: object) -> str:
    """Name the class that is known among those of the connection, by package and name; empty for none."""
    names = [f"{one.__module__.partition('.')[0]}.{one.__qualname__}" for one in type(connection).__mro__]
    return next((name for name in names if name in ASYNCHRONOUS or name in SYNCHRONOUS), "")


class _Straight:
    """Statements of a thread on a connection that needs no event loop; it is used on that thread only."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._run: Run | None = None

    def run(self, text: str, values: Sequence[Any]) -> list[Row]:
        """Run a statement and give its rows."""
        if self._run is None:
            self._run = _runner(self._connection)
        return self._run(text, values)

    def stop(self) -> None:
        """Let it finish: nothing can cancel its statement."""


class _Crossing:
    """Statements of a thread on their way to the event loop that their connection belongs to."""

    def __init__(self, run: RunAsync, loop: asyncio.AbstractEventLoop) -> None:
        self._run, self._loop = run, loop
        self._under_way: Future[list[Row]] | None = None
        self._stopped = False

    def run(self, text: str, values: Sequence[Any]) -> list[Row]:
        """Run a statement there and wait for its rows."""
        if self._stopped and text != SPOIL:
            raise CancelledError
        self._under_way = asyncio.run_coroutine_threadsafe(self._wait(text, values), self._loop)
        return self._under_way.result()

    def stop(self) -> None:
        """Cancel the statement that is under way, and let none follow it."""
        self._stopped = True
        if self._under_way is not None:
            self._under_way.cancel()

    async def _wait(self, text: str, values: Sequence[Any]) -> list[Row]:
        return await self._run(text, values)


async def _run_asyncpg(connection: Any, text: str, values: Sequence[Any]) -> list[Row]:
    return [tuple(row) for row in await connection.fetch(text, *values)]


async def _run_async_psycopg(connection: Any, text: str, values: Sequence[Any]) -> list[Row]:
    from psycopg import AsyncRawCursor  # noqa: PLC0415 - the driver is an extra
    from psycopg.rows import tuple_row  # noqa: PLC0415

    async with AsyncRawCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(text, values, binary=True)
        return await cursor.fetchall() if cursor.description else []


def _run_psycopg(connection: Any, text: str, values: Sequence[Any]) -> list[Row]:
    from psycopg import RawCursor  # noqa: PLC0415 - the driver is an extra
    from psycopg.rows import tuple_row  # noqa: PLC0415

    with RawCursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(text, values, binary=True)
        return cursor.fetchall() if cursor.description else []


def _spoil(run: Run) -> None:
    """Let the transaction fail, unless it has failed already."""
    with suppress(Exception):
        run(SPOIL, ())


def _refuse_autocommit(connection: Any) -> None:
    if connection.autocommit and connection.info.transaction_status == IDLE:
        raise _no_transaction("with connection.transaction()")


def _no_transaction(how: str) -> InvalidInput:
    return InvalidInput(
        f"the connection has no transaction open, so nothing would be committed together; begin one ({how}), or leave "
        "`connection` out to send in a transaction of its own"
    )


def _unknown(connection: object) -> InvalidInput:
    kind = type(connection)
    return InvalidInput(
        f"connection is a {kind.__module__}.{kind.__qualname__}; expected a connection of asyncpg or psycopg 3, or a "
        "connection or session of SQLAlchemy on one of them"
    )
