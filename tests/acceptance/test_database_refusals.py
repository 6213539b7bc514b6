"""What is wrong with a URL, a role or a database is said in a sentence, by a start and by a server that runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripts.cluster import Cluster, clusters_folder

from millrace.errors import ConfigurationError, StoreRefused, StoreUnavailable
from millrace.sql.postgres.connection import connect
from millrace.sql.postgres.preparing import prepare
from tests.acceptance.many import server_on
from tests.support import Server

PASSWORD = "the-password-of-the-tests"
RULES = "host all guarded 127.0.0.1/32 scram-sha-256\nhost all barred 127.0.0.1/32 reject\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with clusters_folder() as folder:
        made = Cluster.make(folder / "a", listen=True)
        rules = made.data / "pg_hba.conf"
        rules.write_text(RULES + rules.read_text())
        with made as running:
            running.run_sql(f"create role guarded login password '{PASSWORD}'")
            running.run_sql("create role barred login")
            running.run_sql("create role alone login connection limit 0")
            running.run_sql("create database locked allow_connections true")
            running.run_sql("revoke connect on database locked from public")
            yield running


# what is tried, given the port; what is said of it
URLS: list[tuple[Callable[[int], str], str]] = [
    (lambda port: "postgresql://postgres@127.0.0.1:1/postgres", "cannot be reached; check the host and the port"),
    (lambda port: f"postgresql://postgres@nowhere.invalid:{port}/postgres", "cannot be reached; check the host"),
    (lambda port: "postgresql:///postgres?host=/nowhere", "cannot be reached; check the host and the port"),
    (lambda port: f"postgresql://postgres@127.0.0.1:{port}/none", "does not exist; create it, or check the URL"),
    (lambda port: f"postgresql://nobody@127.0.0.1:{port}/postgres", "refuses the user or the password; check the URL"),
    (lambda port: f"postgresql://guarded:wrong@127.0.0.1:{port}/postgres", "refuses the user or the password"),
    (lambda port: f"postgresql://guarded@127.0.0.1:{port}/postgres?passfile=/none", "refuses the user or the password"),
    (lambda port: f"postgresql://barred@127.0.0.1:{port}/postgres", "refuses the user or the password; check the URL"),
    (lambda port: f"postgresql://alone@127.0.0.1:{port}/postgres", "too many connections; raise max_connections"),
    (lambda port: f"postgresql://guarded:{PASSWORD}@127.0.0.1:{port}/locked", "refuses what this user needs; grant it"),
    (lambda port: f"postgresql://postgres@127.0.0.1:{port},127.0.0.1:1/none", "does not exist"),
]


@pytest.mark.parametrize(("url_at", "sentence"), URLS)
def test_a_url_that_leads_nowhere_is_explained_without_its_password(
    cluster: Cluster, url_at: Callable[[int], str], sentence: str
) -> None:
    with pytest.raises(StoreUnavailable, match=sentence) as refused:
        connect(url_at(cluster.port))

    assert PASSWORD not in str(refused.value) + str(refused.value.__cause__)


@pytest.mark.parametrize("url", ["postgresql://host/db?no_such=1", "postgresql://[broken/db", "host=a b=c"])
def test_a_url_that_libpq_cannot_read_is_a_setting_to_correct(url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected postgresql://user:password@host:5432/database"):
        connect(url)


def test_a_database_in_another_encoding_is_refused(cluster: Cluster) -> None:
    cluster.run_sql("create database latin encoding 'LATIN1' template template0")

    with pytest.raises(StoreRefused, match="encoding is LATIN1; make one with encoding 'UTF8'"):
        prepare(cluster.url("latin"))


def test_a_role_that_may_not_make_tables_is_told_which_right_it_needs(cluster: Cluster) -> None:
    cluster.create_database("bare")

    with pytest.raises(
        StoreRefused, match="grant it CREATE on the schema, or run millrace db migrate as a user who has"
    ):
        prepare(_as_guarded(cluster, "bare"))


def test_a_database_of_a_newer_program_is_refused(cluster: Cluster) -> None:
    prepare(cluster.create_database("newer"))
    cluster.run_sql("update schema_migrations set version = 999", database="newer")

    with pytest.raises(StoreRefused, match="newer"):
        prepare(cluster.url("newer"))


def test_a_right_that_is_taken_away_costs_503_until_it_is_given_back(cluster: Cluster, tmp_path: Path) -> None:
    cluster.create_database("granted")
    cluster.run_sql("grant all on schema public to guarded", database="granted")
    with server_on(_as_guarded(cluster, "granted"), tmp_path) as server:
        queue_id = server.create_queue("rights")

        cluster.run_sql("revoke insert on messages from guarded", database="granted")
        cluster.run_sql("alter table messages owner to postgres", database="granted")
        refused = server.v4("POST", f"/queues/{queue_id}/messages", {"body": "1"})
        cluster.run_sql("alter table messages owner to guarded", database="granted")
        cluster.run_sql("grant insert on messages to guarded", database="granted")

        assert refused.status == 503
        assert b"refuses what this user needs; grant it the rights" in refused.body
        assert server.v4("POST", f"/queues/{queue_id}/messages", {"body": "1"}).status == 200


def test_a_start_says_what_is_wrong_and_waits_for_its_database(cluster: Cluster, tmp_path: Path) -> None:
    server = server_on(cluster.url("later"), tmp_path)
    try:
        server.start(wait=False)
        server.wait_for_text("does not exist; create it, or check the URL (OperationalError); waiting for it")
        cluster.create_database("later")
        server.wait_for_text('"event":"server.started"')
    finally:
        server.__exit__()


def test_the_byte_0_and_texts_without_end_are_answered_by_4xx_or_stored(cluster: Cluster, tmp_path: Path) -> None:
    cluster.create_database("odd")
    with server_on(cluster.url("odd"), tmp_path) as server:
        queue_id = server.create_queue("odd", consumer={"type": "http_pull"})

        statuses = {
            server.v4("POST", f"/queues/{queue_id}/messages", {"body": text, "content_type": kind}).status
            for text in ("a\0b", "\0", "\ud800", "x" * 127_000)
            for kind in ("text", "json")
        }
        statuses |= {_status(server, text) for text in ("a\0b", "\0", "\ud800", "\U0001f600" * 5_000)}

        assert statuses <= {200, 201, 400, 404, 409, 413}
        assert not [line for line in server.log_lines() if line["level"] == "error"]


def _status(server: Server, text: str) -> int:
    body = {"queue_name": "n", "settings": {}, "name": text, "source": {"type": text}, "events": [text]}
    return max(server.v4("POST", path, body).status for path in ("/queues", "/event_subscriptions/subscriptions"))


def _as_guarded(cluster: Cluster, database: str) -> str:
    return f"postgresql://guarded:{PASSWORD}@127.0.0.1:{cluster.port}/{database}"
