"""SQL over the published views of a PostgreSQL database: what it says, and how much it takes."""

import pytest

from millrace.apps.jobs import statuses
from millrace.errors import InvalidInput
from millrace.message import Outgoing
from millrace.sql import showing
from millrace.views import Views
from tests.apps.job_rooms import ACCOUNT, open_servers


@pytest.fixture
async def servers(tmp_path):
    async with open_servers(tmp_path) as made:
        yield made


async def ask(rooms, sql, parameters=(), account=ACCOUNT):
    views = Views(rooms.platform.store, rooms.clock, [statuses.VIEW])
    return (await views.query(account, sql, parameters)).rows


async def send(rooms, name, *bodies, **more):
    queue = await rooms.platform.catalog.ensure(ACCOUNT, name)
    for body in bodies:
        await rooms.platform.broker.send(queue, Outgoing(body=body, **more))


async def test_all_views_show_what_both_servers_did(servers):
    one, two = servers
    job = await one.add("run-1", "acme")
    await two.add("run-2", "globex")
    await two.settle("done", *[pulled.id for pulled in await two.pull(1)])
    await send(one, "orders", b'{"n": 1}', "zwölf\0 Bytes".encode())
    await send(two, "orders", b"\xff\x00", content_type="bytes")

    jobs = await ask(two, "select id, tenant_id, status, created_at from jobs order by id")
    messages = await ask(one, "select body, length(body), status from messages where queue = 'orders' order by rowid")
    queues = await ask(one, "select backlog_count, paused, created_at from queues where name = 'orders'")

    assert [row[1:3] for row in jobs] == [["acme", "done"], ["globex", "pending"]]
    assert jobs[0][0] == job
    assert jobs[0][3].endswith("Z")
    assert messages[0] == ['{"n": 1}', 8, "ready"]
    assert messages[2] == [None, None, "ready"]
    assert queues == [[3, 0, jobs[0][3]]]


async def test_views_are_joined_and_counted_in_one_snapshot(servers):
    for number in range(5):
        await servers[number % 2].add(f"run-{number}", f"tenant-{number % 2}")

    rows = await ask(
        servers[0],
        "select j.tenant_id, count(*), json_group_array(m.attempts) from jobs j join messages m on m.id = j.id "
        "where j.tenant_id = :tenant group by 1",
        {"tenant": "tenant-0"},
    )

    assert rows == [["tenant-0", 3, "[0,0,0]"]]


async def test_another_account_sees_nothing_of_it(servers):
    await servers[0].add()

    seen = "select (select count(*) from jobs) + (select count(*) from messages) + (select count(*) from queues)"

    assert await ask(servers[0], seen, account="other") == [[0]]


async def test_a_view_of_too_many_rows_is_refused_and_the_others_still_answer(servers, monkeypatch):
    monkeypatch.setattr(showing, "MOST_ROWS", 10)
    for number in range(11):
        await servers[0].add(f"run-{number}")

    with pytest.raises(InvalidInput, match=r"the view jobs has more than 10 rows .* query PostgreSQL directly"):
        await ask(servers[0], "select count(*) from jobs where status = 'done'")

    assert await ask(servers[0], "select backlog_count from queues where name = 'jobs'") == [[11]]


async def test_a_view_of_too_many_bytes_is_refused_before_they_are_read(servers, monkeypatch):
    monkeypatch.setattr(showing, "MOST_BYTES", 3_000)
    await send(servers[0], "orders", *[b'"' + b"x" * 998 + b'"'] * 3)
    fits = await ask(servers[0], "select count(*), max(length(body)) from messages where queue = 'orders'")

    await send(servers[0], "orders", b"1")

    assert fits == [[3, 1_000]]
    with pytest.raises(InvalidInput, match="the view messages has more than"):
        await ask(servers[0], "select count(*) from messages")


async def test_a_message_that_waits_for_another_has_no_time(servers):
    await send(servers[0], "orders", b"1", b"2", ordering_key="k")

    assert await ask(servers[0], "select status, visible_at is null from messages order by rowid") == [
        ["ready", 0],
        ["scheduled", 1],
    ]
