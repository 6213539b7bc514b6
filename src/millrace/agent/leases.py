"""Leases kept from ending while the work goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from millrace.edge_jobs.client import EdgeJobClient
from millrace.edge_jobs.job import Job
from millrace.errors import MillraceError
from millrace.telemetry import Telemetry

BEATS_PER_LEASE = 3


class Held:
    """The jobs that this agent has and has not settled, in their order."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = {job.id: job for job in jobs}

    @property
    def jobs(self) -> list[Job]:
        """Those that are left."""
        return list(self._jobs.values())

    def drop(self, job: Job) -> None:
        """Have its lease extended no more."""
        self._jobs.pop(job.id, None)


@asynccontextmanager
async def kept(held: Held, client: EdgeJobClient, lease_seconds: int, telemetry: Telemetry) -> AsyncIterator[None]:
    """Extend the leases of what is held, three times in the length of one, as long as the block runs."""
    beating = asyncio.create_task(_beat(held, client, lease_seconds, telemetry))
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _beat(held: Held, client: EdgeJobClient, lease_seconds: int, telemetry: Telemetry) -> None:
    while True:
        await asyncio.sleep(lease_seconds / BEATS_PER_LEASE)
        if jobs := held.jobs:
            await _extend(jobs, client, lease_seconds, telemetry)


async def _extend(jobs: list[Job], client: EdgeJobClient, lease_seconds: int, telemetry: Telemetry) -> None:
    """Extend once. A server that is away may be back before the leases end, so its failure ends nothing."""
    ids, leases = [job.id for job in jobs], leases_of(jobs)
    try:
        results = await asyncio.to_thread(client.extend, ids, lease_seconds, leases)
    except MillraceError as error:
        telemetry.emit("server.unreachable", doing="extend", reason=str(error))
        return
    for result in results:
        if not result.ok:
            telemetry.emit("job.lease_lost", job=result.id, reason=result.reason)


def leases_of(jobs: Iterable[Job]) -> list[str | None] | None:
    """Give the jobs' leases in their order; None where the server gives none."""
    leases = [job.lease_id for job in jobs]
    return leases if any(leases) else None
