"""Other queues on PostgreSQL, at the same work in the same run: pgmq, pgqueuer and procrastinate.

They live in an environment of their own, `.venv/peers`, so that nothing of theirs is locked or installed with us. Each
has a fresh database and a process of its own, and is used as its documentation says for throughput.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

ENVIRONMENT = Path(sys.prefix) / "peers"
PINNED = (
    "asyncpg==0.32.0",
    "pgmq==1.1.4",  # brings the SQL of pgmq 1.13.0
    "pgqueuer==1.6.0",
    "procrastinate==3.10.0",
    "psycopg[binary,pool]==3.3.9",
    "uvloop==0.23.0",
)
LONGEST_SECONDS = 60
CONNECTIONS = 32
RUNS = {
    "pgmq": ("pgmq", CONNECTIONS),
    "pgmq, 1 connection": ("pgmq", 1),
    "pgqueuer": ("pgqueuer", CONNECTIONS),
    "procrastinate": ("procrastinate", CONNECTIONS),
}


class Figures(NamedTuple):
    """Messages a second."""

    sent_in_batches: float
    sent_one_by_one: float
    drained: float


def peer_figures(url: str) -> dict[str, Figures]:
    """Measure each peer once, which takes 45 seconds; see `figures_of`."""
    return {name: figures_of(url, name) for name in RUNS}


def figures_of(url: str, name: str) -> Figures:
    """Measure one peer of `RUNS`, in a new database beside the one given, and with its user.

    Raises:
        SubprocessError: The peers cannot be installed, or this one failed; what it said is on the terminal.
    """
    install()
    module, connections = RUNS[name]
    with _new_database(url, f"bench_{module}") as own_url:
        program = f"from bench import peers_load, peers_{module} as peer; peers_load.run(peer.connect)"
        command = [str(ENVIRONMENT / "bin" / "python"), "-c", program, own_url, str(connections)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, timeout=LONGEST_SECONDS, check=True).stdout  # noqa: S603
    return Figures(*map(float, printed.split()))


def install() -> None:
    """Install the peers, unless these versions are there."""
    stamp = ENVIRONMENT / "installed"
    pinned = "\n".join(PINNED)
    if stamp.exists() and stamp.read_text() == pinned:
        return
    uv = shutil.which("uv", path=Path(sys.prefix) / "uv" / "bin") or "uv"
    python = str(ENVIRONMENT / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, ENVIRONMENT], check=True)  # noqa: S603
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *PINNED], check=True)  # noqa: S603
    stamp.write_text(pinned)


@contextmanager
def _new_database(url: str, name: str) -> Iterator[str]:
    """Create a database and drop it in the end; give its address."""
    parts, identifier = urlsplit(url), sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(identifier))
        connection.execute(sql.SQL("create database {}").format(identifier))
        try:
            yield f"{parts.scheme}://{parts.netloc}/{name}?{parts.query}"
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(identifier))
