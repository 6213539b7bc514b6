"""A server of jobs, and a tenant of its own for each test, whose token shows nothing of the others."""

from collections.abc import Iterator
from uuid import uuid4

import jwt
import pytest

from millrace.edge_jobs import EdgeConfig, EdgeJobClient
from tests.support import Server

SECRET = "the secret that the server and its agents share"
YEAR_2100 = 4_102_444_800


class Tenant:
    """A tenant's token and client, beside what tests ask of its jobs."""

    def __init__(self, server: Server) -> None:
        self.server, self.name = server, f"tenant-{uuid4().hex[:8]}"
        claims = {"role": "agent", "tenant": self.name, "exp": YEAR_2100}
        self.config = EdgeConfig(
            base_url=server.url, api_token=jwt.encode(claims, SECRET, algorithm="HS256"), visibility_timeout=60
        )
        self.client = EdgeJobClient(self.config)

    def add(self, *run_ids: str) -> list[str]:
        """Add jobs whose objects nobody has uploaded; give their ids."""
        return [
            self.client.enqueue(f"{self.name}-{run}", self.name, f"uploads/{self.name}/{run}.txt") for run in run_ids
        ]

    def counts(self) -> tuple[int, int, int, int]:
        """Give how many jobs are pending, leased, done and failed."""
        stats = self.client.stats()
        return stats.pending, stats.leased, stats.done, stats.failed

    def run(self, run_id: str) -> dict[str, object]:
        """Give the state of a run."""
        return self.server.call("GET", f"/runs/{run_id}", key=SECRET).json


@pytest.fixture(scope="session")
def jobs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("jobs"), environ={"JWT_SECRET": SECRET}) as server:
        yield server


@pytest.fixture
def tenant(jobs_server: Server) -> Iterator[Tenant]:
    made = Tenant(jobs_server)
    yield made
    made.client.close()
