"""`millrace db copy`: a store is the same elsewhere, back home, and after a kill in the middle."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import psycopg
import pytest

from millrace.cli.applications import SCHEMAS
from millrace.errors import StoreRefused
from millrace.moving import postgres, sqlite
from millrace.moving.moves import reading
from millrace.moving.places import Place, place_of
from millrace.moving.tables import BY_NAME, POSTGRES_ONLY
from millrace.settlement import Ack
from millrace.sql.lanes import LANE_SHIFT
from millrace.sql.postgres.preparing import prepare as prepare_postgres
from millrace.sql.sqlite.directory import lock_directory, prepare_directory
from tests.cli.commands import run
from tests.cli.furnished import NAMES, NOW_MS, Furnished, copied, faults_in, furnish, opened, told_by
from tests.clusters import fresh_database, template_database
from tests.conformance.conftest import ManualClock
from tests.conformance.made import stamped

KILLED = """
import os, signal, sys
from millrace.cli.applications import SCHEMAS
from millrace.clock import wall_ms
from millrace.moving.moves import move
from millrace.moving.places import place_of

def watch(progress):
    if (progress.stage, progress.table) == (sys.argv[3], "messages") and progress.rows >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

move(place_of(sys.argv[1]), place_of(sys.argv[2]), SCHEMAS, wall_ms, watch)
"""


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    return furnish(tmp_path_factory.mktemp("house"))


@pytest.fixture
def empty() -> Iterator[Place]:
    """A PostgreSQL database with the tables of a store, and nothing in them."""
    template = template_database("all_applications", partial(prepare_postgres, schemas=SCHEMAS))
    with fresh_database(template) as url:
        yield place_of(url)


def url_of(place: Place) -> str:
    return f"sqlite:///{place}" if place.kind == "sqlite" else place.location


def killed(source: Place, target: Place, stage: str, rows: int) -> None:
    """Copy in a process that is killed once so many rows of messages are copied, or compared."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, url_of(source), url_of(target), stage, str(rows)], check=False, timeout=30
    )
    assert done.returncode == -9


def test_a_store_is_the_same_in_postgres_and_back_home(furnished, empty, tmp_path):
    home = Place("sqlite", str(tmp_path / "home" / "millrace.db"))

    copied(furnished.place, empty)
    copied(empty, home)

    assert told_by(home) == told_by(furnished.place)
    assert faults_in(empty) == faults_in(home) == []
    prepare_directory(home.path.parent, SCHEMAS)  # as `millrace serve` begins: the marker fits


def test_a_store_moves_from_one_postgres_to_another(furnished, empty):
    copied(furnished.place, empty)

    with fresh_database() as url:
        copied(empty, place_of(url))

        assert told_by(place_of(url)) == told_by(furnished.place)


async def test_the_copy_goes_on_where_the_store_was(furnished, empty):
    copied(furnished.place, empty)
    clock = ManualClock(NOW_MS)
    store = opened(empty, clock)

    settled = await store.settle(furnished.queue_id, [(lease, Ack()) for lease in furnished.leases], clock())
    sent = await store.send(furnished.queue_id, [stamped(clock(), b"new")])
    received = await store.receive(furnished.queue_id, 100, 1_000, clock())
    redriven, _ = await store.redrive(furnished.dead_queue_id, clock())
    await store.close()

    assert None not in settled
    assert sent.first_key & ((1 << LANE_SHIFT) - 1) >= numbers_of(furnished).next_number
    assert len(received.messages) == 100
    assert redriven == 20


def numbers_of(furnished: Furnished):
    with reading(furnished.place) as side:
        return side.numbers()


def test_backlogs_that_are_not_folded_are_brought_over_summed_up(furnished, empty, tmp_path):
    copied(furnished.place, empty)
    with psycopg.connect(empty.location) as connection:
        connection.execute(
            "insert into backlog_changes (lane, count, bytes) select lane, 3, 30 from lanes where lane = 1"
        )
        connection.execute(
            "update lanes set backlog_count = backlog_count - 3, backlog_bytes = backlog_bytes - 30 where lane = 1"
        )
    home = Place("sqlite", str(tmp_path / "other.db"))

    copied(empty, home)

    assert told_by(home)["lanes"] == told_by(furnished.place)["lanes"]


@pytest.mark.parametrize(("stage", "rows"), [("copying", 2_000), ("comparing", 1_000)])
def test_a_copy_that_was_killed_goes_on(furnished, empty, stage, rows):
    killed(furnished.place, empty, stage, rows)
    with pytest.raises(StoreRefused, match="has not come to its end"):
        prepare_postgres(empty.location, SCHEMAS)  # as a server would begin

    told = copied(furnished.place, empty)

    assert min((progress.rows for progress in told if progress.stage == "copying"), default=9_999) > rows
    assert told_by(empty)["messages"] == told_by(furnished.place)["messages"]


def test_a_copy_into_a_file_that_was_killed_goes_on_and_no_file_has_the_name_before(furnished, tmp_path):
    target = Place("sqlite", str(tmp_path / "millrace.db"))
    killed(furnished.place, target, "copying", 1_000)
    assert not target.path.exists()

    told = copied(furnished.place, target)

    assert min(progress.rows for progress in told if progress.stage == "copying") > 1_000
    assert told_by(target) == told_by(furnished.place)


def test_a_copy_does_not_go_on_once_its_source_was_used(furnished, tmp_path):
    shutil.copytree(furnished.place.path.parent, tmp_path / "source")
    source = Place("sqlite", str(tmp_path / "source" / "millrace.db"))
    target = Place("sqlite", str(tmp_path / "millrace.db"))
    killed(source, target, "copying", 1_000)
    with sqlite.writing(source.path) as side, side.transaction():
        side.tx.apply("set_stamp", (1 << 30, NOW_MS + 1, 0))

    with pytest.raises(StoreRefused, match="was used after this copy had begun"):
        copied(source, target)


def test_a_finished_copy_says_so(furnished, empty):
    first = run("db", "copy", "--from", url_of(furnished.place), "--to", url_of(empty))

    second = run("db", "copy", "--from", url_of(furnished.place), "--to", url_of(empty))

    assert first.code == second.code == 0
    assert "both sides are the same" in first.out
    assert "copying messages: " in first.error
    assert "is a copy already, finished at 20" in second.out


def test_a_finished_copy_of_a_store_that_was_used_since_is_no_copy_of_it(furnished, empty, tmp_path):
    home = Place("sqlite", str(tmp_path / "millrace.db"))
    copied(furnished.place, empty)
    copied(empty, home)
    with psycopg.connect(empty.location) as connection:
        connection.execute("delete from messages where lane = 2")

    with pytest.raises(StoreRefused, match="used since, and nothing was changed"):
        copied(empty, home)


def test_a_target_that_holds_a_store_is_left_alone(furnished, empty, tmp_path):
    with psycopg.connect(empty.location) as connection:
        connection.execute("insert into lanes (lane) values (7)")
    taken = Place("sqlite", str(prepare_directory(tmp_path, SCHEMAS).database))

    for target in (empty, taken):
        with pytest.raises(StoreRefused, match="nothing was changed"):
            copied(furnished.place, target)


def test_a_store_with_a_server_at_work_is_not_copied(furnished, empty, tmp_path):
    with psycopg.connect(empty.location) as connection:
        connection.execute(
            "insert into servers values ('x', (extract(epoch from clock_timestamp()) * 1000)::bigint, '{}', '')"
        )
    free = Place("sqlite", str(tmp_path / "free.db"))

    with lock_directory(furnished.place.path.parent), pytest.raises(StoreRefused, match="another server"):
        copied(furnished.place, free)
    with pytest.raises(StoreRefused, match="1 server was at work"):
        copied(empty, free)
    with pytest.raises(StoreRefused, match="1 server was at work"):
        copied(furnished.place, empty)


def test_a_database_that_is_not_yet_migrated_is_filled_and_an_empty_one_is_no_source(furnished, tmp_path):
    with fresh_database() as url:
        with pytest.raises(StoreRefused, match="holds no store"):
            copied(place_of(url), Place("sqlite", str(tmp_path / "free.db")))

        copied(furnished.place, place_of(url))

        assert faults_in(place_of(url)) == []


def test_a_source_of_an_older_schema_is_to_be_migrated_first(furnished, empty, tmp_path):
    shutil.copytree(furnished.place.path.parent, tmp_path / "old")
    old = Place("sqlite", str(tmp_path / "old" / "millrace.db"))
    with sqlite.writing(old.path) as side, side.transaction():
        side._connection.execute("update schema_migrations set version = version - 1 where name = 'jobs'")

    with pytest.raises(StoreRefused, match="run millrace db migrate there first"):
        copied(old, empty)


def test_a_text_that_postgres_does_not_take_is_named(furnished, empty, tmp_path):
    shutil.copytree(furnished.place.path.parent, tmp_path / "odd")
    odd = Place("sqlite", str(tmp_path / "odd" / "millrace.db"))
    with sqlite.writing(odd.path) as side, side.transaction():
        side._connection.execute("update claims set holder = 'a' || char(0) || 'b' where key = 'key Ω 3'")

    with pytest.raises(StoreRefused, match=r"U\+0000.*COPY claims, line 3"):
        copied(odd, empty)


def test_both_databases_have_the_tables_that_a_copy_brings_over(empty):
    with postgres.reading(empty.location) as side:
        there = {
            row[0]
            for row in side._connection.execute(
                "select relname::text from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace"
            )
        }

    assert there - POSTGRES_ONLY - BY_NAME == set(NAMES)
