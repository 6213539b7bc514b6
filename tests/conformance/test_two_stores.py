"""Two and three servers on one PostgreSQL database: whatever they do at the same moment, every message is there once."""

import asyncio
import threading
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from time import monotonic

import psycopg
import pytest
from scripts.cluster import wait_until

from millrace import limits
from millrace.errors import BacklogFull, StoreUnavailable
from millrace.message import HIGH
from millrace.sql import cleaning, sending
from millrace.sql.postgres import writer
from millrace.sql.postgres.connection import SETTINGS
from millrace.sql.postgres.preparing import prepare
from millrace.sql.queue_state import FOLD_AGAIN, FOLD_CHANGES, ORDERED, RANKED
from millrace.sql.sending import Sending
from millrace.sql.stores import postgres_store
from tests.clusters import emptied_database, template_database
from tests.conformance.conftest import ManualClock
from tests.conformance.crowd import KEPT, RATE, WINDOW_SECONDS, Crowd, family
from tests.conformance.made import Bench, queue, stamped
from tests.support import IS_SOAK

SECONDS = 60.0 if IS_SOAK else 0.9
TASKS, ACTS = 12, 10

WRONG_BACKLOGS = """
select q.name, l.backlog_count + c.count as count, m.count as rows, l.backlog_bytes + c.bytes as bytes, m.bytes as size
from queues q
join lanes l on l.lane = q.lane
cross join lateral (
    select coalesce(sum(count), 0) as count, coalesce(sum(bytes), 0) as bytes
    from backlog_changes where lane = l.lane and written_by >= l.folded_below
) c
cross join lateral (
    select count(*) as count, coalesce(sum(length(body)), 0) as bytes from messages where lane = q.lane
) m
where (l.backlog_count + c.count, l.backlog_bytes + c.bytes) <> (m.count, m.bytes)
"""
KEYS_WITHOUT_ONE_HEAD = """
select q.name, m.ordering_key, count(*), count(*) filter (where m.due_at_ms is null) as heads
from messages m join queues q on q.lane = m.lane
where m.ordering_key is not null
group by 1, 2
having count(*) filter (where m.due_at_ms is null) <> 1
"""
ORPHANS = (
    "select m.lane, count(*) from messages m where not exists (select from lanes l where l.lane = m.lane) group by 1"
)
LOST_LANES = """
select l.lane from lanes l where in_use <> exists (select from queues q where q.lane = l.lane)
"""
UNKNOWN_FEATURES = f"""
select l.lane, l.features, array_agg(distinct m.priority), array_agg(distinct m.ordering_key)
from messages m join lanes l on l.lane = m.lane
where m.priority <> 1 and l.features & {RANKED} = 0 or m.ordering_key is not null and l.features & {ORDERED} = 0
group by 1, 2
"""
LONG_BACKLOGS = f"""
select c.lane, count(*) from backlog_changes c join lanes l on l.lane = c.lane
group by 1 having count(*) > {4 * (FOLD_CHANGES + FOLD_AGAIN)}
"""
WAITING = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
ROWS = "select q.name, m.id from messages m join queues q on q.lane = m.lane"
NOTHING_IN = (WRONG_BACKLOGS, KEYS_WITHOUT_ONE_HEAD, ORPHANS, LOST_LANES, UNKNOWN_FEATURES, LONG_BACKLOGS)


@asynccontextmanager
async def crowded(servers, seed):
    """Give a crowd on so many stores, and its database; in the end there must have been no deadlock."""
    with (
        emptied_database(template_database("engine", prepare)) as url,
        psycopg.connect(url, autocommit=True) as database,
    ):
        before = deadlocks(database)
        clock = ManualClock()
        stores = [postgres_store(url, clock) for _ in range(servers)]
        crowd = Crowd(stores, clock, Random(seed))
        await crowd.set_up()
        yield crowd, database
        for store in stores:
            await store.close()  # a session that ends writes its statistics
        assert deadlocks(database) == before


def deadlocks(database):
    return database.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()


def check_rows(database):
    """Hold the tables against themselves, while nobody writes."""
    for statement in NOTHING_IN:
        assert database.execute(statement).fetchall() == [], statement


def check_ledger(crowd, database):
    """Hold the tables against what the tasks were told: what was stored lies there, or was removed, once."""
    rows = [(family(name), message_id) for name, message_id in database.execute(ROWS)]
    ledger = crowd.ledger
    assert len(rows) == len(set(rows)), "a message is there twice"
    assert set(rows) <= ledger.stored.keys()
    assert not set(rows) & ledger.removed.keys(), "what was removed is there"
    kept = {one for one in ledger.stored if one[0] in KEPT}
    assert kept == {one for one in (*rows, *ledger.removed) if one[0] in KEPT}, "messages were lost"
    assert all(len(ids) == 1 for ids in ledger.first_ids.values()), "a key has stored two sends"
    for times in map(sorted, ledger.dedupe_times.values()):
        assert all(then - first >= WINDOW_SECONDS * 1000 for first, then in pairwise(times)), "a key has stored two"


@pytest.mark.parametrize("servers", [2, 3])
async def test_whatever_servers_do_at_the_same_moment_every_message_is_there_once(servers):
    async with crowded(servers, seed=servers) as (crowd, database):
        began_at_ms, until = crowd.clock(), monotonic() + SECONDS
        while monotonic() < until:
            await crowd.act(TASKS, ACTS)

            check_rows(database)
            check_ledger(crowd, database)

        passed_seconds = (crowd.clock() - began_at_ms) / 1000
        assert crowd.ledger.taken["rated"] <= RATE.messages * (1 + passed_seconds / RATE.per_seconds)


@asynccontextmanager
async def still_open(store, act):
    """Let a transaction of this store have done something, and not be over yet."""
    done, end, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def act_and_wait(tx):
        act(tx)
        tx.fetch("changes")  # the answer says that all before it is done
        loop.call_soon_threadsafe(done.set)
        end.wait(10)

    writing = asyncio.create_task(store.write(act_and_wait))
    await done.wait()
    try:
        yield
    finally:
        end.set()
        await writing


async def until_somebody_waits(database):
    await asyncio.to_thread(wait_until, lambda: database.execute(WAITING).fetchall(), 5, "nobody waits")


@pytest.fixture
async def pair(clock):
    """Two benches on one database, each with a store of its own, and the database."""
    with (
        emptied_database(template_database("engine", prepare)) as url,
        psycopg.connect(url, autocommit=True) as database,
    ):
        stores = [postgres_store(url, clock) for _ in range(2)]
        made = queue(max_backlog_messages=1005)
        await stores[0].create_queue(made)
        yield [Bench(store, clock, made) for store in stores], database
        for store in stores:
            await store.close()


async def test_a_key_goes_on_when_its_head_and_the_one_behind_it_leave_at_the_same_moment(pair):
    (one, other), database = pair
    (_, behind, _) = await one.put(b"head", b"behind", b"last", ordering_key="a")
    (head,) = await one.receive()

    async with still_open(one.store, lambda tx: cleaning.cancel(tx, one.queue.id, [behind], one.clock())):
        acknowledged = asyncio.create_task(other.ack(head))
        await until_somebody_waits(database)
    await acknowledged

    assert await other.bodies() == [b"last"]


async def test_what_two_servers_learn_of_a_queue_at_the_same_moment_both_know_later(pair):
    (one, other), database = pair
    urgent = Sending(one.queue.id, [stamped(one.clock(), b"urgent", priority=HIGH)])

    async with still_open(one.store, lambda tx: sending.send(tx, [urgent])):
        sent = asyncio.create_task(other.put(b"ordered", ordering_key="a"))
        await until_somebody_waits(database)
    await sent

    assert await other.bodies() == [b"urgent", b"ordered"]


async def test_two_servers_do_not_fill_a_queue_beyond_its_limit(pair):
    (one, other), database = pair
    most = Sending(one.queue.id, [stamped(one.clock()) for _ in range(1000)])

    async with still_open(one.store, lambda tx: sending.send(tx, [most])):
        sent = asyncio.create_task(other.send(*[b"1"] * 10))
        await until_somebody_waits(database)

    with pytest.raises(BacklogFull):
        await sent


async def test_a_lane_that_two_servers_sweep_stays_until_it_is_empty(pair, monkeypatch):
    (one, other), database = pair
    monkeypatch.setattr(limits, "ROWS_PER_TRANSACTION", 2)
    await one.send(*[b"1"] * 3)
    await one.store.purge(one.queue.id, one.clock())

    async with still_open(one.store, cleaning.sweep):
        swept = asyncio.create_task(other.store.sweep())
        await until_somebody_waits(database)
    await swept

    check_rows(database)


async def test_who_shares_a_group_with_one_that_waits_in_vain_is_served(pair, monkeypatch):
    (one, _), _ = pair
    monkeypatch.setitem(SETTINGS, "lock_timeout", "100")
    monkeypatch.setattr(writer, "GROUP_LOCK_MS", 50)
    other = await Bench.set_up(pair[0][1].store, one.clock, name="other")
    ordered = Sending(other.queue.id, [stamped(one.clock(), ordering_key="a")])

    async with still_open(one.store, lambda tx: sending.send(tx, [ordered])):
        sends = [other.put(b"1", ordering_key="a"), *[other.send() for _ in range(7)]]
        waiting, *others = await asyncio.gather(*sends, return_exceptions=True)

    assert isinstance(waiting, StoreUnavailable)
    assert [len(ids) for ids in others] == [1] * 7
