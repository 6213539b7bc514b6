"""Two and three servers on one PostgreSQL database: whatever they do at the same moment, every message is there once."""

from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import psycopg
import pytest

from millrace.sql.postgres.preparing import prepare
from millrace.sql.queues import FOLD_AGAIN, FOLD_CHANGES, ORDERED, RANKED
from millrace.sql.stores import postgres_store
from tests.clusters import emptied_database, template_database
from tests.conformance.conftest import ManualClock
from tests.conformance.crowd import KEPT, MAX_BACKLOG, RATE, Crowd, family
from tests.support import IS_SOAK

SECONDS = 60.0 if IS_SOAK else 1.2
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
ORPHANS = "select m.lane, count(*) from messages m where not exists (select from lanes l where l.lane = m.lane) group by 1"
LOST_LANES = """
select l.lane from lanes l where in_use <> exists (select from queues q where q.lane = l.lane)
"""
UNKNOWN_FEATURES = f"""
select l.lane, l.features, array_agg(distinct m.priority), array_agg(distinct m.ordering_key)
from messages m join lanes l on l.lane = m.lane
where m.priority <> 1 and l.features & {RANKED} = 0 or m.ordering_key is not null and l.features & {ORDERED} = 0
group by 1, 2
"""  # noqa: S608
LONG_BACKLOGS = f"""
select c.lane, count(*) from backlog_changes c join lanes l on l.lane = c.lane
group by 1 having count(*) > {4 * (FOLD_CHANGES + FOLD_AGAIN)}
"""  # noqa: S608
ROWS = "select q.name, m.id from messages m join queues q on q.lane = m.lane"
NOTHING_IN = (WRONG_BACKLOGS, KEYS_WITHOUT_ONE_HEAD, ORPHANS, LOST_LANES, UNKNOWN_FEATURES, LONG_BACKLOGS)


@asynccontextmanager
async def crowded(servers, seed):
    """Give a crowd on so many stores, and its database; in the end there must have been no deadlock."""
    with emptied_database(template_database("engine", prepare)) as url, psycopg.connect(url, autocommit=True) as database:
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
    assert sum(1 for name, _ in rows if name == "limited") <= MAX_BACKLOG + 1000


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
