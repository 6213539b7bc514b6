"""Private clusters of PostgreSQL from the real programs, for tests, soak and bench.

A cluster lives in a folder: its `data`, its `log` and its socket. It goes with the process that started it, folder and
all, even after a SIGKILL of that process. When we are root its programs run as the user `postgres`.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import psycopg
from psycopg import sql

from scripts.guard import SHARED, account, environment, has_ended, launch
from scripts.install_postgres import find

PORT = 5432
PORTS = range(20_000, 32_000)  # below those that Linux gives to outgoing connections: free again after a restart
SOCKET_CHARACTERS = 100
START_SECONDS = 60
STOP_SECONDS = 60
LAST_BREATH_SECONDS = 10
LOOK_SECONDS = 0.005
STOPS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
READY = ("ready", "standby")
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system, not a place for one file
MEMORY_BYTES = 2 * 1024**3  # a container's own is often 64 MiB, which one cluster fills

# Forcing the files of a new cluster to the disk, against a crash of the whole machine, takes a second.
INITDB = ("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-instructions", "--no-sync")
# Nothing is forced to a disk and little is kept: such a cluster dies with its tests.
FLEETING = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
REPLICATED = {"wal_level": "replica", "max_wal_senders": "10"}  # for a fleeting cluster that shall have a standby


class ClusterFailed(Exception):
    """A program of PostgreSQL did not do what it should; the text holds what it said."""


@dataclass(frozen=True)
class Cluster:
    """One cluster. Any process may hold this value and control the cluster by it."""

    folder: Path
    port: int = PORT
    listen: bool = False

    @classmethod
    def make(
        cls, folder: Path, *, durable: bool = False, listen: bool = False, settings: Mapping[str, str] | None = None
    ) -> Self:
        """Make a cluster that is not yet started.

        A durable one has PostgreSQL's own settings and forces commits to the disk; another one is fast. With `listen`
        it takes connections on 127.0.0.1, too.

        Raises:
            ClusterFailed: PostgreSQL is missing or cannot reach the folder; see `clusters_folder`.
        """
        cluster = cls(owned(folder), free_port() if listen else PORT, listen)
        run("initdb", f"--pgdata={cluster.data}", *INITDB)
        _configure(cluster, {**({} if durable else FLEETING), **(settings or {})})
        return cluster

    @property
    def data(self) -> Path:
        """Give the data directory."""
        return self.folder / "data"

    @property
    def number(self) -> int | None:
        """Give the process id of the postmaster; None while it does not run."""
        try:
            number = int(self._status()[0])
            return number if Path(f"/proc/{number}/cwd").readlink() == self.data else None
        except (OSError, IndexError):
            return None

    @property
    def log(self) -> str:
        """Give what the server has logged so far."""
        return (self.folder / "log").read_text(errors="replace")

    def url(self, database: str = "postgres") -> str:
        """Give the address of a database, by the socket."""
        return url_of([self], database)

    def tcp_url(self, database: str = "postgres") -> str:
        """Give the address of a database on 127.0.0.1; only for a cluster that listens."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self, *, owner: int | None = None) -> Self:
        """Start it and wait until it takes connections; it ends with the process `owner`, by default this one.

        Raises:
            ClusterFailed: It ended at once, or is not ready within a minute; the text has the end of its log.
        """
        number = launch(self.folder, [program("postgres"), "-D", str(self.data)], owner=owner)

        def is_ready() -> bool:
            if has_ended(number):
                raise ClusterFailed(f"the cluster in {self.folder} ended at its start:\n{self.log[-2000:]}")
            status = self._status()
            return len(status) > 7 and status[0] == str(number) and status[7].strip() in READY

        wait_until(is_ready, START_SECONDS, f"the cluster in {self.folder} is not ready")
        return self

    def stop(self, mode: str = "fast") -> None:
        """Stop it in one of PostgreSQL's modes, smart, fast or immediate, and wait until it has ended."""
        number = self.number
        if number is not None:
            os.kill(number, STOPS[mode])
            wait_until(lambda: has_ended(number), STOP_SECONDS, f"the cluster in {self.folder} does not stop")

    def restart(self, mode: str = "fast") -> Self:
        """Stop it, if it runs, and start it again."""
        self.stop(mode)
        return self.start()

    def kill(self) -> None:
        """Kill the postmaster with SIGKILL, as a crash would, and wait until its children have noticed and ended."""
        number = self.number
        if number is None:
            raise ClusterFailed(f"the cluster in {self.folder} does not run")
        os.kill(number, signal.SIGSTOP)  # no more children from here on
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        os.kill(number, signal.SIGKILL)
        everyone = [number, *map(int, children)]
        wait_until(lambda: all(map(has_ended, everyone)), LAST_BREATH_SECONDS, f"not all of {everyone} have ended")

    def promote(self) -> None:
        """Make a standby a primary and wait until it takes writes."""
        self.run_sql("select pg_promote()")

    def standby(self, folder: Path, *, name: str) -> Self:
        """Make a standby of this running cluster, not yet started, that goes by this name in replication."""
        standby = type(self)(owned(folder), free_port() if self.listen else PORT, self.listen)
        source = f"host={self.folder} port={self.port} user=postgres application_name={name}"
        options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        run("pg_basebackup", f"--pgdata={standby.data}", f"--dbname={source}", *options)
        # Now and then a promotion waits for the next attempt at the primary, which is 5 s away by default.
        _configure(standby, {"cluster_name": name, "wal_retrieve_retry_interval": "100ms"})
        with (standby.data / "postgresql.auto.conf").open("a") as file:
            file.write("synchronous_standby_names = ''\n")  # a copy of the primary's would make it wait once promoted
        return standby

    def make_synchronous(self, *names: str) -> None:
        """Let commits wait for the first of these standbys, and wait until it keeps up; without names, for none."""
        listed = ", ".join(f'"{name}"' for name in names)
        value = sql.Literal(f"first 1 ({listed})" if names else "")
        self.run_sql(sql.SQL("alter system set synchronous_standby_names = {}").format(value))
        self.run_sql("select pg_reload_conf()")
        states = "select from pg_stat_replication where sync_state = 'sync'"
        wait_until(lambda: bool(self.run_sql(states)) == bool(names), START_SECONDS, f"no standby of {names} keeps up")

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database as a copy of another one, and give its address."""
        # Copying files takes 12 ms, the default (through the log) 40 ms, with a database of 40 tables in memory.
        statement = "create database {} template {} strategy file_copy"
        self.run_sql(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and end the connections to it; one that is not there is no error."""
        self.run_sql(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def run_sql(self, statement: str | sql.Composed, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own, without a transaction, and give the rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description is not None else []

    def _status(self) -> list[str]:
        """Give the lines of the server's own file: process id first, state in the eighth."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def __enter__(self) -> Self:
        return self.start() if self.number is None else self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")


@contextmanager
def clusters_folder(*, durable: bool = False) -> Iterator[Path]:
    """Make a folder for the folders of clusters; in the end those still running are stopped, and all is removed.

    It lies in memory where there is enough, unless it shall be durable, and PostgreSQL's user can reach it.
    """
    folder = Path(tempfile.mkdtemp(prefix=SHARED, dir=None if durable else memory()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for running in folder.iterdir():
            Cluster(running).stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def url_of(clusters: Sequence[Cluster], database: str = "postgres", **more: str) -> str:
    """Give one address for several clusters, tried in this order; `more` are parameters of libpq."""
    hosts = ",".join(str(cluster.folder) for cluster in clusters)
    ports = ",".join(str(cluster.port) for cluster in clusters)
    return f"postgresql:///{database}?" + urlencode(
        {"host": hosts, "port": ports, "user": "postgres", **more}, safe="/,"
    )


def program(name: str) -> str:
    """Give the path of a program of PostgreSQL.

    Raises:
        ClusterFailed: It is not installed.
    """
    path = find(name)
    if path is None:
        raise ClusterFailed(f"{name} is missing; run `python -m scripts.install_postgres`, or put it on PATH")
    return str(path)


def run(name: str, *arguments: str) -> None:
    """Run a program of PostgreSQL to its end.

    Raises:
        ClusterFailed: It is missing or failed; the text holds what it said.
    """
    order = [program(name), *arguments]
    done = subprocess.run(
        order, cwd="/", env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **account()
    )
    if done.returncode:
        raise ClusterFailed(f"{name} ended with {done.returncode}:\n{done.stdout.decode(errors='replace')}")


def owned(folder: Path) -> Path:
    """Make the folder of a cluster, as a place of PostgreSQL's user, and give its full path."""
    if len(f"{folder}/.s.PGSQL.{PORT}") > SOCKET_CHARACTERS:
        raise ClusterFailed(f"{folder} is too long: a socket's path may have {SOCKET_CHARACTERS} characters")
    folder.mkdir(parents=True, exist_ok=True)
    if owner := account():
        shutil.chown(folder, owner["user"], owner["group"])
    return folder.resolve()


def free_port() -> int:
    """Give a port that is free on 127.0.0.1, and that no outgoing connection is given."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)):
                return port
    raise ClusterFailed(f"no free port among {PORTS}")


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Wait for a condition; `otherwise` begins the sentence of the error."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise ClusterFailed(f"{otherwise} after {seconds} seconds")
        time.sleep(LOOK_SECONDS)


def memory() -> Path | None:
    """Give the folder of the file system in memory, if there is one with enough room."""
    usable = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    return MEMORY if usable else None


def _configure(cluster: Cluster, settings: Mapping[str, str]) -> None:
    places = {
        "port": str(cluster.port),
        "unix_socket_directories": str(cluster.folder),
        "listen_addresses": "127.0.0.1" if cluster.listen else "",
    }
    with (cluster.data / "postgresql.conf").open("a") as file:
        for name, value in {**places, **settings}.items():
            quoted = value.replace("'", "''")
            file.write(f"{name} = '{quoted}'\n")
