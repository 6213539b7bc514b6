"""The jobs application without its doors, on a clock that the tests move."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from millrace.apps.jobs import jobs, pulling, settling, statuses
from millrace.apps.jobs.app import SCHEMA
from millrace.apps.jobs.job_routes import write_jobs
from millrace.apps.jobs.jobs import JobBody
from millrace.apps.jobs.settling import Asked, Report
from millrace.apps.jobs.sweep import sweep
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.platform import Platform
from millrace.queue import Queue
from millrace.resources.outbound import Outbound
from millrace.sql.store import SqlStore
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock
from millrace.views import Rows, Views
from tests.apps.databases import prepared

ACCOUNT = "local"


class Rooms(NamedTuple):
    """What the tests of jobs say again and again."""

    platform: Platform
    clock: ManualClock

    async def do(self, fn: Any) -> Any:
        return await write_jobs(self.platform, ACCOUNT, fn)

    async def add(self, run: str = "run-1", tenant: str = "acme", r2_key: str = "a.pdf", key: str | None = None) -> str:
        """Enqueue a job and give its id."""
        key_hash = None if key is None else jobs.hash_of_key(key, None)
        body = JobBody(run, tenant, r2_key)
        return (await self.do(lambda work: jobs.add(work, ACCOUNT, body, key_hash))).id

    async def pull(self, limit: int = 10, seconds: int = 60, tenant: str | None = None) -> list[pulling.Pulled]:
        return await self.do(lambda work: pulling.pull(work, ACCOUNT, limit, seconds * 1000, tenant))

    async def settle(
        self, status: str, *ids: str, lease: Any = None, tenant: str | None = None, **more: Any
    ) -> list[tuple[Any, ...]]:
        """Ack jobs; give (ok, status, reason) of each."""
        asked = [Asked(job_id, lease and str(lease)) for job_id in ids]
        report = Report(status, **more)
        verdicts = await self.do(lambda work: settling.settle(work, ACCOUNT, asked, report, tenant))
        return [(verdict.ok, verdict.status, verdict.reason) for verdict in verdicts]

    async def extend(self, seconds: int, *ids: str) -> list[tuple[Any, ...]]:
        asked = [Asked(job_id) for job_id in ids]
        verdicts = await self.do(lambda work: settling.extend(work, ACCOUNT, asked, seconds * 1000, None))
        return [(verdict.ok, verdict.status, verdict.reason) for verdict in verdicts]

    async def stats(self, tenant: str | None = None) -> dict[str, int]:
        """Give the counts that are not 0."""
        counts = await self.platform.read(lambda work: statuses.count(work, ACCOUNT, tenant))
        return {status: number for status, number in counts.items() if number}

    async def fail(self, deliveries: int = 5) -> None:
        """Pull and fail what there is, so many times."""
        for _ in range(deliveries):
            await self.settle("failed", *[job.id for job in await self.pull()], error="broken")

    async def sweep(self) -> None:
        await sweep(self.platform, ACCOUNT)

    async def queue(self, name: str = "jobs") -> Queue:
        return await self.platform.catalog.queue_named(ACCOUNT, name)

    async def query(self, sql: str) -> Rows:
        """Ask as the account's admin asks over SQL."""
        return await Views(self.platform.store, self.clock, [statuses.VIEW]).query(ACCOUNT, sql)


@asynccontextmanager
async def open_rooms(folder: Path, database: str = "sqlite") -> AsyncIterator[Rooms]:
    """Open the rooms of one server."""
    async with open_servers(folder, database, 1) as (rooms,):
        yield rooms


@asynccontextmanager
async def open_servers(folder: Path, database: str = "postgres", servers: int = 2) -> AsyncIterator[list[Rooms]]:
    """Open the rooms of several servers on one database."""
    clock = ManualClock()
    with prepared(database, folder, SCHEMA) as opener:
        stores = [opener(clock) for _ in range(servers)]
        try:
            yield [_rooms(store, clock) for store in stores]
        finally:
            for store in stores:
                await store.close()


def _rooms(store: SqlStore, clock: ManualClock) -> Rooms:
    telemetry = Telemetry()
    catalog, broker = Catalog(store, clock), Broker(store, clock, telemetry)
    return Rooms(Platform(store, catalog, broker, telemetry, clock, Outbound()), clock)
