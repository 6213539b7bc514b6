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

from millrace.errors import Fenced
from millrace.runtime.leader import Leader
from millrace.sql.postgres.preparing import prepare
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

FILE = """
name = "shop"

[[queues.consumers]]
queue = "bills"
handler = "billing:bill"
max_batch_timeout = 0

[[queues.consumers]]
queue = "billed"
type = "http_pull"

[[queues.producers]]
queue = "billed"
binding = "BILLED"
"""
HANDLER = """
async def bill(batch, env):
    for message in batch.messages:
        await env.BILLED.send(message.body, content_type="text")
"""
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
    wait_for(lambda: len(ended(crowd, "pairs")) >= len(bodies), 30)

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


def test_handlers_of_a_wrangler_file_run_in_processes_of_the_consumer_and_not_of_the_api_server(
    crowd: Crowd, first: Server
) -> None:
    (crowd.folder / "wrangler.toml").write_text(FILE)
    (crowd.folder / "billing.py").write_text(HANDLER)
    arguments = ("--config", str(crowd.folder / "wrangler.toml"))

    api = crowd.server("--role", "api", *arguments, app=False)
    children = Path(f"/proc/{api.process.pid}/task/{api.process.pid}/children").read_text().split()
    send(first, queue_id_of(first, "bills"), "paid")
    consumer = crowd.server("--role", "consumer", *arguments, app=False)
    done = wait_for(lambda: first.v4("GET", "/queues?name=billed").result)
    billed = pull(first, done[0]["queue_id"], wait_seconds=5)

    assert not children
    assert [message["body"] for message in billed] == ["paid"]
    assert [server.stop() for server in (api, consumer)] == [0, 0]


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
