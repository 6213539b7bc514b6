"""`millrace db backup`, `restore`, `check`, `migrate` and `status`, on a directory and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import apsw
import psycopg
import pytest

from millrace.cli.applications import SCHEMAS
from millrace.errors import StoreRefused
from millrace.moving.backups import back_up, restore
from millrace.moving.checking import find_faults
from millrace.moving.places import Place, place_of
from millrace.moving.standing import script_for, versions_in
from millrace.sql.postgres.preparing import prepare as prepare_postgres
from millrace.sql.sqlite.directory import prepare_directory
from tests.cli.commands import run
from tests.cli.furnished import NOW_MS, Furnished, copied, faults_in, furnish, told_by
from tests.clusters import fresh_database, template_database
from tests.support import Server


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    return furnish(tmp_path_factory.mktemp("house"), messages=200)


@pytest.fixture
def own(furnished: Furnished, tmp_path: Path) -> Place:
    """A copy of the furnished directory that a test may spoil."""
    shutil.copytree(furnished.place.path.parent, tmp_path / "own")
    return Place("sqlite", str(tmp_path / "own" / "millrace.db"))


@pytest.fixture
def empty() -> Iterator[Place]:
    template = template_database("all_applications", partial(prepare_postgres, schemas=SCHEMAS))
    with fresh_database(template) as url:
        yield place_of(url)


def backed_up(place: Place, file: Path) -> dict[str, int]:
    return back_up(place, file, SCHEMAS, lambda: NOW_MS, lambda progress: None)


def restored(file: Path, place: Place, *, replace: bool = False) -> None:
    restore(file, place, SCHEMAS, lambda: NOW_MS, lambda progress: None, replace=replace)


def spoil(place: Place, statement: str) -> None:
    connection = apsw.Connection(place.location)
    connection.execute(statement)
    connection.close()


def test_a_backup_beside_a_running_server_is_restored_into_an_empty_directory(tmp_path):
    with Server(tmp_path / "data") as server:
        queue_id = server.create_queue("orders")
        server.v4("POST", f"/queues/{queue_id}/messages", {"body": "hello"})
        wrote = run("db", "backup", tmp_path / "b.db", "--data", tmp_path / "data")
        server.v4("POST", f"/queues/{queue_id}/messages", {"body": "after the backup"})

    done = run("db", "restore", tmp_path / "b.db", "--data", tmp_path / "new")

    assert "with 1 message of" in wrote.out, wrote
    assert "with 1 message of" in done.out, done
    assert not list(tmp_path.glob("b.db?*"))
    with Server(tmp_path / "new") as server:
        assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == 1


def test_a_backup_of_postgres_is_a_file_with_the_same_rows(furnished, empty, tmp_path):
    copied(furnished.place, empty)
    with psycopg.connect(empty.location) as connection:  # a server at work does not matter
        connection.execute(
            "insert into servers values ('x', (extract(epoch from clock_timestamp()) * 1000)::bigint, '{}', '')"
        )

    backed_up(empty, tmp_path / "b.db")

    assert told_by(Place("sqlite", str(tmp_path / "b.db"))) == told_by(furnished.place)
    assert [path.name for path in tmp_path.iterdir()] == ["b.db"]


def test_a_backup_overwrites_nothing(furnished, empty, tmp_path):
    (tmp_path / "b.db").write_text("precious")

    for place in (furnished.place, empty):
        with pytest.raises(StoreRefused, match="exists already; nothing was changed"):
            backed_up(place, tmp_path / "b.db")

    assert (tmp_path / "b.db").read_text() == "precious"


def test_a_restore_replaces_a_store_only_when_told_so(furnished, own, tmp_path):
    backed_up(furnished.place, tmp_path / "b.db")
    spoil(own, "delete from messages")

    refused = run("db", "restore", tmp_path / "b.db", "--data", own.path.parent)
    unconfirmed = run("db", "restore", tmp_path / "b.db", "--data", own.path.parent, "--replace")
    done = run("db", "restore", tmp_path / "b.db", "--data", own.path.parent, "--replace", "--yes")

    assert (refused.code, unconfirmed.code, done.code) == (1, 1, 0)
    assert "add --replace --yes" in refused.error
    assert told_by(own) == told_by(furnished.place)
    prepare_directory(own.path.parent, SCHEMAS)


def test_a_lost_database_is_restored_beside_its_marker_and_another_one_is_not(furnished, own, tmp_path):
    backed_up(furnished.place, tmp_path / "b.db")
    own.path.unlink()
    other = prepare_directory(tmp_path / "other", SCHEMAS).database
    other.unlink()

    restored(tmp_path / "b.db", own)
    with pytest.raises(StoreRefused, match="names another store"):
        restored(tmp_path / "b.db", Place("sqlite", str(other)))

    assert told_by(own) == told_by(furnished.place)


def test_a_restore_into_postgres_replaces_only_when_told_so(furnished, empty, tmp_path):
    backed_up(furnished.place, tmp_path / "b.db")
    restored(tmp_path / "b.db", empty)
    with psycopg.connect(empty.location) as connection:
        connection.execute("delete from messages")

    restored(tmp_path / "b.db", empty, replace=True)

    assert told_by(empty) == told_by(furnished.place)
    assert faults_in(empty) == []


def test_a_damaged_backup_is_not_restored(furnished, tmp_path):
    backed_up(furnished.place, tmp_path / "b.db")
    with (tmp_path / "b.db").open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xff" * 4096 * 10)

    with pytest.raises(StoreRefused, match="damaged"):
        restored(tmp_path / "b.db", Place("sqlite", str(tmp_path / "new" / "millrace.db")))

    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("update lanes set backlog_count = backlog_count + 1 where lane = 1", "queue orders counts 684 messages"),
        ("update messages set lane = 2 where key = (select min(key) from messages)", "1 messages lie in another lane"),
        ("update lanes set features = 0 where lane = 1", "lane 1 has ordered messages that nobody looks for"),
        ("update store set next_sequence = 5", "the next message would get number 5"),
        ("update audit_head set number = number + 1", "the audit trail is broken"),
        ("pragma foreign_keys = off; delete from lanes where lane = 2", "refers to one of lanes that is missing"),
    ],
)
def test_a_check_says_what_is_wrong(own, statement, fault):
    spoil(own, statement)

    faults = find_faults(own, SCHEMAS)

    assert [one for one in faults if fault in one], faults


def test_a_check_of_postgres_names_settings_rights_and_indexes(furnished, empty):
    copied(furnished.place, empty)
    with psycopg.connect(empty.location) as connection:
        connection.execute("update pg_index set indisvalid = false where indexrelid = 'messages_ready'::regclass")
        connection.execute("alter table messages set (autovacuum_enabled = false)")
        connection.execute("update lanes set backlog_bytes = 1 where lane = 2")

    faults = find_faults(empty, SCHEMAS)

    assert [fault.partition(";")[0] for fault in faults] == [
        "fsync of the database is off",
        "full_page_writes of the database is off",
        "index messages_ready is not valid",
        "autovacuum of table messages is off",
        "queue dead counts 20 messages of 1 bytes, and holds 20 of 365 bytes",
    ]


def test_a_user_without_rights_is_told_what_is_lacking(furnished, empty, cluster):
    copied(furnished.place, empty)
    with psycopg.connect(empty.location) as connection:
        connection.execute("do $$ begin create role weak login; exception when duplicate_object then end $$")
        connection.execute("grant select on all tables in schema public to weak")
        connection.execute("grant select on all sequences in schema public to weak")
    weak = place_of(empty.location.replace("user=postgres", "user=weak"))

    faults = find_faults(weak, SCHEMAS)

    assert "the user may not read and write table messages; grant select, insert, update and delete" in faults
    assert "the user may not use the sequence numbers; grant usage and update" in faults


def test_a_sound_store_passes_and_the_exit_code_tells(own, tmp_path):
    backed_up(own, tmp_path / "b.db")
    sound = run("db", "check", tmp_path / "b.db")
    spoil(own, "update store set next_sequence = 5")

    broken = run("db", "check", "--data", own.path.parent, "--json")

    assert (sound.code, sound.out) == (0, f"{tmp_path / 'b.db'} is sound\n")
    assert broken.code == 1
    assert '"ok": false' in broken.out


def test_migrate_prints_what_it_would_run_and_runs_it(tmp_path):
    with fresh_database() as url:
        script = run("db", "migrate", "--sql", environ={"DATABASE_URL": url})
        before = run("db", "status", "--store", url, "--json")

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(script.out)

        assert all("of the database is off" in fault for fault in find_faults(place_of(url), SCHEMAS))
        assert {one["present"] for one in before.json} == {0}
        assert run("db", "migrate", "--store", url).out == "nothing to apply\n"
        assert script_for(place_of(url), SCHEMAS) == ""
        assert not [version for version in versions_in(place_of(url), SCHEMAS) if version.pending]


def test_the_script_for_a_file_does_what_migrate_does(tmp_path):
    place = Place("sqlite", str(tmp_path / "millrace.db"))
    connection = apsw.Connection(place.location)
    connection.execute(script_for(place, SCHEMAS))
    connection.close()

    assert not [version for version in versions_in(place, SCHEMAS) if version.pending]


def test_a_place_is_told_from_what_is_none():
    for command in (["db", "status", "--store", "mysql://x"], ["db", "copy", "--from", "a.db", "--to", "b.db"]):
        done = run(*command)

        assert done.code == 1
        assert "expected sqlite:///path/millrace.db" in done.error
