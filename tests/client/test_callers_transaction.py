"""Messages that are sent in the transaction of a program's own connection, on every driver that is taken."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import apsw
import asyncpg
import psycopg
import pytest
from msgspec.structs import replace
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from millrace import Database
from millrace.clock import wall_ms
from millrace.errors import (
    BacklogFull,
    ConfigurationError,
    IdempotencyKeyReused,
    InvalidInput,
    QueueNotFound,
    StoreRefused,
    StoreUnavailable,
)
from millrace.queue import Forward
from millrace.sql.postgres import connection as connections
from millrace.sql.postgres.preparing import prepare
from millrace.sql.store import SqlStore
from millrace.sql.stores import postgres_store
from tests.clusters import emptied_database, fresh_database, template_database
from tests.support import ROOT

WOKEN_SECONDS = 0.2


def _with_orders(url: str) -> None:
    """Bring in our tables, and one of the program itself."""
    prepare(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table orders (number bigint primary key)")


@pytest.fixture
def url() -> Iterator[str]:
    with emptied_database(template_database("callers", _with_orders)) as made:
        yield made


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    """The store as a server elsewhere has it."""
    opened = postgres_store(url, wall_ms)
    yield opened
    await opened.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with Database.open(url) as opened:
        await opened.ensure_queue("orders")
        yield opened


def sqlalchemy_url(url: str, driver: str) -> str:
    return url.replace("postgresql://", f"postgresql+{driver}://")


@asynccontextmanager
async def asyncpg_of(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


class Caller:
    """A program's connection: `connection` is what it passes on; it can run a statement, commit and roll back."""

    def __init__(self, connection: Any, run: Any, commit: Any, rollback: Any) -> None:
        self.connection, self.run, self.commit, self.rollback = connection, run, commit, rollback


@asynccontextmanager
async def by_asyncpg(url: str) -> AsyncIterator[Caller]:
    async with asyncpg_of(url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield Caller(connection, connection.execute, transaction.commit, transaction.rollback)


@asynccontextmanager
async def by_asyncpg_pool(url: str) -> AsyncIterator[Caller]:
    async with asyncpg.create_pool(url, min_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield Caller(connection, connection.execute, transaction.commit, transaction.rollback)


@asynccontextmanager
async def by_psycopg(url: str) -> AsyncIterator[Caller]:
    connection = await psycopg.AsyncConnection.connect(url, row_factory=psycopg.rows.dict_row)
    async with connection:
        yield Caller(connection, connection.execute, connection.commit, connection.rollback)


@asynccontextmanager
async def by_plain_psycopg(url: str) -> AsyncIterator[Caller]:
    with psycopg.connect(url) as connection:
        yield Caller(connection, *map(later, (connection.execute, connection.commit, connection.rollback)))


@asynccontextmanager
async def by_sqlalchemy(url: str, driver: str) -> AsyncIterator[Caller]:
    engine = create_async_engine(sqlalchemy_url(url, driver))
    async with engine.connect() as connection:
        yield Caller(connection, lambda sql: connection.execute(text(sql)), connection.commit, connection.rollback)
    await engine.dispose()


@asynccontextmanager
async def by_session(url: str, driver: str) -> AsyncIterator[Caller]:
    engine = create_async_engine(sqlalchemy_url(url, driver))
    async with AsyncSession(engine) as session:
        yield Caller(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
    await engine.dispose()


@asynccontextmanager
async def by_plain_session(url: str) -> AsyncIterator[Caller]:
    engine = create_engine(sqlalchemy_url(url, "psycopg"))
    with Session(engine) as session:
        run = later(lambda sql: session.execute(text(sql)))
        yield Caller(session, run, later(session.commit), later(session.rollback))
    engine.dispose()


@asynccontextmanager
async def by_plain_sqlalchemy(url: str) -> AsyncIterator[Caller]:
    engine = create_engine(sqlalchemy_url(url, "psycopg"))
    with engine.connect() as connection:
        run = later(lambda sql: connection.execute(text(sql)))
        yield Caller(connection, run, later(connection.commit), later(connection.rollback))
    engine.dispose()


def later(fn: Callable[..., Any]) -> Callable[..., Any]:
    async def run(*arguments: Any) -> Any:
        return fn(*arguments)

    return run


CALLERS: dict[str, Callable[[str], Any]] = {
    "asyncpg": by_asyncpg,
    "asyncpg pool": by_asyncpg_pool,
    "psycopg": by_psycopg,
    "psycopg without asyncio": by_plain_psycopg,
    "SQLAlchemy on asyncpg": lambda url: by_sqlalchemy(url, "asyncpg"),
    "SQLAlchemy on psycopg": lambda url: by_sqlalchemy(url, "psycopg"),
    "session on asyncpg": lambda url: by_session(url, "asyncpg"),
    "session on psycopg": lambda url: by_session(url, "psycopg"),
    "session without asyncio": by_plain_session,
    "SQLAlchemy without asyncio": by_plain_sqlalchemy,
}


@pytest.fixture(params=CALLERS)
async def caller(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Caller]:
    async with CALLERS[request.param](url) as made:
        yield made


def found(url: str) -> tuple[int, int]:
    """Count the program's rows and the messages, as others see them."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select (select count(*) from orders), (select count(*) from messages)").fetchone()
        return row[0], row[1]


async def test_rows_and_messages_are_committed_together(url: str, database: Database, caller: Caller) -> None:
    await caller.run("insert into orders values (1)")
    await database.queue("orders").send({"order": 1}, connection=caller.connection, priority="high")
    await database.queue("orders").send_batch([{"body": 2}, {"body": 3}], connection=caller.connection)
    before = found(url)

    await caller.commit()

    assert before == (0, 0)
    assert found(url) == (1, 3)


async def test_rows_and_messages_are_rolled_back_together(url: str, database: Database, caller: Caller) -> None:
    await caller.run("insert into orders values (1)")
    await database.queue("orders").send({"order": 1}, connection=caller.connection, dedupe_key="order-1")

    await caller.rollback()

    assert found(url) == (0, 0)
    assert (await database.queue("orders").send({"order": 1}, dedupe_key="order-1")).key


async def test_a_consumer_elsewhere_is_woken_by_the_commit_and_not_before(
    url: str, database: Database, store: SqlStore
) -> None:
    queue = await store.queue_named("local", "orders")
    with store.watch(queue.id) as woken:
        await _until(url, "select 1 from servers where watched <> '{}'")
        async with by_asyncpg(url) as caller:
            await caller.run("select pg_sleep(0.2)")  # who begins to watch looks a second time by himself
            woken.clear()
            await database.queue("orders").send(1, connection=caller.connection)
            await caller.run("select pg_sleep(0.1)")
            before = woken.is_set()

            await caller.commit()
            committed_at = monotonic()
            await asyncio.wait_for(woken.wait(), 5)
            taken = monotonic() - committed_at

    assert not before
    assert taken < WOKEN_SECONDS
    assert len((await store.receive(queue.id, 10, 1000, wall_ms())).messages) == 1


async def test_a_send_without_a_connection_is_on_disk_and_wakes_consumers_elsewhere(
    url: str, database: Database, store: SqlStore
) -> None:
    queue = await store.queue_named("local", "orders")
    with store.watch(queue.id) as woken:
        await _until(url, "select 1 from servers where watched <> '{}'")

        sent = await database.queue("orders").send({"order": 1})

        await asyncio.wait_for(woken.wait(), 5)
    assert (await store.peek(queue.id, 1, wall_ms()))[0].id == sent.id


KILLED = """
import asyncio, sys
import asyncpg
from millrace import Database

async def main(url):
    async with Database.open(url) as database:
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            await connection.execute("insert into orders values (1)")
            await database.queue("orders").send({"order": 1}, connection=connection)
            print("sent", flush=True)
            await asyncio.sleep(60)

asyncio.run(main(sys.argv[1]))
"""


async def test_a_program_that_is_killed_before_its_commit_leaves_neither_row_nor_message(
    url: str, database: Database
) -> None:
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, url, stdout=subprocess.PIPE, cwd=ROOT)
    assert await program.stdout.readline() == b"sent\n"

    program.kill()

    await program.communicate()
    await _until(url, "select 1 where not exists (select 1 from pg_locks where locktype = 'advisory' and objsubid = 1)")
    assert found(url) == (0, 0)


async def test_a_queue_that_is_full_refuses_and_the_transaction_goes_on(
    url: str, database: Database, store: SqlStore
) -> None:
    await _change(store, max_backlog_messages=1)
    orders = database.queue("orders")

    async with by_asyncpg(url) as caller:
        await orders.send(1, connection=caller.connection)
        with pytest.raises(BacklogFull):
            await orders.send(2, connection=caller.connection)
        await caller.run("insert into orders values (1)")
        await caller.commit()

    assert found(url) == (1, 1)


async def test_messages_of_an_ordering_key_wait_for_each_other(url: str, database: Database, store: SqlStore) -> None:
    queue = await store.queue_named("local", "orders")
    async with by_psycopg(url) as caller:
        for number in (1, 2):
            await database.queue("orders").send(number, connection=caller.connection, ordering_key="customer-1")
        await caller.commit()

    received = await store.receive(queue.id, 10, 1000, wall_ms())

    assert [message.body for message in received.messages] == [b"1"]


async def test_a_queue_forwards_what_it_is_sent_in_a_transaction(url: str, database: Database, store: SqlStore) -> None:
    await database.ensure_queue("copies")
    await _change(store, forwards=(Forward(queue="copies"),))
    copies = await store.queue_named("local", "copies")

    async with by_asyncpg(url) as caller:
        await database.queue("orders").send(1, connection=caller.connection)
        await caller.commit()

    assert (await store.backlog(copies.id)).count == 1


async def test_a_repeat_with_an_idempotency_key_stores_nothing_and_gives_the_first_id(
    url: str, database: Database
) -> None:
    orders = database.queue("orders")
    first = await orders.send(1, idempotency_key="one")

    async with by_asyncpg(url) as caller:
        again = await orders.send(1, idempotency_key="one", connection=caller.connection)
        with pytest.raises(IdempotencyKeyReused):
            await orders.send(2, idempotency_key="one", connection=caller.connection)
        await caller.commit()

    assert again.id == first.id
    assert found(url) == (0, 1)


async def test_two_transactions_with_one_key_store_it_once(url: str, database: Database) -> None:
    orders = database.queue("orders")
    async with by_asyncpg(url) as one, by_psycopg(url) as other:
        first = await orders.send(1, dedupe_key="order-1", connection=one.connection)
        second = asyncio.create_task(orders.send(1, dedupe_key="order-1", connection=other.connection))
        await _until(url, "select 1 from pg_stat_activity where wait_event_type = 'Lock'")

        await one.commit()
        again = await second
        await other.commit()

    assert (again.id, again.key) == (first.id, 0)
    assert found(url) == (0, 1)


async def test_the_callers_settings_are_as_before(url: str, database: Database) -> None:
    names = ("search_path", "enable_seqscan", "enable_hashjoin", "plan_cache_mode", "lock_timeout")
    shown = "select " + ", ".join(f"current_setting('{name}')" for name in names)
    async with asyncpg_of(url) as connection, connection.transaction():
        await connection.execute("set local enable_hashjoin = off")
        before = await connection.fetchrow(shown)

        await database.queue("orders").send(1, connection=connection)
        with pytest.raises(QueueNotFound):
            await database.queue("no-such").send(1, connection=connection)

        assert await connection.fetchrow(shown) == before


async def test_our_tables_are_found_in_a_schema_of_their_own() -> None:
    with fresh_database() as callers:
        with psycopg.connect(callers, autocommit=True) as connection:
            connection.execute("create schema queues; create table messages (text text)")
        ours = f"{callers}&options=-csearch_path%3Dqueues"
        prepare(ours)

        async with Database.open(ours) as database, by_asyncpg(callers) as caller:
            await database.ensure_queue("orders")
            await database.queue("orders").send(1, connection=caller.connection)
            await caller.run("insert into messages values ('of the program itself')")
            await caller.commit()

        with psycopg.connect(callers) as connection:
            assert connection.execute("select count(*) from queues.messages").fetchone() == (1,)


async def test_codecs_of_the_callers_connection_do_no_harm(url: str, database: Database) -> None:
    async with asyncpg_of(url) as connection, connection.transaction():
        for name in ("json", "jsonb"):
            await connection.set_type_codec(name, encoder=repr, decoder=repr, schema="pg_catalog")

        sent = await database.queue("orders").send(1, connection=connection, idempotency_key="one", headers={"A": "b"})

    assert sent.key


@asynccontextmanager
async def _psycopg_in_autocommit(url: str) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def _sqlalchemy_in_autocommit(url: str) -> AsyncIterator[Any]:
    engine = create_async_engine(sqlalchemy_url(url, "asyncpg"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


AUTOCOMMIT = {"asyncpg": asyncpg_of, "psycopg": _psycopg_in_autocommit, "SQLAlchemy": _sqlalchemy_in_autocommit}


@pytest.mark.parametrize("driver", AUTOCOMMIT)
async def test_a_connection_without_a_transaction_is_refused(driver: str, url: str, database: Database) -> None:
    async with AUTOCOMMIT[driver](url) as connection:
        with pytest.raises(InvalidInput, match="no transaction open"):
            await database.queue("orders").send(1, connection=connection)

    assert found(url) == (0, 0)


async def test_psycopg_in_autocommit_may_open_a_transaction(url: str, database: Database) -> None:
    async with _psycopg_in_autocommit(url) as connection, connection.transaction():
        await database.queue("orders").send(1, connection=connection)

    assert found(url) == (0, 1)


async def test_a_connection_to_another_database_is_refused(url: str, database: Database) -> None:
    with (
        emptied_database(template_database("engine", prepare)) as another_store,
        fresh_database() as no_store,
    ):
        for other in (another_store, no_store):
            async with by_asyncpg(other) as caller:
                with pytest.raises(InvalidInput, match="another database"):
                    await database.queue("orders").send(1, connection=caller.connection)
                await caller.run("select 1")


async def test_a_transaction_that_does_not_see_others_commits_is_refused(url: str, database: Database) -> None:
    async with asyncpg_of(url) as connection, connection.transaction(isolation="serializable"):
        with pytest.raises(InvalidInput, match="is serializable; expected read committed"):
            await database.queue("orders").send(1, connection=connection)


async def test_what_is_no_connection_is_refused(url: str, database: Database) -> None:
    async with asyncpg.create_pool(url, min_size=1) as pool:
        for wrong in (pool, object(), "orders"):
            with pytest.raises(InvalidInput, match="expected a connection of asyncpg"):
                await database.queue("orders").send(1, connection=wrong)


async def test_errors_of_a_connection_are_its_drivers_own(url: str, database: Database) -> None:
    async with asyncpg_of(url) as closed:
        pass
    with pytest.raises(asyncpg.InterfaceError):
        await database.queue("orders").send(1, connection=closed)

    async with by_psycopg(url) as failed:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await failed.run("select * from no_such_table")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await database.queue("orders").send(1, connection=failed.connection)


async def test_a_purge_does_not_wait_for_ever_for_an_open_transaction(
    url: str, database: Database, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.SETTINGS, "lock_timeout", "100")
    hasty = postgres_store(url, wall_ms)
    queue = await hasty.queue_named("local", "orders")
    async with by_asyncpg(url) as caller:
        await database.queue("orders").send(1, connection=caller.connection)

        with pytest.raises(StoreUnavailable, match="look for a transaction that was left open"):
            await hasty.purge(queue.id, wall_ms())
        with pytest.raises(StoreUnavailable, match="look for a transaction that was left open"):
            await hasty.delete_queue("local", queue.id)
        await caller.commit()

    await hasty.purge(queue.id, wall_ms())
    assert (await hasty.backlog(queue.id)).count == 0
    await hasty.close()


async def test_a_send_that_is_cancelled_cannot_be_committed(url: str, database: Database) -> None:
    orders = database.queue("orders")
    async with by_asyncpg(url) as one, by_asyncpg(url) as other:
        await orders.send(1, ordering_key="a", connection=one.connection)
        waiting = asyncio.create_task(orders.send(2, ordering_key="a", connection=other.connection))
        await _until(url, "select 1 from pg_stat_activity where wait_event_type = 'Lock'")

        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await other.run("insert into orders values (1)")
        await other.rollback()
        await one.commit()
    assert found(url) == (0, 1)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "session without asyncio"])
async def test_a_send_that_is_cancelled_at_any_moment_leaves_nothing_in_halves(
    driver: str, url: str, database: Database, store: SqlStore
) -> None:
    for milliseconds in range(10):
        async with CALLERS[driver](url) as caller:
            sending = database.queue("orders").send(1, connection=caller.connection, ordering_key="a")
            with suppress(TimeoutError):
                await asyncio.wait_for(sending, milliseconds / 1000)
            with suppress(Exception):  # a transaction that has failed may say so, or roll back instead
                await caller.commit()

    queue = await store.queue_named("local", "orders")
    assert (await store.backlog(queue.id)).count == found(url)[1]


async def test_a_program_that_only_sends_is_no_server(url: str, database: Database) -> None:
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from servers").fetchone() == (0,)
        held = "select count(*) from pg_locks join pg_database on pg_database.oid = database"
        held += " where locktype = 'advisory' and datname = current_database()"
        assert connection.execute(held).fetchone() == (0,)


async def test_rows_and_messages_of_one_function_are_committed_together(url: str, database: Database) -> None:
    def order(writing: Any) -> str:
        writing.execute("insert into orders values ($1)", (1,))
        return writing.send("orders", {"order": 1}).id

    def order_again(writing: Any) -> None:
        writing.send("orders", {"order": 1})
        writing.execute("insert into orders values ($1)", (1,))

    sent = await database.write(order)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await database.write(order_again)

    assert sent
    assert found(url) == (1, 1)


async def test_a_database_without_tables_is_refused_with_what_to_do() -> None:
    with fresh_database() as empty, pytest.raises(StoreRefused, match="millrace db migrate"):
        async with Database.open(empty):
            pass


@pytest.mark.parametrize("wrong", ["mysql://localhost/queues", "sqlite:///data/other.db", "queues"])
async def test_a_url_of_something_else_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="expected postgresql://"):
        async with Database.open(wrong):
            pass


async def test_on_sqlite_the_program_that_owns_the_file_writes_both_in_one_function(tmp_path: Path) -> None:
    def order(writing: Any) -> None:
        writing.execute("create table if not exists orders (number integer primary key)")
        writing.execute("insert into orders values ($1)", (1,))
        writing.send("orders", {"order": 1}, priority="high")

    def again(writing: Any) -> None:
        writing.send_batch("orders", [{"body": 2}])
        writing.execute("insert into orders values ($1)", (1,))

    def count(writing: Any) -> tuple[int, int]:
        rows = writing.execute("select (select count(*) from orders), (select count(*) from messages)")
        return rows[0]

    async with Database.open(f"sqlite:///{tmp_path}/millrace.db") as database:
        await database.ensure_queue("orders")
        await database.write(order)
        with pytest.raises(apsw.ConstraintError):
            await database.write(again)

        assert await database.write(count) == (1, 1)
        with pytest.raises(InvalidInput, match=r"database\.write"):
            await database.queue("orders").send(1, connection=object())
        with pytest.raises(StoreRefused, match="another server"):
            async with Database.open(f"sqlite:///{tmp_path}/millrace.db"):
                pass


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "sqlalchemy", "sqlite"])
async def test_an_example_places_one_order_of_two(
    driver: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = import_module(f"examples.in_your_transaction_{driver}")
    with fresh_database(template_database("engine", prepare)) as made:
        url = f"sqlite:///{tmp_path}/millrace.db" if driver == "sqlite" else made

        await example.main(url)

        async with Database.open(url) as database:
            counts = "select (select count(*) from orders), (select count(*) from messages)"
            assert await database.write(lambda writing: writing.execute(counts)) == [(1, 1)]
    told = "order 1 is placed, and whoever packs it is told\nno order, and no message: nobody can carry that\n"
    assert capsys.readouterr().out == told


def test_a_program_without_asyncio_sends_in_a_session_of_sqlalchemy(url: str) -> None:
    engine = create_engine(sqlalchemy_url(url, "psycopg"))
    with asyncio.Runner() as runner, Session(engine) as session:
        opened = Database.open(url)
        database = runner.run(opened.__aenter__())
        runner.run(database.ensure_queue("orders"))

        session.execute(text("insert into orders values (1)"))
        runner.run(database.queue("orders").send({"order": 1}, connection=session))
        session.commit()

        runner.run(opened.__aexit__(None, None, None))
    engine.dispose()
    assert found(url) == (1, 1)


async def _change(store: SqlStore, **settings: Any) -> None:
    """Change settings of the queue, as a server elsewhere does."""
    queue = await store.queue_named("local", "orders")
    await store.update_queue(
        "local", queue.id, lambda found: replace(found, settings=replace(found.settings, **settings))
    )


async def _until(url: str, statement: str) -> None:
    """Wait until a statement finds something."""
    async with asyncpg_of(url) as connection:
        for _ in range(500):
            if await connection.fetch(statement):
                return
            await connection.execute("select pg_sleep(0.01)")
    raise AssertionError(statement)
