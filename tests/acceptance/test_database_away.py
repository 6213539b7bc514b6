"""A server whose database is away answers 503 at once and goes on by itself; a lost answer of a commit doubles nothing."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest
from scripts.cluster import Cluster, clusters_folder

from millrace import Client, create_queue_producer
from millrace.client.retries import NONE
from millrace.errors import StoreUnavailable
from tests.acceptance.database_wire import DatabaseWire
from tests.acceptance.many import server_on
from tests.acceptance.programs import ProgramServer, wait_until
from tests.apps.message_rooms import email
from tests.sentry_sink import Sink
from tests.support import KEY, Reply, Server

AT_ONCE_SECONDS = 1.0
BACK_SECONDS = 2.0
AWAY_SECONDS = 2.0
STOP_SECONDS = 5.0
CONNECTIONS = 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with clusters_folder() as folder:
        settings = {"max_connections": str(CONNECTIONS)}
        with Cluster.make(folder / "a", listen=True, settings=settings) as running:
            yield running


@pytest.fixture
def database(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an empty database on a cluster that runs, whatever the test before has done to it."""
    name = f"test_{abs(hash(request.node.name))}"
    cluster.create_database(name)
    yield name
    if cluster.number is None:
        cluster.start()
    cluster.drop_database(name)


def test_an_absent_database_costs_503_at_once_and_is_found_again(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    with ProgramServer(tmp_path, environ={"DATABASE_URL": cluster.tcp_url(database)}) as server:
        queue_id = server.create_queue("pulled", consumer={"type": "http_pull"})
        pulls = f"/queues/{queue_id}/messages/pull"
        with ThreadPoolExecutor(1) as puller:
            waiting = puller.submit(server.v4, "POST", pulls, {"wait_seconds": 15})
            wait_until(lambda: server.v4("GET", f"/queues/{queue_id}/metrics").status == 200, 5, "no metrics")
            lines_before = len(server.log_lines())

            cluster.stop("fast")
            left_at = time.monotonic()
            while time.monotonic() < left_at + AWAY_SECONDS:
                for reply in (_send(server, queue_id), server.v4("POST", pulls, {}), _timed(server, "/readyz")):
                    assert reply.status == 503
                    assert reply.headers["retry-after"]
                assert _timed(server, "/livez").status == 200
            assert b"cannot be reached; check the host" in _send(server, queue_id).body
            lines = server.log_lines()[lines_before:]
            cluster.start()
            back_at = time.monotonic()

            wait_until(lambda: _send(server, queue_id).status == 200, BACK_SECONDS, "sends are still refused")
            wait_until(lambda: _timed(server, "/readyz").status == 200, BACK_SECONDS, "it is still not ready")
            assert waiting.result().status in (200, 503)
        if not waiting.result().json["result"]:
            assert len(server.v4("POST", pulls, {"wait_seconds": 5}).result["messages"]) == 1
        server.send("plain", {"do": "nothing"})
        server.wait_for_notes("plain", 1)
        print(f"back {time.monotonic() - back_at:.2f} s after the database")
        assert len(lines) <= 2 * (AWAY_SECONDS + 2), lines
        assert {line["event"] for line in lines} == {"store.failed"}


def test_a_job_that_cannot_be_queued_raises_by_its_class_and_is_in_the_log_and_in_sentry(
    cluster: Cluster, database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S1-13."""
    with Sink() as sentry, server_on(cluster.url(database), tmp_path, SENTRY_DSN=sentry.dsn) as server:
        producer = create_queue_producer(Client(server.url, KEY, retries=NONE).bindings())
        cluster.stop("immediate")

        refused = server.call("POST", "/api/enqueue-job", email("msg-1"))
        with pytest.raises(StoreUnavailable, match="Queue service temporarily unavailable"):
            producer.enqueue_email(email("msg-2"))

        assert (refused.status, refused.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert sentry.wait_for("store.failed")["level"] == "error"
        server.wait_for_text('"event":"store.failed"')
        assert "not queued: email_send msg-2" in caplog.text


def test_what_comes_after_a_restart_of_the_database_is_served_as_if_nothing_had_been(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    with server_on(cluster.url(database), tmp_path) as server:
        queue_id = server.create_queue("quiet", consumer={"type": "http_pull"})
        for mode in ("fast", "immediate"):
            with ThreadPoolExecutor(8) as callers:  # so that each connection is in use
                replies = [*callers.map(lambda _: server.v4("GET", f"/queues/{queue_id}/metrics"), range(8))]
                assert {reply.status for reply in replies} == {200}

                cluster.restart(mode)
                # what runs in the background may have met it while it was down; then nobody tries for a quarter of a second
                wait_until(lambda: server.v4("GET", f"/queues/{queue_id}/metrics").status == 200, 5, "no metrics")
                sent = _send(server, queue_id)
                replies = [*callers.map(lambda _: server.v4("GET", f"/queues/{queue_id}/metrics"), range(8))]

            assert sent.status == 200
            assert {reply.status for reply in replies} == {200}


def test_a_server_stops_in_order_while_its_database_is_away(cluster: Cluster, database: str, tmp_path: Path) -> None:
    with server_on(cluster.url(database), tmp_path) as server:
        server.create_queue("left")
        cluster.stop("immediate")
        began = time.monotonic()

        assert server.stop() == 0

        assert time.monotonic() - began < STOP_SECONDS


def test_too_many_connections_cost_503_with_a_sentence_until_there_is_room(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    with server_on(cluster.url(database), tmp_path) as server, ExitStack() as others:
        queue_id = server.create_queue("crowded")
        operator = others.enter_context(psycopg.connect(cluster.url(), autocommit=True))

        _take_all_connections(cluster, others)
        operator.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'")
        _take_all_connections(cluster, others)
        refused = _send(server, queue_id)
        others.close()

        assert refused.status == 503
        assert b"has too many connections; raise max_connections, or run fewer servers" in refused.body
        wait_until(lambda: _send(server, queue_id).status == 200, BACK_SECONDS, "sends are still refused")


def test_a_send_whose_commit_lost_its_answer_is_not_doubled_when_it_is_repeated_under_its_key(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    with DatabaseWire(cluster.port) as wire, server_on(wire.url(database), tmp_path) as server:
        queue_id = server.create_queue("cut")
        for number in count(1):  # the commit of a step in the background may have been the one
            key = {"Idempotency-Key": f"order-{number}"}
            wire.lose_next_commit()
            first = _send(server, queue_id, headers=key)
            if first.status != 200:
                break

        again = _send(server, queue_id, headers=key)

        assert first.status == 503
        assert first.headers["retry-after"]
        assert b"nobody knows whether this was done" in first.body
        assert again.status == 200
        assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == number


def _take_all_connections(cluster: Cluster, stack: ExitStack) -> None:
    with suppress(psycopg.OperationalError):
        while True:
            stack.enter_context(psycopg.connect(cluster.url()))


def _send(server: Server, queue_id: str, headers: dict[str, str] | None = None) -> Reply:
    began = time.monotonic()
    reply = server.v4("POST", f"/queues/{queue_id}/messages", {"body": "1"}, headers=headers)
    assert time.monotonic() - began < AT_ONCE_SECONDS
    return reply


def _timed(server: Server, path: str) -> Reply:
    began = time.monotonic()
    reply = server.call("GET", path)
    assert time.monotonic() - began < AT_ONCE_SECONDS
    return reply
