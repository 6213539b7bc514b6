"""What `env` holds beside queues, for handlers of every kind."""

import pytest

from millrace.bindings import Env
from millrace.cli.consume import env_of
from millrace.client.asynchronous import AsyncClient
from millrace.coordination.kv import Kv
from millrace.coordination.kv_binding import KvBinding, kv_ask
from millrace.errors import InvalidInput, WorkflowExists, WorkflowNotFound
from millrace.handlers import as_call
from millrace.handlers.asking import answering
from millrace.handlers.d1_binding import D1Database
from millrace.handlers.workflow_binding import InstanceStatus
from millrace.python_workers.views import WorkerEnv
from millrace.views import Views
from tests.unit.batches import batch
from tests.unit.workflow_stage import ACCOUNT, NAME, staged
from tests.unit.wrangler_files import read_json


async def order(event, step):
    return {"got": event.payload}


@pytest.fixture
async def stage(tmp_path):
    async with staged(order, tmp_path) as made:
        yield made


@pytest.fixture
def env(stage):
    views = Views(stage.platform.store, stage.clock)

    async def query(sql, parameters):
        found = await views.query(ACCOUNT, sql, parameters)
        return {"columns": found.columns, "rows": found.rows}

    return Env(
        {
            "AUTH_KV": KvBinding(kv_ask(Kv(stage.platform.store, stage.clock, ACCOUNT, "auth"))),
            "DB": D1Database(answering(query=query)),
            "ORDERS": stage.platform.workflow(ACCOUNT, NAME),
        }
    )


async def test_a_namespace_gives_what_was_put_with_its_metadata(env):
    await env.AUTH_KV.put("key:1", {"role": "admin"}, metadata={"by": "ann"})
    await env.AUTH_KV.put("raw", b"\x00\xff")

    entry = await env.AUTH_KV.get_with_metadata("key:1", "json")
    listed = await env.AUTH_KV.list(prefix="key:")

    assert (entry.value, entry.metadata, await env.AUTH_KV.get("raw", "bytes")) == ({"role": "admin"}, {"by": "ann"}, b"\x00\xff")  # fmt: skip
    assert ([key.name for key in listed.keys], listed.list_complete) == (["key:1"], True)


async def test_a_database_gives_rows_as_dicts_as_lists_and_one_by_one(env):
    statement = env.DB.prepare("select name, backlog_count from queues where name = ?")

    found = await statement.bind("workflow-orders").all()
    row = await statement.bind("workflow-orders").first()
    raw = await statement.bind("workflow-orders").raw(column_names=True)
    none = await statement.bind("missing").first("name")

    assert found.results == [row] == [{"name": "workflow-orders", "backlog_count": 0}]
    assert (raw, none) == ([["name", "backlog_count"], ["workflow-orders", 0]], None)


async def test_a_database_is_only_read(env):
    with pytest.raises(InvalidInput):
        await env.DB.prepare("delete from queues").run()


async def test_a_workflow_is_started_looked_at_and_not_started_twice(env, stage):
    instance = await env.ORDERS.create(id="one", params={"n": 1})
    before = await instance.status()
    await stage.deliver()
    after = await (await env.ORDERS.get("one")).status()

    assert (before, after) == (
        InstanceStatus(status="queued"),
        InstanceStatus(status="complete", output={"got": {"n": 1}}),
    )
    with pytest.raises(WorkflowExists, match="'one' already"):
        await env.ORDERS.create(id="one")
    with pytest.raises(WorkflowNotFound):
        await env.ORDERS.get("two")


async def test_of_a_batch_only_those_are_created_that_were_not_there(env):
    await env.ORDERS.create(id="one")

    created = await env.ORDERS.create_batch([{"id": "one"}, {"id": "two", "params": 2}])

    assert [instance.id for instance in created] == ["two"]


async def test_a_plain_function_waits_for_all_of_them_without_a_word(env):
    seen = []

    def handle(batch, env):
        env.AUTH_KV.put("a", "1")
        instances = env.ORDERS.create_batch([{"id": "one"}])
        first = env.DB.prepare("select count(*) as n from queues where name = ?").bind("workflow-orders").first("n")
        seen.append((env.AUTH_KV.get("a"), instances[0].id, instances[0].status().status, first))
        seen.append(env.DB.batch([env.DB.prepare("select 1 as one")])[0].results)

    await as_call(handle)(batch(b"1"), env)

    assert seen == [("1", "one", "queued", 1), [{"one": 1}]]


async def test_a_worker_gives_options_as_objects_and_gets_javascripts_spelling(env):
    worker = WorkerEnv(env)

    await worker.AUTH_KV.put("a", "1", {"expirationTtl": 60, "metadata": {"deep": [1]}})
    entry = await worker.AUTH_KV.getWithMetadata("a", {"type": "json"})
    instance = await worker.ORDERS.create({"id": "one", "params": {"n": 1}})
    rows = await worker.DB.prepare("select 1 as one").all()
    listed = await worker.AUTH_KV.list({"prefix": "a"})

    assert (entry.value, entry.metadata.deep, instance.id) == (1, [1], "one")
    assert ((await instance.status()).status, rows.results[0].one, rows.to_py()["results"]) == ("queued", 1, [{"one": 1}])  # fmt: skip
    assert listed.keys[0].name == "a"


async def test_consume_says_of_each_that_only_the_server_has_it(tmp_path):
    file = read_json(tmp_path, {"vars": {"A": 1}, "kv_namespaces": [{"binding": "AUTH_KV"}]})
    async with AsyncClient("http://127.0.0.1:1", "key") as client:
        env = env_of(client, file)

    assert env.A == 1
    with pytest.raises(AttributeError, match="AUTH_KV is there for handlers of `millrace serve` only"):
        _ = env.AUTH_KV
    with pytest.raises(AttributeError, match="no binding 'OTHER'; there are: A"):
        _ = env.OTHER
