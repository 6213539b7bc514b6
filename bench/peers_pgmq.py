"""pgmq through its own client: functions in the database, called by asyncpg on a pool."""

import asyncpg
from pgmq.async_queue import PGMQueue
from pgmq.install import get_embedded_install_sql

from bench.peers_load import BATCH, BODY_BYTES, Peer

QUEUE = "bench"
MESSAGE = {"body": "x" * (BODY_BYTES - len('{"body":""}'))}
LEASE_SECONDS = 60


async def connect(url: str, connections: int) -> Peer:
    """Install pgmq and make a queue."""
    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections)
    await pool.execute(get_embedded_install_sql())
    client = PGMQueue(conn_string=url, pool=pool, init_extension=False)
    await client.create_queue(QUEUE)
    return Peer(
        send_one=lambda: client.send(QUEUE, MESSAGE),
        send_batch=lambda: client.send_batch(QUEUE, [MESSAGE] * BATCH),
        receive=lambda _: client.read(QUEUE, vt=LEASE_SECONDS, qty=BATCH),
        settle=lambda batch: client.delete_batch(QUEUE, [message.msg_id for message in batch]),
        analyze=lambda: pool.execute("analyze"),
    )
