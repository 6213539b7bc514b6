"""The PostgreSQL that tests, soak and bench make for themselves."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import psycopg
import pytest
from scripts.bouncer import Bouncer
from scripts.cluster import REPLICATED, Cluster, ClusterFailed, clusters_folder, url_of, wait_until
from scripts.guard import has_ended
from scripts.install_postgres import find

from tests.clusters import emptied_database, fresh_database, shared_cluster, template_database
from tests.support import ROOT


@pytest.fixture(scope="module")
def primary() -> Iterator[Cluster]:
    """A cluster with a table, of which a standby can be made."""
    with clusters_folder() as folder, Cluster.make(folder / "primary", listen=True, settings=REPLICATED) as cluster:
        cluster.run_sql("create table seen (number bigint)")
        yield cluster


def _in_a_process_of_its_own(code: str, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True
    )


def _with_a_letter(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table letters (number bigint generated always as identity, letter text)")
        connection.execute("insert into letters (letter) values ('a')")
        connection.execute("create rule stays as on delete to letters do instead nothing")


def _template() -> str:
    return template_database("letters", _with_a_letter)


def test_a_killed_cluster_starts_again_with_what_was_committed(primary: Cluster) -> None:
    primary.run_sql("insert into seen values (1)")

    primary.kill()
    assert primary.number is None
    primary.start()

    assert primary.run_sql("select * from seen where number = 1") == [(1,)]


def test_a_promoted_standby_has_what_a_killed_primary_has_answered(primary: Cluster) -> None:
    with primary.standby(primary.folder.parent / "standby", name="second") as standby:
        primary.make_synchronous("second")
        primary.run_sql("insert into seen values (2)")

        primary.kill()
        standby.promote()

        with psycopg.connect(url_of([primary, standby], target_session_attrs="read-write")) as connection:
            assert connection.execute("show cluster_name").fetchall() == [("second",)]
            assert connection.execute("select * from seen where number = 2").fetchall() == [(2,)]
    primary.start().make_synchronous()


def test_a_cluster_that_listens_is_reached_on_its_port(primary: Cluster) -> None:
    with psycopg.connect(primary.tcp_url()) as connection:
        assert connection.info.port == primary.port


def test_a_cluster_that_cannot_start_says_what_its_log_says() -> None:
    with clusters_folder() as folder, pytest.raises(ClusterFailed, match="could not access directory"):
        Cluster(folder).start()


def test_a_durable_cluster_forces_commits_to_the_disk() -> None:
    with clusters_folder(durable=True) as folder, Cluster.make(folder / "durable", durable=True) as cluster:
        assert cluster.run_sql("select current_setting('fsync'), current_setting('full_page_writes')") == [("on", "on")]


def test_a_cluster_and_its_folder_go_with_a_process_that_is_killed() -> None:
    code = """
import signal
from scripts.cluster import Cluster, clusters_folder
with clusters_folder() as folder, Cluster.make(folder / "left") as cluster:
    print(cluster.folder, cluster.number, flush=True)
    signal.pause()
"""
    with _in_a_process_of_its_own(code) as process:
        folder, number = process.stdout.readline().split()
        assert not has_ended(int(number))

        process.kill()

        wait_until(lambda: has_ended(int(number)) and not Path(folder).parent.exists(), 10, "it is still there")


def test_the_processes_of_a_run_share_one_cluster() -> None:
    code = """
from tests.clusters import shared_cluster
print(shared_cluster().folder, shared_cluster().number)
"""
    run = {"PYTEST_XDIST_WORKER": "gw7", "PYTEST_XDIST_TESTRUNUID": f"shared-{os.getpid()}"}
    processes = [_in_a_process_of_its_own(code, **run) for _ in range(2)]

    first, second = (process.communicate()[0].split() for process in processes)

    assert first == second
    folder = Path(first[0])
    assert Cluster(folder).number == int(first[1])  # it outlives them, since their parent lives
    Cluster(folder).stop("immediate")
    rmtree(folder)


def test_an_emptied_database_has_the_rows_of_its_template_and_no_others() -> None:
    for _ in range(2):
        with emptied_database(_template()) as url, psycopg.connect(url) as connection:
            connection.execute("insert into letters (letter) values ('b')")
            connection.commit()

            assert connection.execute("select * from letters").fetchall() == [(1, "a"), (2, "b")]


def test_a_database_that_is_emptied_loses_its_other_connections() -> None:
    with emptied_database(_template()) as url:
        left_behind = psycopg.connect(url)

    with emptied_database(_template()), pytest.raises(psycopg.OperationalError):
        left_behind.execute("select 1")


def test_a_fresh_database_is_gone_afterwards() -> None:
    with fresh_database(_template()) as url, psycopg.connect(url) as connection:
        assert connection.execute("select letter from letters").fetchall() == [("a",)]

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


@pytest.mark.skipif(find("pgbouncer") is None, reason="pgbouncer is not installed")
def test_a_bouncer_lends_one_connection_to_several_in_turn() -> None:
    with clusters_folder() as folder, Bouncer.make(folder / "bouncer", shared_cluster(), pool_size=1) as bouncer:
        clients = [psycopg.connect(bouncer.url(), autocommit=True) for _ in range(2)]

        backends = {client.execute("select pg_backend_pid()").fetchone() for client in clients}

    assert len(backends) == 1
