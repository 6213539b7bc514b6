"""Servers with roles of their own on one PostgreSQL database, one coming after the other; in the end a newer program's.

And a data directory, which one server has to itself.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from millrace.apps.jobs.app import SCHEMA as JOBS
from millrace.sql.postgres.preparing import prepare
from millrace.sql.schemas import Schema, migrations
from tests.acceptance.crowd import Crowd, ask, ended, make_due, queue_id_of, send, wait_for
from tests.clusters import fresh_database
from tests.support import Server

TOKEN = "sk_live_the-token-of-the-environment"
MASTER_KEY = "11" * 32
SOON_SECONDS = 1.5  # "within a second", with time for the test itself


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with fresh_database() as url, closing(Crowd(tmp_path_factory.mktemp("roles"), url)) as made:
        yield made


@pytest.fixture(scope="module")
def api(roles: Crowd) -> Server:
    """A server without the program, which leads."""
    return roles.server("--role", "api", app=False, key=TOKEN)


@pytest.fixture(scope="module")
def consumer(roles: Crowd, api: Server) -> Server:
    """A server with the program and no ADMIN_TOKEN."""
    wait_for(lambda: ask(roles.url, "select 1 from locks where key = 'leader'"))
    return roles.server("--role", "consumer")


@pytest.fixture(scope="module")
def late(roles: Crowd, api: Server, consumer: Server) -> Server:
    """A server that comes to them with another ADMIN_TOKEN, and a master key."""
    return roles.server("--role", "api", app=False, key="sk_live_another-token", MASTER_KEY=MASTER_KEY)


def is_refused(server: Server, sentence: str) -> bool:
    """Wait for the end of a server that could not start, and say whether it gave this reason."""
    code = server.process.wait(20)
    wait_for(lambda: "millrace: " in server.text)
    return code == 1 and sentence in server.text


def test_a_server_with_role_api_runs_no_handler_and_one_with_role_consumer_answers_no_caller(
    roles: Crowd, api: Server, consumer: Server
) -> None:
    queue_id = queue_id_of(api, "plain")
    send(api, queue_id, "handled")

    wait_for(lambda: ended(roles, "plain") == ["handled"])

    paths = ("/livez", "/readyz", "/health", "/metrics", "/queues", "/api/tail", "/client/v4/accounts/local/queues")
    assert [consumer.call("GET", path, key=TOKEN).status for path in paths] == [200] * 4 + [404] * 3
    assert {call.process for call in roles.calls("plain")} == {str(consumer.process.pid)}


def test_a_server_with_role_consumer_sends_callers_elsewhere(consumer: Server) -> None:
    answer = consumer.call("GET", "/queues", key=TOKEN)

    assert answer.json["error"]["message"].endswith("; ask one of the role api or all.")
    assert "Send something" not in consumer.text


def test_what_only_consumers_run_is_led_by_a_server_that_knows_nothing_of_it(
    roles: Crowd, api: Server, consumer: Server
) -> None:
    [cron] = api.call("GET", "/api/crons").json["crons"]

    make_due(roles.url, minutes="*")
    wait_for(lambda: roles.calls("tick"), 5)

    assert cron["program"] == "tick"
    assert not any(line["level"] == "error" for line in api.log_lines())


def test_the_admin_token_of_the_server_that_started_last_counts_and_both_say_so(
    api: Server, consumer: Server, late: Server
) -> None:
    api.wait_for_text("ADMIN_TOKEN of this server was replaced", SOON_SECONDS)

    assert "ADMIN_TOKEN takes the place of another one" in late.text
    assert [api.v4("GET", "/queues", key=key).status for key in (TOKEN, late.key)] == [401, 200]


def test_a_server_that_lacks_the_master_key_of_the_others_does_not_start(roles: Crowd, late: Server) -> None:
    assert late.call("PUT", "/api/secrets/API_TOKEN", {"value": "x"}).status == 200

    assert is_refused(roles.server(wait=False), "set MASTER_KEY to that key")


def test_when_the_leader_is_killed_another_server_leads_within_two_seconds(
    roles: Crowd, api: Server, consumer: Server, late: Server
) -> None:
    before = len(roles.calls("tick"))
    api.kill()
    killed = time.monotonic()

    make_due(roles.url, minutes="*/1")
    wait_for(lambda: len(roles.calls("tick")) > before)

    assert time.monotonic() - killed < 2 + SOON_SECONDS


def test_servers_go_on_while_a_newer_schema_comes_and_an_older_program_does_not_start(
    roles: Crowd, late: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = migrations(JOBS, "postgres")
    folder = tmp_path / "newer_jobs" / "migrations" / "postgres"
    folder.mkdir(parents=True)
    for _, name, script in present:
        (folder / name).write_text(script)
    (folder / f"{present[-1][0] + 1:04}_more.sql").write_text("alter table runs add column more text")
    (tmp_path / "newer_jobs" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    run_id = late.call("POST", "/runs", {"tenantId": "acme"}).json["runId"]

    applied = prepare(roles.url, [Schema("jobs", "newer_jobs")])

    assert len(applied) == 1
    assert late.call("POST", f"/runs/{run_id}", {"text": "abc"}).status == 200
    assert late.call("POST", "/runs", {"tenantId": "acme"}).status == 201
    assert is_refused(roles.server(wait=False, MASTER_KEY=MASTER_KEY), "start it with the newer Millrace that wrote it")


PRINTER = """\
from millrace import App


def show(batch):
    print("handled", [message.body for message in batch.messages], flush=True)


app = App(handlers={"plain": show})
"""


def test_a_data_directory_is_worked_off_by_a_consumer_that_answers_no_caller(tmp_path: Path) -> None:
    (tmp_path / "printer.py").write_text(PRINTER)
    data = tmp_path / "data"
    with Server(data, "--config", "") as whole:
        settings = {"max_wait_time_ms": 0}
        queue_id = whole.create_queue("plain", consumer={"type": "worker", "script_name": "app", "settings": settings})
        send(whole, queue_id, "from before")
        whole.stop()

    with Server(data, "--config", "", "--app", f"{tmp_path / 'printer.py'}:app", "--role", "consumer") as consumer:
        consumer.wait_for_text("handled ['from before']")
        answers = [consumer.call("GET", path).status for path in ("/livez", "/metrics", "/queues")]
        second = Server(data, "--config", "", "--role", "consumer").start(wait=False)

        assert answers == [200, 200, 404]
        assert is_refused(second, "another")


def test_a_data_directory_has_no_server_that_only_answers(tmp_path: Path) -> None:
    assert is_refused(
        Server(tmp_path, "--config", "", "--role", "api").start(wait=False), "role is api, but one process"
    )
