"""Messages while the store is away, the queue is full, or everything fails: nothing is lost, and nothing stays behind."""

import asyncio
import gc

import apsw
import pytest

from millrace.apps.messaging.providers.contract import Failed
from millrace.apps.messaging.queues import QUEUE
from millrace.bindings import Env
from millrace.handlers import as_call
from millrace.sql.sqlite import connection
from millrace.testing.delivering import Line
from tests.apps.databases import DATABASES
from tests.apps.message_rooms import ACCOUNT, email, open_rooms
from tests.support import Server

FAILING = 100
ROUTE = "/api/enqueue-job"
CONFIG = """
[[queues.limits]]
queue = "message-delivery"
max_backlog_messages = 2
"""
LATER = "2999-01-01T00:00:00Z"


async def test_a_store_that_is_away_when_jobs_are_to_begin_costs_them_nothing_but_a_second(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 1)
    async with open_rooms(tmp_path) as rooms:
        await rooms.queue(email())
        file = apsw.Connection(rooms.platform.store.location)

        async def begin_in_vain(batch, env):
            file.execute("begin immediate")
            try:
                await rooms.delivery(batch, env)
            finally:
                file.execute("rollback")

        await Line(rooms.platform, ACCOUNT, QUEUE, as_call(begin_in_vain), Env({"ACCOUNT_ID": ACCOUNT})).deliver()
        gaps = await rooms.run()

        assert gaps == [1.0]
        assert rooms.provider.tried == ["msg-1"]
        assert await rooms.story("msg-1") == ["queued", "processing", "sent"]


@pytest.mark.parametrize("database", DATABASES)
async def test_jobs_that_all_fail_leave_no_lease_no_coroutine_and_nothing_in_memory(tmp_path, database):
    async with open_rooms(tmp_path, database) as rooms:
        before = len(asyncio.all_tasks())
        await rooms.queue(*[email(f"msg-{number}") for number in range(FAILING)])
        rooms.provider.answers |= {f"msg-{number}": [Failed("recorder", "451 busy")] for number in range(FAILING)}

        await rooms.run()

        gc.collect()
        assert len(rooms.provider.tried) == 3 * FAILING
        assert await rooms.messages() == []
        assert len(asyncio.all_tasks()) == before
        assert not rooms.delivery._unwritten


def test_a_full_queue_takes_no_list_in_part(tmp_path):
    config = tmp_path / "wrangler.toml"
    config.write_text(CONFIG)
    with Server(tmp_path / "data", "--config", str(config)) as server:
        refused = server.call("POST", ROUTE, [email(f"msg-{number}", sendAt=LATER) for number in range(3)])
        taken = server.call("POST", ROUTE, [email("msg-3", sendAt=LATER), email("msg-4", sendAt=LATER)])
        full = server.call("POST", ROUTE, email("msg-5"))

        assert [refused.status, taken.status, full.status] == [429, 202, 429]
        assert server.call("GET", "/debug/queue-status").json["total"] == 2
