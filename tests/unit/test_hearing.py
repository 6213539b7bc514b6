"""Servers on one database hear of what the others change, from the first moment and after each cut of the line."""

import asyncio

import msgspec
import psycopg
import pytest

from millrace.sql.postgres import hearing
from millrace.sql.postgres.hearing import _payloads
from millrace.sql.postgres.preparing import prepare
from millrace.sql.stores import postgres_store
from millrace.testing import ManualClock
from tests.clusters import emptied_database, template_database

SOON_SECONDS = 3.0


@pytest.fixture
async def servers():
    """The URL of a database and two stores on it."""
    with emptied_database(template_database("engine", prepare)) as url:
        stores = [postgres_store(url, ManualClock()) for _ in range(2)]
        yield url, stores
        for store in stores:
            await store.close()


async def change(store, name):
    await store.write(lambda tx: tx.wake(name))


async def until_told(changed):
    async with asyncio.timeout(SOON_SECONDS):
        await changed.wait()


async def until_known(store, name):
    """Wait until a server knows that the name is watched elsewhere."""
    while name not in (store._database._ear._elsewhere or ()):  # noqa: ASYNC110 - only its thread knows
        await asyncio.sleep(0.005)


async def test_who_begins_to_watch_while_another_server_commits_looks_once_more(servers):
    _, (first, second) = servers

    for name in ("a", "b", "c"):
        with second.watch(name) as changed:
            await change(first, name)

            await until_told(changed)


async def test_who_is_known_to_watch_is_told_of_each_change(servers, monkeypatch):
    monkeypatch.setattr(hearing, "SECOND_LOOKS_SECONDS", ())
    _, (first, second) = servers
    with second.watch("x") as changed:
        await until_known(first, "x")
        for _ in range(3):
            changed.clear()

            await change(first, "x")

            async with asyncio.timeout(0.5):
                await changed.wait()


async def test_a_server_whose_line_was_cut_looks_at_all_it_watches_and_hears_again(servers, monkeypatch):
    monkeypatch.setattr(hearing, "SECOND_LOOKS_SECONDS", ())
    url, (first, second) = servers
    with second.watch("x") as changed:
        await until_known(first, "x")
        changed.clear()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                               " and datname = current_database() and application_name = 'millrace'")  # fmt: skip

        await until_told(changed)

        await until_known(first, "x")
        changed.clear()
        await change(first, "x")
        await until_told(changed)


def test_many_names_go_in_several_payloads_that_postgresql_takes():
    names = [f"state:local:run:{number:040}" for number in range(500)]

    payloads = _payloads("server ", names)

    assert all(len(payload) < 8_000 for payload in payloads)
    assert [name for payload in payloads for name in msgspec.json.decode(payload.partition(" ")[2])] == names
