"""pgqueuer by its queries, with its settings of autovacuum and a pool of asyncpg, as its page on performance says.

Its own worker drains about half as fast, for it runs a task for every job.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import asyncpg
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries

from bench.peers_load import BATCH, BODY_BYTES, Peer

ENTRYPOINT = "bench"
PAYLOAD = b"x" * BODY_BYTES
NO_LIMITS = {ENTRYPOINT: EntrypointExecutionParameter(concurrency_limit=0)}
LEASE = timedelta(seconds=60)


async def connect(url: str, connections: int) -> Peer:
    """Install pgqueuer."""
    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections)
    queries = Queries(AsyncpgPoolDriver(pool))
    await queries.install()
    await queries.optimize_autovacuum()
    consumers = [uuid4() for _ in range(Peer._field_defaults["consumers"])]

    async def receive(consumer: int) -> Sequence[Job]:
        return await queries.dequeue(BATCH, NO_LIMITS, consumers[consumer], None, LEASE)

    return Peer(
        send_one=lambda: queries.enqueue(ENTRYPOINT, PAYLOAD),
        send_batch=lambda: queries.enqueue([ENTRYPOINT] * BATCH, [PAYLOAD] * BATCH, [0] * BATCH),
        receive=receive,
        settle=lambda batch: queries.log_jobs([(job, "successful", None) for job in batch]),
        analyze=lambda: pool.execute("analyze"),
    )
