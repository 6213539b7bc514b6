"""Messages that are sent in the transaction of a program's own connection, on every driver that is taken."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import asyncpg
import psycopg
import pytest
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
from millrace.message import Backlog
from millrace.queue import Queue, QueueSettings
from millrace.redriving import ALL
from millrace.sql.postgres import connection as connections
from millrace.sql.postgres.preparing import prepare
from millrace.sql.store import SqlStore
from millrace.sql.stores import postgres_store
from tests.clusters import emptied_database, fresh_database, template_database
from tests.support import ROOT

WOKEN_SECONDS = 0.2
KEPT = "select count(*) from orders"


def _with_orders(url: str) -> None:
    """Bring in our tables, and one of the program itself."""
    prepare(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table orders (number bigint primary key)")


@pytest.fixture
def url() -> Iterator[str]:
    with fresh_database(template_database("callers", _with_orders)) as made:
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


async def waiting(database: Database) -> int:
    """Count the messages that the queue has by now, as others see it."""
    return (await database.backlog("orders")).count


def orders(url: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute(KEPT).fetchone()[0]
