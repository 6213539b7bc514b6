"""Several servers on one PostgreSQL database: what one does counts for all, and what one misses another one does."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.crowd import SHOWN_KEY, Crowd, most_at_once, wait_for
from tests.clusters import fresh_database
from tests.support import Server

TOKEN = "sk_live_the-token-of-the-environment"
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


@pytest.fixture
def first(pair: list[Server]) -> Server:
    return pair[0]


@pytest.fixture
def second(pair: list[Server]) -> Server:
    return pair[1]


def send(server: Server, queue_id: str, *bodies: Any, **more: Any) -> None:
    messages = [{"body": body, "content_type": "text", **more} for body in bodies]
    assert server.v4("POST", f"/queues/{queue_id}/messages/batch", {"messages": messages}).status == 200


def pull(server: Server, queue_id: str, wait_seconds: float = 0) -> list[dict[str, Any]]:
    return server.v4("POST", f"/queues/{queue_id}/messages/pull", {"wait_seconds": wait_seconds}).result["messages"]


def queue_id_of(server: Server, name: str) -> str:
    [queue] = server.v4("GET", f"/queues?name={name}").result
    return queue["queue_id"]


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def event_of(stream: http.client.HTTPResponse) -> bytes:
    """Read one Server-Sent Event."""
    lines = [stream.readline()]
    while lines[-1].strip():
        lines.append(stream.readline())
    return b"".join(lines)


def ended(crowd: Crowd, queue: str) -> list[str]:
    return [call.body for call in crowd.calls(queue) if call.what == "end"]


def test_of_servers_that_start_together_on_an_empty_database_one_makes_the_key(pair: list[Server]) -> None:
    shown = [SHOWN_KEY.search(server.text) for server in pair]

    assert [found is None for found in shown].count(False) == 1
    assert [server.v4("GET", "/queues").status for server in pair] == [200, 200]
    assert not any("error" in line["level"] for server in pair for line in server.log_lines())


def test_a_pull_that_waits_at_one_server_is_woken_by_a_send_to_the_other(first: Server, second: Server) -> None:
    queue_id = first.create_queue("waited-for", consumer={"type": "http_pull"})
    seconds = []
    for number in range(10):
        pulled: list[Any] = []
        waiting = threading.Thread(target=lambda: pulled.extend(pull(second, queue_id, wait_seconds=8)))
        waiting.start()
        time.sleep(0.1 * (number % 2))  # the other half are sent while the pull begins to wait
        began = time.monotonic()
        send(first, queue_id, "here")
        waiting.join()
        seconds.append(time.monotonic() - began)
        assert [message["body"] for message in pulled] == ["here"]

    assert max(seconds) < SOON_SECONDS


def test_a_limit_of_concurrency_counts_over_all_servers_and_each_gets_its_share(crowd: Crowd, pair: list[Server]) -> None:
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
    pulled = wait_for(lambda: second.v4("POST", f"/queues/{queue_id}/messages/pull", {"wait_seconds": 5}).json["result"])

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
    assert first.call("POST", f"/runs/{run_id}", {"status": "reading"}).status == 200

    assert b"reading" in event_of(answer)
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

    ask(roles.url, "update crons set expression = '* * * * *', seen_until_ms = seen_until_ms - 120000")
    wait_for(lambda: roles.calls("tick"), 5)

    assert cron["program"] == "tick"
    assert not any(line["level"] == "error" for line in api.log_lines())
