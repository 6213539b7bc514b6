"""procrastinate by its job manager: jobs are deferred in batches, but taken and finished one by one, on many connections.

Its own worker takes them in the same way and is somewhat slower.
"""

from collections.abc import Sequence

from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Job, Status

from bench.peers_load import BATCH, BODY_BYTES, Peer

QUEUE = "bench"
ARGUMENTS = {"body": "x" * (BODY_BYTES - len('{"body":""}'))}


async def connect(url: str, connections: int) -> Peer:
    """Install procrastinate's schema and register a worker."""
    connector = PsycopgConnector(conninfo=url, min_size=connections, max_size=connections)
    app = App(connector=connector)
    await app.open_async()
    await app.schema_manager.apply_schema_async()
    worker = await app.job_manager.register_worker()
    task = app.configure_task("bench", queue=QUEUE, allow_unknown=True)

    async def receive(_: int) -> Sequence[Job]:
        job = await app.job_manager.fetch_job([QUEUE], worker)
        return [] if job is None else [job]

    async def settle(batch: Sequence[Job]) -> None:
        for job in batch:
            await app.job_manager.finish_job(job, Status.SUCCEEDED, delete_job=True)

    return Peer(
        send_one=lambda: task.defer_async(**ARGUMENTS),
        send_batch=lambda: task.batch_defer_async(*[ARGUMENTS] * BATCH),
        receive=receive,
        settle=settle,
        analyze=lambda: connector.execute_query_async("analyze"),
        consumers=connections,
    )
