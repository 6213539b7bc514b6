"""Read-only SQL for an account's admin, over published views and nothing else.

A statement is prepared twice. First in an empty database that has the views' names and columns only: there whatever
else it names does not exist. Then on a read-only connection where the views are temporary ones of this account; its
authorizer lets it read what the views read and do nothing.

The language is SQLite's on both databases. On PostgreSQL the rows of the views that the statement names are copied into
tables in memory, and it is run over these.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, Protocol, TypeVar

import apsw
import msgspec

from millrace.clock import Clock
from millrace.errors import InvalidInput, StoreUnavailable
from millrace.sql.showing import iso, rows_of
from millrace.sql.transaction import Row, Transaction

T = TypeVar("T")

QUERY_SECONDS = 3.0
ROWS = 10_000
ANSWER_BYTES = 16 * 1024 * 1024
VALUE_BYTES = 2 * 1024 * 1024
COLUMNS = 100
STEPS_BETWEEN_CHECKS = 20_000
SQL_CHARACTERS = 100_000
INTEGERS = 1 << 63  # SQLite's are of 64 bits
READS = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE}
REFUSED_FUNCTIONS = {"load_extension", "fts3_tokenizer"}
SYSTEM = ("sqlite_", "pragma_")
HELPERS = {"json_each", "json_tree"}  # tables that show nothing but what they are given


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A published view: `select` names its columns; `tables` are those it reads.

    `:account_id` in it stands for the account, `now_ms()` for the time, `iso(ms)` writes one. For PostgreSQL there is a
    statement `view_<name>` with the same columns: times in milliseconds where a name ends in `_at`, texts perhaps as
    bytes, and one more column, the bytes up to the end of the row.
    """

    name: str
    columns: tuple[str, ...]
    tables: tuple[str, ...]
    select: str


class Rows(msgspec.Struct, frozen=True):
    """What a statement gave; `is_cut` says that there were more rows than fit."""

    columns: list[str]
    rows: list[list[Any]]
    is_cut: bool


QUEUES = View(
    name="queues",
    columns=("id", "name", "created_at", "paused", "backlog_count", "backlog_bytes", "consumer", "dead_letter_queue"),
    tables=("queues", "lanes"),
    select="""
        select
            q.id, q.name, iso(q.created_at_ms), coalesce(q.value ->> '$.settings.delivery_paused', 0),
            l.backlog_count, l.backlog_bytes, q.value ->> '$.consumer.type', q.value ->> '$.consumer.dead_letter_queue'
        from main.queues q join main.lanes l on l.lane = q.lane
        where q.account_id = :account_id
    """,
)
MESSAGES = View(
    name="messages",
    columns=("id", "queue", "status", "attempts", "sent_at", "visible_at", "content_type", "body", "reason"),
    tables=("messages", "queues"),
    select="""
        select
            m.id, q.name,
            case
                when m.visible_at_ms <= now_ms() then 'ready'
                when m.receipt is not null and m.lease_ends_at_ms > now_ms() then 'leased'
                else 'scheduled'
            end,
            m.attempts, iso(m.sent_at_ms), iso(m.visible_at_ms), m.content_type,
            case when m.content_type in ('json', 'text') then cast(m.body as text) end, m.reason
        from main.messages m join main.queues q on q.lane = m.lane
        where q.account_id = :account_id
    """,
)
ENGINE_VIEWS = (QUEUES, MESSAGES)


class Readable(Protocol):
    """What Views need of a store. `location` is a file, unless other processes share it."""

    location: str
    shares: bool

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        """Run a function that only reads, on one snapshot."""
        ...


class Views:
    """The views of one store."""

    def __init__(self, store: Readable, clock: Clock, views: Sequence[View] = ()) -> None:
        self._store, self._clock = store, clock
        self._views = (*ENGINE_VIEWS, *views)
        self._one_at_a_time = asyncio.Semaphore(1)

    async def query(self, account_id: str, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
        """Run one statement as the account sees its data: at most 3 s, 10,000 rows, and 16 MiB but for the last row.

        Raises:
            InvalidInput: it is no single statement that only reads the views, or takes too long; on PostgreSQL also
                when a view that it names has more rows than can be copied.
            StoreUnavailable: the database cannot be read now.
        """
        async with self._one_at_a_time:
            named = await asyncio.to_thread(self._check, sql, parameters)
            open_views = partial(_open_file, self._store.location, self._views, account_id)
            if self._store.shares:
                wanted = {view.name: view.columns for view in named}
                rows = await self._store.read(lambda tx: rows_of(tx, wanted, account_id, self._clock()))
                open_views = partial(_open_copy, self._views, rows)
            return await asyncio.to_thread(self._query, open_views, sql, parameters)

    def _check(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[View]:
        """Give the views that the statement names."""
        _check_parameters(parameters)
        names = _check_against_views(sql, self._views)
        return [view for view in self._views if view.name in names]

    def _query(
        self, open_views: Callable[[], apsw.Connection], sql: str, parameters: Sequence[Any] | Mapping[str, Any]
    ) -> Rows:
        try:
            connection = open_views()
        except apsw.Error as error:
            raise StoreUnavailable("the store cannot be read now") from error
        try:
            _close_off(connection, self._views, self._clock())
            return _run(connection, sql, parameters)
        except (apsw.BusyError, apsw.IOError, apsw.CantOpenError, apsw.CorruptError) as error:
            raise StoreUnavailable("the store cannot be read now") from error
        except apsw.InterruptError:
            raise InvalidInput(f"the statement took longer than {QUERY_SECONDS:g} s; ask for less") from None
        except apsw.Error as error:
            raise InvalidInput(f"the statement cannot be run: {error}") from None
        except UnicodeDecodeError:
            raise InvalidInput("the answer has text that is not UTF-8; ask for hex(…) of it") from None
        finally:
            connection.close()


def _open_file(path: str, views: Sequence[View], account_id: str) -> apsw.Connection:
    """Open a database file in which the views show the rows of the account."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    account = apsw.format_sql_value(account_id)
    for view in views:
        select = view.select.replace(":account_id", account)
        connection.execute(f'create temp view "{view.name}" ({_columns(view)}) as {select}')
    return connection


def _open_copy(views: Sequence[View], rows: Mapping[str, Sequence[Row]]) -> apsw.Connection:
    """Make a database in memory whose tables are the views, with these rows."""
    connection = apsw.Connection(":memory:")
    for view in views:
        connection.execute(f'create temp table "{view.name}" ({_columns(view)})')
        values = ", ".join(
            f"iif(typeof(?{place}) = 'blob', cast(?{place} as text), ?{place})" for place in _places(view)
        )
        with connection:
            connection.executemany(f'insert into temp."{view.name}" values ({values})', rows.get(view.name, ()))  # noqa: S608
    return connection


def _close_off(connection: apsw.Connection, views: Sequence[View], now_ms: int) -> None:
    """Let nothing but the views be read, and not for long."""
    _add_functions(connection, now_ms)
    connection.pragma("query_only", True)
    readable = {table for view in views for table in (*view.tables, view.name)}
    connection.authorizer = _authorizer(_tables_in(connection) - readable)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
    connection.limit(apsw.SQLITE_LIMIT_COLUMN, COLUMNS)
    until = monotonic() + QUERY_SECONDS
    connection.set_progress_handler(lambda: monotonic() > until, STEPS_BETWEEN_CHECKS)


def _columns(view: View) -> str:
    return ", ".join(f'"{column}"' for column in view.columns)


def _places(view: View) -> range:
    return range(1, len(view.columns) + 1)


def _check_against_views(sql: str, views: Sequence[View]) -> set[str]:
    """Prepare the statement where there is nothing but the names and columns of the views; give those it names.

    Raises:
        InvalidInput: it is not one statement that only reads them.
    """
    if len(sql) > SQL_CHARACTERS:
        raise InvalidInput(f"the statement has {len(sql)} characters; expected at most {SQL_CHARACTERS}")
    if "\0" in sql:
        raise InvalidInput("the statement has a null character; write char(0) for it")
    shadow, named = _open_copy(views, {}), set[str]()
    try:
        _add_functions(shadow, 0)
        shadow.authorizer = _authorizer(_tables_in(shadow) - {view.name for view in views}, named)
        info = _query_info(shadow, sql)
    except apsw.AuthError:
        raise InvalidInput("the statement may only read; expected a SELECT over " + _names(views)) from None
    except apsw.Error as error:
        raise InvalidInput(f"the statement cannot be run: {error}; there are the views {_names(views)}") from None
    finally:
        shadow.close()
    if info.query_remaining is not None and info.query_remaining.strip(" \t\r\n;"):
        raise InvalidInput("there is more than one statement; send one at a time")
    if not info.has_vdbe or not info.is_readonly or info.is_explain:
        raise InvalidInput("the statement is not a query; expected a SELECT over " + _names(views))
    return named


def _check_parameters(parameters: Sequence[Any] | Mapping[str, Any]) -> None:
    """Raise InvalidInput for what SQLite has no value for."""
    named = parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters)
    for name, value in named:
        if not isinstance(value, str | int | float | bytes | None):
            raise InvalidInput(f"params: {name!r} is of type {type(value).__name__}; expected text, a number or null")
        if isinstance(value, int) and not -INTEGERS <= value < INTEGERS:
            raise InvalidInput(f"params: {name!r} is a whole number beyond 64 bits; send it as text")


def _tables_in(connection: apsw.Connection) -> set[str]:
    """Give every name that could show something: tables, and the modules that are tables by themselves."""
    tables = connection.execute("select name from sqlite_schema union all select name from sqlite_temp_schema")
    modules = connection.execute("select name from pragma_module_list")
    return {str(row[0]) for rows in (tables, modules) for row in rows} - HELPERS


def _authorizer(
    hidden: set[str], named: set[str] | None = None
) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    """Let a statement read what is not hidden; the names of what it reads go into `named`."""

    def allow(
        action: int, first: str | None, second: str | None, database: str | None, trigger_or_view: str | None
    ) -> int:
        if action not in READS:
            return apsw.SQLITE_DENY
        if action == apsw.SQLITE_READ and first is not None and (first in hidden or first.startswith(SYSTEM)):
            return apsw.SQLITE_DENY
        if action == apsw.SQLITE_FUNCTION and second in REFUSED_FUNCTIONS:
            return apsw.SQLITE_DENY
        if action == apsw.SQLITE_READ and first is not None and named is not None:
            named.add(first)
        return apsw.SQLITE_OK

    return allow


def _run(connection: apsw.Connection, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Rows:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, parameters or None)
    except KeyError as missing:
        raise InvalidInput(f"params have no {missing.args[0]!r}, which the statement names") from None
    try:
        columns = [column[0] for column in cursor.get_description()]
    except apsw.ExecutionCompleteError:  # no row, so the cursor has forgotten them
        columns = [column[0] for column in _query_info(connection, sql).description]
    rows: list[list[Any]] = []
    size = 0
    for row in cursor:
        if len(rows) == ROWS or size > ANSWER_BYTES:
            return Rows(columns, rows, is_cut=True)
        rows.append([_shown(value) for value in row])
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
    return Rows(columns, rows, is_cut=False)


def _add_functions(connection: apsw.Connection, now_ms: int) -> None:
    connection.create_scalar_function("iso", lambda *at_ms: iso(at_ms[0]), 1)
    connection.create_scalar_function("now_ms", lambda *none: now_ms, 0)


def _shown(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _query_info(connection: apsw.Connection, sql: str) -> Any:
    from apsw.ext import query_info  # noqa: PLC0415 - takes 50 ms to import, which a start need not wait for

    return query_info(connection, sql)


def _names(views: Sequence[View]) -> str:
    return ", ".join(view.name for view in views)
