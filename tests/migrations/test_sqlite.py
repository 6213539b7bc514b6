"""Databases of older programs are brought to this program's schema, with what is in them."""

from pathlib import Path

import apsw
import pytest

from millrace.idempotency import Once
from millrace.message import HIGH, Lease
from millrace.settlement import Ack
from millrace.sql.schemas import migrations
from millrace.sql.sqlite.connection import prepare
from millrace.sql.stores import sqlite_store
from tests.conformance.conftest import ManualClock
from tests.conformance.made import stamped

LETTERS, DEAD = "0" * 31 + "1", "0" * 31 + "3"
OLD = sorted(Path(__file__).parent.glob("written_by_*.sql"))


def lay_down(written: Path, path: Path) -> Path:
    """Make the database that an older program has left."""
    connection = apsw.Connection(str(path))
    connection.execute(written.read_text())
    connection.close()
    return path


def schema_of(path: Path) -> list[tuple[str, str]]:
    connection = apsw.Connection(str(path))
    rows = connection.execute("select name, sql from sqlite_schema order by name").fetchall()
    connection.close()
    return rows


def version_of(path: Path) -> int:
    connection = apsw.Connection(str(path))
    version = connection.pragma("user_version")
    connection.close()
    return version


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(request, tmp_path):
    return lay_down(request.param, tmp_path / "store.db")


def test_migrations_are_numbered_from_one_without_a_gap():
    numbers = [number for number, _, _ in migrations()]

    assert numbers == list(range(1, len(numbers) + 1))


def test_an_old_database_gets_the_schema_of_a_new_one(old, tmp_path):
    prepare(str(old), None)
    prepare(str(tmp_path / "new.db"), "new")

    assert schema_of(old) == schema_of(tmp_path / "new.db")
    assert version_of(old) == migrations()[-1][0]


def test_a_second_start_migrates_nothing(old):
    prepare(str(old), None)
    before = old.read_bytes()

    prepare(str(old), None)

    assert (old.read_bytes(), version_of(old)) == (before, migrations()[-1][0])


async def test_messages_leases_and_delays_of_an_old_database_go_on(old):
    prepare(str(old), None)
    clock = ManualClock()
    store = sqlite_store(str(old), clock)

    received = await store.receive(LETTERS, 10, 30_000, clock())
    settled = await store.settle(LETTERS, [(Lease(8796093022209, 77), Ack())], clock())
    later = await store.receive(LETTERS, 10, 30_000, clock.advance(3600))
    redriven, _ = await store.redrive(DEAD, clock())

    assert [(message.body, message.headers) for message in received.messages] == [(b"ready", {"X-Correlation-ID": "c"})]
    assert settled != [None]
    assert {message.body for message in later.messages} == {b"ready", b"delayed"}
    assert (redriven, (await store.backlog(LETTERS)).count) == (1, 3)
    await store.close()


async def test_an_old_database_takes_idempotency_keys(old):
    prepare(str(old), None)
    clock = ManualClock()
    store = sqlite_store(str(old), clock)
    once = Once(key_hash=b"k" * 32, content_hash=b"c" * 32)

    for _ in range(2):
        backlog = await store.send(LETTERS, [stamped(clock())], once)

    assert backlog.count == 4
    await store.close()


async def test_an_old_queue_takes_messages_with_features(old):
    prepare(str(old), None)
    clock = ManualClock()
    store = sqlite_store(str(old), clock)
    messages = [stamped(clock(), body, ordering_key="a", priority=HIGH) for body in (b"first", b"second")]

    await store.send(LETTERS, messages)
    received = await store.receive(LETTERS, 10, 30_000, clock())

    assert [message.body for message in received.messages] == [b"first", b"ready"]
    await store.close()


def test_a_server_migrates_an_old_data_directory_when_it_starts(stopped):
    stopped.data.mkdir()
    database = lay_down(OLD[0], stopped.data / "millrace.db")
    (stopped.data / "millrace.marker").write_text('{"store_id": "01a2023af91a7365bbb6ea2e389d6ebf"}')

    with stopped.start() as server:
        assert server.v4("POST", f"/queues/{LETTERS}/messages", {"body": 1}, headers={"Idempotency-Key": "k"}).result
        assert version_of(database) == migrations()[-1][0]
