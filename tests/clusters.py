"""The PostgreSQL of a test run: one cluster for all its processes, and databases for its tests.

Whoever needs the cluster first starts it; it ends with the run, also when the run is killed. Tests that stop, kill or cut
one off make their own in `scripts.cluster.clusters_folder()`.
"""

import fcntl
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

from scripts.cluster import Cluster, memory

from tests.emptying import EmptiedDatabase

# The processes of pytest-xdist are children of the one that ends last, and know the name of the run.
IS_ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
RUN = os.environ["PYTEST_XDIST_TESTRUNUID"] if IS_ONE_OF_SEVERAL else uuid4().hex
OWNER = os.getppid() if IS_ONE_OF_SEVERAL else os.getpid()
NUMBERS = count(1)
SPARE: defaultdict[str, list[EmptiedDatabase]] = defaultdict(list)


@cache
def shared_cluster() -> Cluster:
    """Give the cluster of this test run, started if need be; nobody stops it."""
    folder = Path(memory() or gettempdir()) / f"millrace-tests-{RUN[:12]}"
    folder.mkdir(mode=0o755, exist_ok=True)
    with _alone(folder, "start"):
        cluster = Cluster(folder)
        if cluster.number is None:
            cluster = Cluster.make(folder).start(owner=OWNER)
    return cluster


@contextmanager
def fresh_database(template: str = "template1") -> Iterator[str]:
    """Give the address of a database of its own, a copy of the template; it is dropped in the end.

    Both take 20 ms, with tables in the template or without: migrations need not run for each test.
    """
    url = _new_database(template)
    try:
        yield url
    finally:
        shared_cluster().drop_database(url.partition("?")[0].rpartition("/")[2])


@contextmanager
def emptied_database(template: str) -> Iterator[str]:
    """Give the address of a copy of the template that earlier tests of this process have used, brought back to the template.

    It takes 1 ms. Tests that change the tables themselves need a fresh one.
    """
    database = SPARE[template].pop() if SPARE[template] else EmptiedDatabase(_new_database(template))
    database.empty()
    try:
        yield database.url
    finally:
        SPARE[template].append(database)


@cache
def database_for(place: Path) -> str:
    """Give the address of the one database that a test run keeps for what would else lie in that folder."""
    return _new_database("template1")


@cache
def template_database(name: str, fill: Callable[[str], object]) -> str:
    """Make a database to be copied, once in a test run, and give its name.

    `fill` gets its address, brings in the tables, and leaves no connection behind: a database in use cannot be copied.
    """
    cluster = shared_cluster()
    mark = cluster.folder / f"{name}.filled"
    with _alone(cluster.folder, name):
        if not mark.exists():
            cluster.drop_database(name)  # what a `fill` that failed has left
            fill(cluster.create_database(name))
            mark.touch()
    return name


def _new_database(template: str) -> str:
    return shared_cluster().create_database(f"test_{os.getpid()}_{next(NUMBERS)}", template=template)


@contextmanager
def _alone(folder: Path, what: str) -> Iterator[None]:
    """Let the other processes of the run wait meanwhile."""
    with (folder / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
