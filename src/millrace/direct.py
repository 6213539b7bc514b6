"""Queues in a database that a program has in its own hands: no server between, and its own rows in the same commit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

import apsw

from millrace.bindings import SendOptions, make_outgoing, read_outgoing
from millrace.broker import Sent
from millrace.clock import Clock, clock_after
from millrace.errors import ConfigurationError, InvalidInput, StoreUnavailable
from millrace.message import Backlog, Outgoing
from millrace.names import check_account_id, check_queue_name
from millrace.parcels import Parcel, accept, store
from millrace.placing import Stored
from millrace.sql import queues
from millrace.sql.sqlite.database import SqliteDatabase
from millrace.sql.sqlite.directory import DATABASE, lock_directory, prepare_directory
from millrace.sql.transaction import Row, Transaction
from millrace.work import Work

if TYPE_CHECKING:
    from millrace.callers import Callers

T = TypeVar("T")

POSTGRES, SQLITE = ("postgresql://", "postgres://"), "sqlite:///"


class Writing:
    """An open transaction of a program: its own statements, and messages. `work` has the engine's other verbs."""

    def __init__(self, work: Work, account: str) -> None:
        self.work, self._account = work, account

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a statement over tables of the program's own, and give its rows, if any.

        Values stand in it as `$1`, `$2` …, in the order in which they are given.
        """
        return self.work.tx.execute(statement, values)

    def send(
        self,
        queue: str,
        body: object,
        *,
        content_type: str = "json",
        delay_seconds: float | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SendOptions],
    ) -> Sent:
        """Send one message in this transaction; options and errors are those of `DirectQueue.send`."""
        message = make_outgoing(body, content_type, delay_seconds, **options)
        return _send(self.work, Parcel(self._account, queue, [message], None, idempotency_key))

    def send_batch(
        self,
        queue: str,
        messages: Iterable[Mapping[str, Any]],
        *,
        delay_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> Backlog:
        """Send 1 to 100 messages in this transaction, as `DirectQueue.send_batch` does."""
        outgoing = [read_outgoing(message) for message in messages]
        return _send(self.work, Parcel(self._account, queue, outgoing, delay_seconds, idempotency_key)).backlog


class _House(Protocol):
    """Where transactions run."""

    async def write(self, fn: Callable[[Transaction], T]) -> T: ...


class Database:
    """A database with queues in it, of one account. `Database.open` makes it."""

    def __init__(
        self, house: _House, clock_of: Callable[[Transaction], Clock], callers: "Callers | None", account: str
    ) -> None:
        self._house, self._clock_of, self._callers, self._account = house, clock_of, callers, account

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, account: str = "local") -> AsyncIterator["Database"]:
        """Open a database until the end of the block. Whoever has the database may do everything with it.

        Args:
            url: `postgresql://…`, which servers may use at the same time; or `sqlite:///DIRECTORY/millrace.db`, which
                is made when it is missing and belongs to this program alone meanwhile.
            account: The account whose queues are meant.

        Raises:
            ConfigurationError: another URL, or the driver of PostgreSQL is not installed.
            StoreRefused: the tables are missing, older or newer, or another program has the directory.
            StoreUnavailable: the database cannot be reached now.
        """
        check_account_id(account)
        async with AsyncExitStack() as stack:
            if url.startswith(POSTGRES):
                yield await _open_postgres(url, account, stack)
            elif url.startswith(SQLITE) and Path(url).name == DATABASE:
                yield _open_sqlite(Path(url.removeprefix(SQLITE)).parent, account, stack)
            else:
                raise ConfigurationError(
                    f"the URL begins with {url.partition(':')[0][:20]!r}; "
                    f"expected {POSTGRES[0]}… or {SQLITE}DIRECTORY/{DATABASE}"
                )

    def queue(self, name: str) -> "DirectQueue":
        """Give one of the queues; whether it is there shows when it is sent to."""
        return DirectQueue(self, name)

    async def ensure_queue(self, name: str) -> None:
        """Make a queue with the usual settings, unless it is there.

        Raises:
            InvalidQueueName: see `check_queue_name`.
        """
        check_queue_name(name)
        await self.write(lambda writing: queues.ensure(writing.work.tx, self._account, name, None, writing.work.now_ms))

    async def write(self, fn: Callable[[Writing], T]) -> T:
        """Run the plain function `fn(writing)` in a transaction of its own; its result is given once it is on disk.

        What `fn` raises undoes all of it. It may run twice, and must not wait for anything else.

        Raises:
            StoreUnavailable: it could not be committed, or on PostgreSQL nobody knows whether it was.
            psycopg.Error, apsw.Error: the driver's own, for a statement of `fn` that was refused.
        """
        try:
            return await self._house.write(lambda tx: fn(Writing(Work(tx, self._clock_of(tx)), self._account)))
        except StoreUnavailable as error:
            if isinstance(error.__cause__, apsw.ConstraintError | apsw.SQLError):
                raise error.__cause__ from None
            raise

    async def send(
        self, queue: str, messages: Sequence[Outgoing], delay_seconds: float | None, key: str | None, connection: Any
    ) -> Sent:
        """Send in the transaction of a connection, or without one in a transaction of its own; see `DirectQueue`."""
        parcel = Parcel(self._account, queue, messages, delay_seconds, key)
        if connection is None:
            return await self.write(lambda writing: _send(writing.work, parcel))
        if self._callers is None:
            raise InvalidInput(
                "SQLite has one writer, which has a connection of its own; use database.write(fn) instead"
            )
        return _sent(await self._callers.send(connection, parcel))


class DirectQueue:
    """A queue as a program sees it that has the database in its own hands."""

    def __init__(self, database: Database, name: str) -> None:
        self._database, self.name = database, name

    async def send(
        self,
        body: object,
        *,
        connection: Any = None,
        content_type: str = "json",
        delay_seconds: float | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SendOptions],
    ) -> Sent:
        """Send one message, perhaps with the options of `SendOptions`.

        With `connection` it is sent in the transaction that is open there: committed with it, undone with it, and
        nobody is told of it before. Without, it is on disk when this returns.

        Args:
            body: What goes with the content type.
            connection: Of asyncpg, of psycopg 3, or of SQLAlchemy on one of them; a session of SQLAlchemy, too.
            content_type: json, text, bytes or v8.
            delay_seconds: 0 to 86,400; None is the queue's own delay.
            idempotency_key: A repeat within 24 h stores nothing, and gives the id of the first time.
            options: See `SendOptions`.

        Raises:
            QueueNotFound: the account has no such queue.
            InvalidMessage, MessageTooLarge: a body, delay or option that is none.
            BacklogFull: the queue's own limit, or that of one that it forwards to.
            IdempotencyKeyReused: the key stands for another message.
            InvalidInput: a connection without a transaction, to another database, or of another driver.
            StoreUnavailable: it could not be committed. Errors of a connection that was given are its driver's own.
        """
        message = make_outgoing(body, content_type, delay_seconds, **options)
        return await self._database.send(self.name, [message], None, idempotency_key, connection)

    async def send_batch(
        self,
        messages: Iterable[Mapping[str, Any]],
        *,
        connection: Any = None,
        delay_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> Backlog:
        """Send 1 to 100 messages, all or none, each a mapping with `body` and perhaps what else `send` takes.

        Raises:
            BatchCountWrong, BatchTooLarge, InvalidBatchDelay: of the whole; and all that `send` raises.
        """
        outgoing = [read_outgoing(message) for message in messages]
        sent = await self._database.send(self.name, outgoing, delay_seconds, idempotency_key, connection)
        return sent.backlog


async def _open_postgres(url: str, account: str, stack: AsyncExitStack) -> Database:
    try:
        from millrace.callers import Callers  # noqa: PLC0415 - the driver is an extra
        from millrace.sql.postgres.borrowed import home_of  # noqa: PLC0415
        from millrace.sql.postgres.cursors import Cursors  # noqa: PLC0415
        from millrace.sql.postgres.visiting import Visitor, check_version  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"the driver of PostgreSQL is missing ({error.name}); install Millrace with its extra: pip install '.[postgres]'"
        ) from error
    cursors = Cursors()
    visitor = Visitor(url, cursors)
    stack.push_async_callback(visitor.close)
    await asyncio.to_thread(check_version, url)
    callers = Callers(await visitor.read(home_of), cursors)
    stack.callback(callers.close)
    return Database(visitor, _database_clock, callers, account)


def _open_sqlite(folder: Path, account: str, stack: AsyncExitStack) -> Database:
    stack.enter_context(lock_directory(folder))
    prepared = prepare_directory(folder)
    clock = clock_after(prepared.last)
    database = SqliteDatabase(str(prepared.database), clock)
    stack.push_async_callback(database.close)
    return Database(database, lambda tx: clock, None, account)


def _database_clock(tx: Transaction) -> Clock:
    """Give the time of the database as it is now, for one transaction."""
    now_ms: int = tx.fetch("database_now")[0][0]
    return lambda: now_ms


def _send(work: Work, parcel: Parcel) -> Sent:
    return _sent(store(work.tx, accept(work.tx, parcel, work.now_ms)))


def _sent(stored: Stored) -> Sent:
    return Sent(stored.first_id, stored.first_key, stored)
