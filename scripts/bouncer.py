"""pgbouncer in front of a private cluster, in transaction mode: a server's connection is lent for one transaction only."""

import os
import shutil
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scripts.cluster import START_SECONDS, STOP_SECONDS, Cluster, ClusterFailed, free_port, owned, program, wait_until
from scripts.guard import has_ended, launch

# It knows no prepared statements before 1.21 (Debian 12 has 1.18), nor anything else that outlives a transaction.
SETTINGS = """\
[databases]
* = host={cluster.folder} port={cluster.port} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
"""


@dataclass
class Bouncer:
    """One pgbouncer, which ends with the process that started it."""

    folder: Path
    port: int
    number: int | None = None

    @classmethod
    def make(cls, folder: Path, cluster: Cluster, *, pool_size: int = 20) -> Self:
        """Make one for all databases of a cluster, with at most `pool_size` connections to each; it is not yet started."""
        port = free_port()
        owned(folder)
        (folder / "pgbouncer.ini").write_text(SETTINGS.format(cluster=cluster, port=port, pool_size=pool_size))
        return cls(folder, port)

    @property
    def log(self) -> str:
        """Give what it has logged so far."""
        return (self.folder / "log").read_text(errors="replace")

    def url(self, database: str = "postgres") -> str:
        """Give the address of a database through it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Start it and wait until it takes connections.

        Raises:
            ClusterFailed: It is not installed, or ended at once.
        """
        number = launch(self.folder, [program("pgbouncer"), str(self.folder / "pgbouncer.ini")])

        def is_ready() -> bool:
            if has_ended(number):
                raise ClusterFailed(f"pgbouncer ended at its start:\n{self.log[-2000:]}")
            with socket.socket() as tried:
                return tried.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(is_ready, START_SECONDS, "pgbouncer is not ready")
        self.number = number
        return self

    def stop(self) -> None:
        """End it at once, with all connections through it."""
        number, self.number = self.number, None
        if number is not None:
            os.kill(number, signal.SIGTERM)
            wait_until(lambda: has_ended(number), STOP_SECONDS, "pgbouncer does not stop")

    def __enter__(self) -> Self:
        return self.start() if self.number is None else self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)
