"""What a database may refuse or put off, and what callers of the store are told: others, later calls and threads are well."""

import asyncio
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from scripts.cluster import Cluster, clusters_folder, owned

from millrace.errors import MillraceError, StoreUnavailable
from millrace.idempotency import Once
from millrace.sql import groups
from millrace.sql.postgres import connection as connections
from millrace.sql.postgres import database as databases
from millrace.sql.postgres import hearing
from millrace.sql.postgres.preparing import prepare
from millrace.sql.store import SqlStore
from millrace.sql.stores import postgres_store
from millrace.sql.transaction import Transaction
from tests.acceptance.database_wire import DatabaseWire
from tests.conformance.made import queue, stamped

NOW_MS = 1_700_000_000_000
SHORT_SECONDS = 0.5
DISK_BYTES = 16 * 1024 * 1024
SECRET = "a-value-that-no-log-may-see"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with clusters_folder() as folder, Cluster.make(folder / "a", listen=True) as running:
        prepare(running.create_database("engine"))
        running.run_sql("alter system set deadlock_timeout = '20ms'")
        running.run_sql("select pg_reload_conf()")
        yield running


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    yield cluster.create_database("tried", template="engine")
    cluster.drop_database("tried")


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    opened = postgres_store(url, lambda: NOW_MS)
    yield opened
    await opened.close()


async def test_an_operators_lock_costs_503_within_its_limit_and_nothing_else(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.SETTINGS, "lock_timeout", "300")
    store = postgres_store(url, lambda: NOW_MS)
    made = await store.create_queue(queue())
    with psycopg.connect(url) as operator:
        operator.execute("lock table messages")

        with pytest.raises(StoreUnavailable, match="locked for too long; look for a transaction that was left open"):
            await store.send(made.id, [stamped(NOW_MS)])
        operator.rollback()
        stored = await store.send(made.id, [stamped(NOW_MS)])

    assert stored.count == 1
    await store.close()


async def test_who_is_in_a_deadlock_tries_again(store: SqlStore) -> None:
    await store.write(lambda tx: tx.execute("create table two (id bigint primary key, times bigint)"))
    await store.write(lambda tx: tx.execute("insert into two values (1, 0), (2, 0)"))
    both = threading.Barrier(2)

    def crossed(first: int, then: int) -> Any:
        tries = iter((both.wait, *[lambda: None] * 9))

        def act(tx: Transaction) -> None:
            update = "update two set times = times + 1 where id = $1 returning 1"
            tx.execute(update, [first])
            next(tries)()
            tx.execute(update, [then])

        return act

    await asyncio.gather(store.write(crossed(1, 2)), store.write(crossed(2, 1)))

    assert await store.read(lambda tx: tx.execute("select times from two")) == [(2,), (2,)]


async def test_a_mistake_in_a_statement_is_told_to_its_caller_without_values_and_harms_nobody_else(
    store: SqlStore,
) -> None:
    made = await store.create_queue(queue())
    database = store._database

    answers = await asyncio.gather(
        store.send(made.id, [stamped(NOW_MS)]),
        database.write_checked(lambda tx: tx.execute("select $1::text::bigint", [SECRET])),
        store.send(made.id, [stamped(NOW_MS)]),
        store.write(lambda tx: tx.execute("select $1 from nowhere", [SECRET])),
        store.read(lambda tx: tx.execute("select 1 / 0")),
        return_exceptions=True,
    )

    assert [type(answer).__name__ for answer in answers] == [
        "Stored",
        "RuntimeError",
        "Stored",
        "StoreUnavailable",  # a table that is missing is a migration that was not run
        "RuntimeError",
    ]
    assert SECRET not in "".join(map(str, answers))
    await store.check()


async def test_a_column_that_a_newer_server_has_added_disturbs_no_older_one(store: SqlStore, cluster: Cluster) -> None:
    cluster.run_sql("create table growing (id bigint)", database="tried")

    def read_all() -> list[Any]:
        return [store.read(lambda tx: tx.execute("select * from growing")) for _ in range(20)]

    await asyncio.gather(*read_all())
    cluster.run_sql("alter table growing add added text", database="tried")

    assert await asyncio.gather(*read_all()) == [[]] * 20


async def test_a_server_that_became_read_only_is_left_and_found_again(store: SqlStore, cluster: Cluster) -> None:
    made = await store.create_queue(queue())
    await store.send(made.id, [stamped(NOW_MS)])

    cluster.run_sql("alter database tried set default_transaction_read_only = on")
    cluster.run_sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'tried'")
    with pytest.raises(StoreUnavailable, match="is a standby or read-only; name all hosts in the URL"):
        await store.send(made.id, [stamped(NOW_MS)])
    cluster.run_sql("alter database tried set default_transaction_read_only = off")
    await asyncio.sleep(connections.REFUSED_SECONDS)

    assert (await store.send(made.id, [stamped(NOW_MS)])).count == 2


async def test_a_commit_whose_answer_was_lost_is_told_as_unknown_and_its_repeat_stores_nothing(
    url: str, cluster: Cluster
) -> None:
    with DatabaseWire(cluster.port) as wire:
        store = postgres_store(wire.url("tried"), lambda: NOW_MS)
        made = await store.create_queue(queue())
        message, once = stamped(NOW_MS), Once(key_hash=b"k" * 32, content_hash=b"c" * 32)
        while True:  # a commit in the background may be the one that is lost
            wire.lose_next_commit()
            try:
                await store.send(made.id, [stamped(NOW_MS)])
            except StoreUnavailable as error:
                assert "nobody knows" in str(error)  # noqa: PT017
                break
        before = (await store.backlog(made.id)).count

        await store.send(made.id, [message], once)
        await store.send(made.id, [message], once)

        assert (await store.backlog(made.id)).count == before + 1
        await store.close()


async def test_nobody_waits_for_ever_for_a_database_that_does_not_answer(
    url: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (groups, databases):
        monkeypatch.setattr(module, "ANSWER_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(groups, "LOOK_SECONDS", 0.1)
    with DatabaseWire(cluster.port) as wire:
        store = postgres_store(wire.url("tried"), lambda: NOW_MS)
        made = await store.create_queue(queue())

        wire.freeze()
        began = time.monotonic()
        late = await asyncio.gather(
            store.send(made.id, [stamped(NOW_MS)]), store.backlog(made.id), return_exceptions=True
        )
        waited_seconds = time.monotonic() - began
        with pytest.raises(StoreUnavailable, match="still waits for a commit"):
            await store.send(made.id, [stamped(NOW_MS)])
        wire.thaw()

        assert all("nobody knows" in str(error) for error in late), late
        assert waited_seconds < 3 * SHORT_SECONDS
        assert await _sent(store, made.id) >= 2
        await store.close()


async def test_a_store_is_closed_though_the_database_does_not_answer(
    url: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(hearing, "CLOSE_SECONDS", 0.2)
    monkeypatch.setitem(connections.DEFAULTS, "connect_timeout", 2)  # the least that libpq allows
    with DatabaseWire(cluster.port) as wire:
        store = postgres_store(wire.url("tried"), lambda: NOW_MS)
        made = await store.create_queue(queue())
        wire.freeze()
        sending = asyncio.create_task(store.send(made.id, [stamped(NOW_MS)]))
        await asyncio.sleep(0)

        await store.close()

        with pytest.raises(StoreUnavailable):
            await sending
    left = [
        thread.name for thread in threading.enumerate() if thread.name.startswith(("millrace-writer", "millrace-pool"))
    ]
    assert not left


async def test_a_full_tablespace_refuses_with_a_sentence_and_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    with _small_disk(cluster.folder / "small") as disk:
        cluster.run_sql(f"create tablespace small location '{disk / 'space'}'")
        cluster.run_sql("create database tried template engine tablespace small strategy file_copy")
        store = postgres_store(cluster.url("tried"), lambda: NOW_MS)
        made = await store.create_queue(queue())
        accepted = 0
        try:
            _fill(disk / "ballast")
            while (refused := await _refusal(store, made.id)) is None:
                accepted += 1
            assert "has no room left on its disk; make room" in refused
            with pytest.raises(StoreUnavailable):
                await store.check()

            (disk / "ballast").unlink()
            accepted += 1

            assert await _refusal(store, made.id) is None
            assert (await store.backlog(made.id)).count == accepted
        finally:
            await store.close()
            cluster.drop_database("tried")
            cluster.run_sql("drop tablespace small")


async def _refusal(store: SqlStore, queue_id: str) -> str | None:
    """Send something big, and give the sentence that refuses it."""
    try:
        await store.send(queue_id, [stamped(NOW_MS, body=b"x" * 100_000)])
    except StoreUnavailable as error:
        return str(error)
    return None


async def _sent(store: SqlStore, queue_id: str) -> int:
    """Send one as soon as that is taken, and give how many there are."""
    while True:
        try:
            return (await store.send(queue_id, [stamped(NOW_MS)])).count
        except MillraceError:
            await asyncio.sleep(0.02)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small file system, where we may."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        owned(folder / "space")
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
