"""`millrace doctor` has a line for each thing it looks at, and says what to do about what is wrong."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from millrace.cli.applications import SCHEMAS
from millrace.cli.arguments import make_parser
from millrace.cli.doctor import NAMES, run
from millrace.clock import wall_ms
from millrace.moving.moves import reading
from millrace.moving.places import Place, place_of
from millrace.moving.symptoms import database, listening
from millrace.sql.postgres.preparing import prepare as prepare_postgres
from tests.cli.furnished import furnish
from tests.clusters import fresh_database, template_database
from tests.support import Server


@pytest.fixture
def empty() -> Iterator[Place]:
    template = template_database("all_applications", partial(prepare_postgres, schemas=SCHEMAS))
    with fresh_database(template) as url:
        yield place_of(url)


class Told(NamedTuple):
    """What the command printed."""

    code: int
    out: str

    @property
    def lines(self) -> dict[str, dict[str, str]]:
        return {line["what"]: line for line in json.loads(self.out)}


@pytest.fixture
def doctor(monkeypatch, capfd, tmp_path) -> Callable[..., Told]:
    """The command in this process, in a folder of its own and with nothing of ours in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def look(*arguments: str | Path, **environ: str) -> Told:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        code = run(make_parser("millrace").parse_args(["doctor", *map(str, arguments)]))
        return Told(code, capfd.readouterr().out)

    return look


def test_a_directory_with_a_server_at_work_is_well(doctor, tmp_path):
    with Server(tmp_path / "data") as server:
        server.create_queue("orders", consumer={"type": "http_pull"})

        told = doctor("--data", tmp_path / "data", "--json")

    assert told.code == 0
    assert [line for line in told.lines.values() if line["state"] != "ok" and line["what"] != "commit"] == []
    assert told.lines.keys() >= {"millrace", "open files", "settings", "handlers", "disk", "schema", "store", "commit"}
    assert told.lines["servers"]["found"] == f"one is at work on {tmp_path / 'data'}"


def test_dead_letters_and_the_age_of_a_queue_are_told(doctor, tmp_path):
    furnish(tmp_path / "data", messages=100)

    told = doctor("--data", tmp_path / "data")

    assert told.code == 0
    assert "WARN  dead letters in dead: 20 messages" in told.out
    assert "redrive them once their fault is mended" in told.out
    assert "ok    queue orders: 583 messages, the oldest sent" in told.out


def test_no_secret_is_shown(doctor, tmp_path):
    environ = {
        "ADMIN_TOKEN": "sk_live_hidden",
        "MASTER_KEY": "hidden-too",
        "DATABASE_URL": "postgresql://u:hidden@nowhere.invalid/d",
    }

    told = doctor(**environ)

    assert told.code == 1
    assert "ADMIN_TOKEN" in told.out
    assert "hidden" not in told.out
    assert "FAIL  store: the database" in told.out


def test_a_wrong_setting_fails(doctor, tmp_path):
    told = doctor(PORT="many")

    assert told.code == 1
    assert "FAIL  settings: PORT is 'many'" in told.out


def test_a_wrangler_file_that_would_stop_a_start_fails(doctor, tmp_path):
    (tmp_path / "wrangler.toml").write_text("name = 3\n")

    told = doctor()

    assert told.code == 1
    assert "FAIL  handlers: " in told.out


def test_a_database_tells_of_its_servers_connections_and_speed(doctor, empty, tmp_path):
    with psycopg.connect(empty.location) as connection:
        connection.execute(
            "insert into servers values ('x', (extract(epoch from clock_timestamp()) * 1000)::bigint, '{}', 'host 17')"
        )

    told = doctor("--store", empty.location, "--json")
    found = told.lines

    assert found["servers"]["found"] == "host 17"
    assert found["leader"]["state"] == "warn"
    assert found["database"]["found"].startswith("PostgreSQL ")
    assert found["wake-ups"]["found"] == "by LISTEN"
    assert {found[what]["state"] for what in ("clock", "connections", "commit", "schema", "store")} == {"ok"}


def test_a_database_that_is_not_migrated_says_so(doctor, tmp_path):
    with fresh_database() as url:
        told = doctor("--store", url)

    assert "WARN  schema: millrace 0" in told.out
    assert "run millrace db migrate" in told.out


def test_a_clock_that_is_an_hour_off_is_told(empty):
    with reading(empty) as side:
        found = {line.what: line for line in database(side, lambda: wall_ms() + 3_600_000)}

    assert found["clock"].state == "warn"
    assert found["clock"].found.startswith("3600.")
    assert found["clock"].found.endswith("ahead of the database's")


def test_a_pooler_without_a_direct_url_is_told():
    assert listening(pooled=True, direct_pooled=None).advice.startswith("set DIRECT_DATABASE_URL")
    assert listening(pooled=True, direct_pooled=True).state == "warn"
    assert listening(pooled=True, direct_pooled=False).state == "ok"
