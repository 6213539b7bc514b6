"""Jobs on two servers that share a PostgreSQL database: what one does counts for the other at once."""

import asyncio
from collections import Counter
from functools import partial

import pytest

from millrace.apps.jobs import jobs, runs, uploads
from millrace.apps.jobs.jobs import JobBody
from millrace.apps.jobs.uploads import Announced
from millrace.coordination import states
from millrace.errors import Conflict
from millrace.message import Lease
from tests.apps.job_rooms import ACCOUNT, open_servers

JOBS, PULLERS = 2_000, 16


@pytest.fixture
async def servers(tmp_path):
    async with open_servers(tmp_path) as made:
        yield made


def add_many(work, numbers, tenants=1):
    return [
        jobs.add(work, ACCOUNT, JobBody(f"run-{number}", f"tenant-{number % tenants}", "a.pdf")).id
        for number in numbers
    ]


async def fill(servers, count, tenants=1):
    """Enqueue jobs over all servers at once, 100 a transaction; give their ids."""
    lots = [
        partial(add_many, numbers=range(first, min(first + 100, count)), tenants=tenants)
        for first in range(0, count, 100)
    ]
    made = await asyncio.gather(*[servers[number % len(servers)].do(lot) for number, lot in enumerate(lots)])
    return [job for lot in made for job in lot]


async def pull_all(rooms, *, acks, tenant=None):
    """Pull until nothing is left; give the ids."""
    pulled = []
    while found := await rooms.pull(10, tenant=tenant):
        ids = [job.id for job in found]
        pulled += ids
        if acks:
            assert all(ok for ok, _, _ in await rooms.settle("done", *ids))
    return pulled


async def latest(rooms, run):
    return await rooms.platform.read(lambda work: states.get(work.tx, ACCOUNT, runs.STATE, run))


async def test_of_2000_jobs_none_is_leased_twice_by_16_pullers_over_both(servers):
    ids = await fill(servers, JOBS)

    pulling = [pull_all(servers[number % 2], acks=bool(number // 2 % 2)) for number in range(PULLERS)]
    pulled = await asyncio.gather(*pulling)

    assert Counter(job for own in pulled for job in own) == Counter(ids)
    done = sum(len(own) for number, own in enumerate(pulled) if number // 2 % 2)
    assert await servers[0].stats() == {"leased": JOBS - done, "done": done}


async def test_agents_of_one_tenant_on_both_servers_get_its_jobs_once_and_no_others(servers):
    await fill(servers, 200, tenants=2)

    pulling = [pull_all(servers[number % 2], acks=True, tenant="tenant-1") for number in range(8)]
    pulled = [job for own in await asyncio.gather(*pulling) for job in own]

    assert len(pulled) == len(set(pulled)) == 100
    assert await servers[1].stats("tenant-0") == {"pending": 100}


async def test_a_job_with_an_idempotency_key_is_made_once_on_both(servers):
    made = await asyncio.gather(*[servers[number % 2].add(key="once") for number in range(8)])

    assert len(set(made)) == 1
    assert await servers[0].stats() == {"pending": 1}


async def test_a_run_that_two_tenants_begin_at_once_is_that_of_one(servers):
    both = [server.add("run-1", tenant) for server, tenant in zip(servers, ("acme", "globex"), strict=True)]

    ends = await asyncio.gather(*both, return_exceptions=True)

    assert sorted(type(end) is Conflict for end in ends) == [False, True]
    assert await servers[0].stats() == {"pending": 1}


async def test_jobs_of_one_run_on_both_servers_end_with_its_latest_one_told(servers):
    """Whatever comes first, a follower sees each change, and in the end that of the job that the run follows."""
    await servers[0].add("run-1")

    async def add_and_work(rooms):
        for _ in range(10):
            await rooms.add("run-1")
            await rooms.settle("done", *[job.id for job in await rooms.pull(2)])

    await asyncio.gather(*[add_and_work(rooms) for rooms in servers])
    for rooms in servers:
        await pull_all(rooms, acks=True)

    run = await servers[0].platform.read(lambda work: runs.find(work, ACCOUNT, "run-1", None))
    told = await latest(servers[1], "run-1")
    assert (told.value["jobId"], told.value["status"]) == (run.job_id, "done")


async def test_the_end_of_a_job_is_not_told_for_a_run_that_follows_a_newer_one(servers):
    """The newer job is on its way to disk while the ack of the older one comes in on the other server."""
    older = await servers[0].add("run-1")
    await servers[0].pull()
    added, go_on, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def add_slowly(work):
        newer = jobs.add(work, ACCOUNT, JobBody("run-1", "acme", "a.pdf"))
        loop.call_soon_threadsafe(added.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(5)
        return newer.id

    adding = asyncio.ensure_future(servers[1].do(add_slowly))
    await added.wait()
    settling = asyncio.ensure_future(servers[0].settle("done", older))
    await asyncio.wait({settling}, timeout=0.1)
    go_on.set()

    assert await settling == [(True, "done", None)]
    told = await latest(servers[0], "run-1")
    assert (told.value["jobId"], told.value["status"]) == (await adding, "pending")


async def test_the_same_ack_over_both_servers_counts_once_and_answers_both_well(servers):
    [job] = await fill(servers, 1)
    [pulled] = await servers[0].pull()

    answers = await asyncio.gather(*[server.settle("done", job, lease=pulled.lease) for server in servers * 4])

    assert answers == [[(True, "done", None)]] * 8
    assert (await latest(servers[0], "run-0")).value["status"] == "done"


async def test_a_late_ack_and_the_next_delivery_do_not_both_have_the_job(servers):
    ids = await fill(servers, 60)
    first = await servers[0].pull(60, seconds=1)
    servers[0].clock.advance(2)

    async def ack_late():
        return [(await servers[0].settle("done", job.id, lease=job.lease))[0] for job in first]

    late, again = await asyncio.gather(ack_late(), pull_all(servers[1], acks=False))

    acked = {job.id for job, (ok, _, _) in zip(first, late, strict=True) if ok}
    assert acked | set(again) == set(ids)
    assert not acked & set(again)


async def test_what_an_agent_says_and_its_ack_on_the_other_server_end_as_done(servers):
    await fill(servers, 30)
    pulled = await servers[0].pull(30)

    def say(work, job):
        runs.store_result(
            work, ACCOUNT, job.body.run_id, None, stage="reading", text_bytes=3, result=runs.Result(text="abc")
        )

    for job in pulled:
        await asyncio.gather(servers[0].do(partial(say, job=job)), servers[1].settle("done", job.id))

    told = [await latest(servers[0], job.body.run_id) for job in pulled]
    assert [(state.value["status"], state.value["textBytes"]) for state in told] == [("done", 3)] * 30


async def test_uploads_announced_on_one_server_arrive_on_the_other(servers):
    announced = Announced(tenant_id="acme", content_type="text/plain", filename="a.txt", max_bytes=100)
    made = await asyncio.gather(
        *[server.do(lambda work: uploads.create(work, ACCOUNT, announced)) for server in servers * 5]
    )

    for one in made:
        await asyncio.gather(
            *[server.do(partial(uploads.arrived, ticket=one.ticket, size=7, etag="e")) for server in servers]
        )

    told = [(await latest(servers[0], one.ticket.run_id)).value["objectBytes"] for one in made]
    assert told == [7] * 10


async def test_both_servers_sweep_and_store_each_end_once(servers):
    await fill(servers, 20)
    queue = await servers[0].queue()
    await servers[0].platform.store.purge(queue.id, servers[0].clock())

    await asyncio.gather(*[server.sweep() for server in servers])

    assert await servers[1].stats() == {"failed": 20}


async def test_a_lease_of_one_server_is_unknown_to_nobody(servers):
    [job] = await fill(servers, 1)
    [pulled] = await servers[0].pull()

    stale = await servers[1].settle("done", job, lease=Lease(pulled.lease.key, pulled.lease.receipt + 1))
    extended = await servers[1].extend(600, job)

    assert stale == [(False, "leased", "stale_lease")]
    assert extended == [(True, "leased", None)]
