"""The PostgreSQL of a test run: one cluster for all its processes, a database for each test.

Whoever needs it first starts it; it ends with the run, also when the run is killed. Tests that stop, kill or cut a cluster
make one of their own in `scripts.cluster.clusters_folder()`.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

from scripts.cluster import Cluster, memory

# Processes of pytest-xdist are children of the one that ends last, and share the name of the run.
IS_ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
RUN = os.environ["PYTEST_XDIST_TESTRUNUID"] if IS_ONE_OF_SEVERAL else uuid4().hex
OWNER = os.getppid() if IS_ONE_OF_SEVERAL else os.getpid()
NUMBERS = count(1)


@cache
def shared_cluster() -> Cluster:
    """Give the cluster of this test run, started if need be; it is not for stopping."""
    folder = Path(memory() or gettempdir()) / f"millrace-tests-{RUN[:12]}"
    folder.mkdir(mode=0o755, exist_ok=True)
    with _alone(folder, "start"):
        cluster = Cluster(folder)
        if cluster.number is None:
            cluster = Cluster.make(folder).start(owner=OWNER)
    return cluster


@contextmanager
def fresh_database(template: str = "template1") -> Iterator[str]:
    """Give the address of a database of its own, a copy of the template, and drop it in the end.

    20 to 30 ms for both. Copies of a template with tables take no longer, so that migrations need not run for each test.
    """
    name = f"test_{os.getpid()}_{next(NUMBERS)}"
    try:
        yield shared_cluster().create_database(name, template=template)
    finally:
        shared_cluster().drop_database(name)


@cache
def template_database(name: str, fill: Callable[[str], object]) -> str:
    """Make a database to be copied, once in a test run, and give its name.

    `fill` gets its address, brings in the tables, and leaves no connection behind: a database in use cannot be copied.
    """
    cluster = shared_cluster()
    with _alone(cluster.folder, name):
        if (cluster.folder / name).exists():
            return name
        cluster.drop_database(name)  # what a `fill` that failed in another process has left
        fill(cluster.create_database(name))
        (cluster.folder / name).touch()
    return name


@contextmanager
def _alone(folder: Path, what: str) -> Iterator[None]:
    """Let the other processes of the run wait meanwhile."""
    with (folder / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
