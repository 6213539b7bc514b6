"""Several servers on one PostgreSQL database: what one does counts for all, and what one misses another one does."""

import asyncio
import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millrace.apps.jobs.app import SCHEMA as JOBS
from millrace.errors import Fenced
from millrace.runtime.leader import Leader
from millrace.sql.postgres.preparing import prepare
from millrace.sql.schemas import Schema, migrations
from millrace.sql.stores import postgres_store
from millrace.testing import ManualClock
from tests.acceptance.crowd import (
    SHOWN_KEY,
    Crowd,
    ask,
    ended,
    make_due,
    most_at_once,
    pull,
    queue_id_of,
    send,
    wait_for,
)
from tests.clusters import emptied_database, fresh_database, template_database
from tests.support import Server

TOKEN = "sk_live_the-token-of-the-environment"
MASTER_KEY = "11" * 32
SOON_SECONDS = 1.5  # "within a second", with time for the test itself
LEADER = """
select p.pid
from pg_locks p join pg_database d on d.oid = p.database
where p.locktype = 'advisory' and p.classid = 7811 and p.objid = 2 and p.granted and d.datname = current_database()
"""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with fresh_database() as url, closing(Crowd(tmp_path_factory.mktemp("crowd"), url)) as made:
        yield made


@pytest.fixture(scope="module")
def pair(crowd: Crowd) -> list[Server]:
    """Two servers that were started at the same moment on an empty database."""
    servers = [crowd.server(wait=False) for _ in range(2)]
    for server in servers:
        server._wait_until_it_serves()
    [key] = [found for server in servers for found in SHOWN_KEY.findall(server.text)]
    for server in servers:
        server.key = key
    return servers


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


@pytest.fixture
def first(pair: list[Server]) -> Server:
    return pair[0]


@pytest.fixture
def second(pair: list[Server]) -> Server:
    return pair[1]


def event_of(stream: http.client.HTTPResponse) -> bytes:
    """Read one Server-Sent Event."""
    lines = [stream.readline()]
    while lines[-1].strip():
        lines.append(stream.readline())
    return b"".join(lines)


def is_refused(server: Server, sentence: str) -> bool:
    """Wait for the end of a server that could not start, and say whether it gave this reason."""
    code = server.process.wait(20)
    wait_for(lambda: "millrace: " in server.text)
    return code == 1 and sentence in server.text


def test_of_servers_that_start_together_on_an_empty_database_one_makes_the_key(pair: list[Server]) -> None:
    shown = [SHOWN_KEY.search(server.text) for server in pair]

    assert [found is None for found in shown].count(False) == 1
    assert [server.v4("GET", "/queues").status for server in pair] == [200, 200]
    assert not any("error" in line["level"] for server in pair for line in server.log_lines())


def test_a_pull_that_waits_at_one_server_is_woken_by_a_send_to_the_other(first: Server, second: Server) -> None:
    queue_id = first.create_queue("waited-for", consumer={"type": "http_pull"})
    seconds = []
    with ThreadPoolExecutor(1) as threads:
        for number in range(10):
            waiting = threads.submit(pull, second, queue_id, wait_seconds=8)
            time.sleep(0.1 * (number % 2))  # the other half are sent while the pull begins to wait
            began = time.monotonic()
            send(first, queue_id, "here")
            assert [message["body"] for message in waiting.result()] == ["here"]
            seconds.append(time.monotonic() - began)

    assert max(seconds) < SOON_SECONDS


def test_a_limit_of_concurrency_counts_over_all_servers_and_each_gets_its_share(
    crowd: Crowd, pair: list[Server]
) -> None:
    bodies = [f"m{number}" for number in range(40)]

    send(pair[0], queue_id_of(pair[0], "pairs"), *bodies)
    wait_for(lambda: len(ended(crowd, "pairs")) >= len(bodies))

    calls = crowd.calls("pairs")
    assert sorted(ended(crowd, "pairs")) == sorted(bodies)
    assert most_at_once(calls) == 2
    assert {call.process for call in calls} == {str(server.process.pid) for server in pair}


def test_a_cron_runs_on_one_server_at_a_time(crowd: Crowd, pair: list[Server]) -> None:
    for server in (*pair, *pair):
        assert server.call("POST", "/api/crons/run", {"program": "tick"}).status == 202

    wait_for(lambda: len(ended(crowd, "tick")) == 4)
    assert most_at_once(crowd.calls("tick")) == 1


def test_a_pause_and_its_end_are_seen_on_the_other_server_within_a_second(
    crowd: Crowd, first: Server, second: Server
) -> None:
    queue_id = first.create_queue("paused", consumer={"type": "http_pull"})
    first.v4("PATCH", f"/queues/{queue_id}", {"settings": {"delivery_paused": True}})
    send(first, queue_id, "later")
    refused = second.v4("POST", f"/queues/{queue_id}/messages/pull", {})
    first.v4("PATCH", f"/queues/{queue_id}", {"settings": {"delivery_paused": False}})

    began = time.monotonic()
    pulled = wait_for(
        lambda: second.v4("POST", f"/queues/{queue_id}/messages/pull", {"wait_seconds": 5}).json["result"]
    )

    assert refused.code == 10252
    assert [message["body"] for message in pulled["messages"]] == ["later"]
    assert time.monotonic() - began < SOON_SECONDS


def test_handlers_of_all_servers_follow_a_pause_that_one_was_told(crowd: Crowd, first: Server, second: Server) -> None:
    queue_id = queue_id_of(first, "plain")
    first.v4("PATCH", f"/queues/{queue_id}", {"settings": {"delivery_paused": True}})
    send(second, queue_id, *[f"m{number}" for number in range(10)])
    time.sleep(0.2)
    handled_while_paused = len(crowd.calls("plain"))
    second.v4("PATCH", f"/queues/{queue_id}", {"settings": {"delivery_paused": False}})

    wait_for(lambda: len(ended(crowd, "plain")) == 10, SOON_SECONDS)

    assert handled_while_paused == 0


def test_a_key_that_was_made_or_revoked_elsewhere_counts_within_a_second(first: Server, second: Server) -> None:
    made = first.call("POST", "/api/keys", {"role": "admin"}).json
    wait_for(lambda: second.v4("GET", "/queues", key=made["secret"]).status == 200, SOON_SECONDS)

    assert first.call("DELETE", f"/api/keys/{made['id']}").status == 200
    wait_for(lambda: second.v4("GET", "/queues", key=made["secret"]).status == 401, SOON_SECONDS)


def test_a_push_consumer_that_is_attached_at_one_server_may_be_fed_by_either(first: Server, second: Server) -> None:
    queue_id = first.create_queue("fresh")

    second.v4("POST", f"/queues/{queue_id}/consumers", {"type": "http_pull"})
    send(second, queue_id, "new")

    wait_for(lambda: first.v4("POST", f"/queues/{queue_id}/messages/pull", {}).status == 200, SOON_SECONDS)


def test_who_follows_a_run_at_one_server_sees_what_another_one_does(first: Server, second: Server) -> None:
    run_id = first.call("POST", "/runs", {"tenantId": "acme"}).json["runId"]
    line = http.client.HTTPConnection(second.url.removeprefix("http://"), timeout=10)
    line.request("GET", f"/runs/{run_id}/events", headers={"Authorization": f"Bearer {second.key}"})
    answer = line.getresponse()
    event_of(answer)

    began = time.monotonic()
    assert first.call("POST", f"/runs/{run_id}", {"text": "abc"}).status == 200

    assert b'"textBytes":3' in event_of(answer)
    assert time.monotonic() - began < SOON_SECONDS
    line.close()


def test_a_workflow_that_is_started_at_one_server_is_seen_to_end_at_the_other(first: Server, second: Server) -> None:
    assert first.call("POST", "/api/workflows/count/instances", {"id": "one", "params": {"n": 1}}).status < 300

    def output() -> Any:
        return second.call("GET", "/api/workflows/count/instances/one").json.get("output")

    assert wait_for(output, 5) == 2


def test_a_server_with_role_api_runs_no_handler_and_one_with_role_consumer_answers_no_caller(
    roles: Crowd, api: Server, consumer: Server
) -> None:
    queue_id = queue_id_of(api, "plain")
    send(api, queue_id, "handled")

    wait_for(lambda: ended(roles, "plain") == ["handled"])

    paths = ("/livez", "/readyz", "/health", "/metrics", "/queues", "/api/tail", "/client/v4/accounts/local/queues")
    assert [consumer.call("GET", path, key=TOKEN).status for path in paths] == [200] * 4 + [404] * 3
    assert {call.process for call in roles.calls("plain")} == {str(consumer.process.pid)}


def test_what_only_consumers_run_is_led_by_a_server_that_knows_nothing_of_it(
    roles: Crowd, api: Server, consumer: Server
) -> None:
    [cron] = api.call("GET", "/api/crons").json["crons"]

    make_due(roles.url, minutes="*")
    wait_for(lambda: roles.calls("tick"), 5)

    assert cron["program"] == "tick"
    assert not any(line["level"] == "error" for line in api.log_lines())


async def test_a_leader_whose_connection_was_cut_is_fenced_once_another_one_leads() -> None:
    clock = ManualClock()
    with emptied_database(template_database("engine", prepare)) as url:
        stores = [postgres_store(url, clock) for _ in range(2)]
        leaders = [(Leader(store, clock, "server"), store) for store in stores]
        while not await leaders[0][0].tend():
            leaders.reverse()
            await asyncio.sleep(0.01)
        (old, its_store), (new, other_store) = leaders

        while not await new.tend():
            ask(url, f"select pg_terminate_backend(pid) from ({LEADER}) as holder")
            await asyncio.sleep(0.02)

        with pytest.raises(Fenced):
            await its_store.write(old.check)
        await other_store.write(new.check)
        for store in stores:
            await store.close()


def test_a_cut_of_the_leaders_connection_neither_loses_nor_doubles_a_run(crowd: Crowd, pair: list[Server]) -> None:
    before = len(crowd.calls("tick"))
    ask(crowd.url, f"select pg_terminate_backend(pid) from ({LEADER}) as holder")

    make_due(crowd.url, minutes="*")
    wait_for(lambda: len(crowd.calls("tick")) > before)
    time.sleep(0.5)

    [(runs,)] = ask(crowd.url, "select count(*) from cron_runs")
    assert len([call for call in crowd.calls("tick") if call.what == "begin"]) == runs


def test_times_are_the_databases_on_a_server_whose_clock_is_an_hour_off(
    crowd: Crowd, first: Server, shifted_clock: Path
) -> None:
    shift = crowd.folder / "shift"
    shift.write_text("3600")
    shifted = crowd.server(app=False, LD_PRELOAD=str(shifted_clock), SHIFTED_CLOCK_FILE=str(shift))
    shifted.key = first.key
    queue_id = first.create_queue("timely", consumer={"type": "http_pull", "settings": {"visibility_timeout_ms": 600}})

    began = time.monotonic()
    send(shifted, queue_id, "delayed", delay_seconds=1)
    early = pull(first, queue_id)
    [pulled] = pull(first, queue_id, wait_seconds=5)
    due_after = time.monotonic() - began
    early += pull(shifted, queue_id)
    [again] = pull(shifted, queue_id, wait_seconds=5)

    assert not early
    assert 0.95 < due_after < 1 + SOON_SECONDS
    assert 0.55 < time.monotonic() - began - due_after < SOON_SECONDS
    assert abs(pulled["timestamp_ms"] / 1000 - time.time()) < 10
    assert (again["id"], again["attempts"]) == (pulled["id"], 2)


def test_a_secret_needs_a_master_key_that_other_servers_can_have_too(first: Server) -> None:
    refused = first.call("PUT", "/api/secrets/TOKEN", {"value": "x"})

    assert (refused.status, "MASTER_KEY is not set" in refused.json["error"]["message"]) == (409, True)


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
