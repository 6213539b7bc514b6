"""A store with something of every kind in it, and what can be told of it row by row."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from millrace.audit import entry_of
from millrace.cli.applications import SCHEMAS
from millrace.coordination import locks, states
from millrace.idempotency import Once
from millrace.message import HIGH, LOW, Lease
from millrace.moving.checking import find_faults
from millrace.moving.copying import Progress
from millrace.moving.moves import move, reading
from millrace.moving.places import Place
from millrace.moving.side import Side
from millrace.moving.sqlite import known_tables
from millrace.moving.tables import BY_NAME, LEFT_OUT
from millrace.settlement import Reject
from millrace.sql.audit import chain
from millrace.sql.pruning import prune
from millrace.sql.sqlite.directory import prepare_directory
from millrace.sql.store import SqlStore
from millrace.sql.stores import postgres_store, sqlite_store
from tests.conformance.conftest import ManualClock
from tests.conformance.made import Bench, stamped

NAMES = [name for name in known_tables(SCHEMAS) if name not in BY_NAME]
NOW_MS = 1_800_000_000_000
PLAIN = 1_200
ROW_NUMBERS = {"rowid", "position"}
KEEPS_EMPTY = {
    "messages",
    "queues",
    "lanes",
    "audit",
    "audit_head",
    "audit_pruned",
    "locks",
    "states",
    "idempotency",
    "store",
    "moving",
}


class Furnished(NamedTuple):
    """Where the store lies, and what its tests go on with."""

    place: Place
    queue_id: str
    leases: list[Lease]
    dead_queue_id: str


def furnish(folder: Path, messages: int = PLAIN) -> Furnished:
    """Make the store in a data directory: messages at every point of their lives, and rows in every table."""
    database = prepare_directory(folder, SCHEMAS).database
    clock = ManualClock(NOW_MS)

    async def fill() -> Furnished:
        store = sqlite_store(str(database), clock, SCHEMAS)
        found = await _live(store, clock, messages)
        await chain(store)
        await store.write(lambda tx: prune(tx, "acc", [1], NOW_MS))
        await chain(store)
        await store.close()
        return Furnished(Place("sqlite", str(database)), *found)

    furnished = asyncio.run(fill())
    _fill_the_rest(database)
    return furnished


def opened(place: Place, clock: ManualClock) -> SqlStore:
    """Open a store of either kind."""
    return (sqlite_store if place.kind == "sqlite" else postgres_store)(place.location, clock, SCHEMAS)


def contents(side: Side) -> dict[str, list[Any]]:
    """Give every value of every table, in an order of its own; rows are numbered only where that is their order."""
    found = {}
    for name, table in side.tables(NAMES).items():
        names = {column.name for column in table.columns}
        columns = sorted(one for one in names - ROW_NUMBERS if (name, one) not in LEFT_OUT)
        if name == "workflow_steps":
            columns += names & ROW_NUMBERS
        rows = side.rows(table, columns)
        found[name] = sorted([row[len(table.key) :] for row in rows], key=repr)
    return found


def copied(source: Place, target: Place) -> list[Progress]:
    told: list[Progress] = []
    move(source, target, SCHEMAS, lambda: NOW_MS, told.append)
    return told


def faults_in(place: Place) -> list[str]:
    """Give what is wrong with a store, but for what makes the clusters of tests fast."""
    fast = ("fsync of", "full_page_writes of")
    return [fault for fault in find_faults(place, SCHEMAS) if not fault.startswith(fast)]


def told_by(place: Place) -> dict[str, object]:
    with reading(place) as side:
        return {**contents(side), "numbers": side.numbers(), "id": side.store_id()}


async def _live(store: SqlStore, clock: ManualClock, messages: int) -> tuple[str, list[Lease], str]:
    bench = await Bench.set_up(store, clock, name="orders", dead_letter_queue="dead", max_retries=1)
    for first in range(0, messages, 100):
        await bench.send(*(b"%d" % number * (1 + number % 90) for number in range(first, first + 100)))
    await bench.put(b"\0\xff" * 40_000, b"large", delay_seconds=86_400, priority=HIGH)
    await bench.put(*(b"late %d" % number for number in range(300)), delay_seconds=3_600)
    await bench.put(*(b"ordered %d" % number for number in range(100)), ordering_key="ü\x7f")
    await bench.put(*(b"ordered %d" % number for number in range(100)), ordering_key="another", priority=LOW)
    await store.send(bench.queue.id, [_with_headers(bench)], Once(key_hash=b"k" * 32, content_hash=b"c" * 32))
    for message in await bench.receive(20):
        await bench.settle(message, Reject("no good"))
    for message in await bench.receive(20):
        await bench.retry(message, delay_seconds=60)
    leases = [message.lease for message in await bench.receive(50, lease_seconds=600)]
    await _purge_and_delete(store, clock)
    await store.write(lambda tx: locks.take(tx, "acc", "door", "me", 60_000, NOW_MS))
    await store.write(lambda tx: states.put(tx, "acc", "cart", "1", {"n": 1}, NOW_MS))
    return bench.queue.id, leases, (await bench.of("dead")).queue.id


async def _purge_and_delete(store: SqlStore, clock: ManualClock) -> None:
    """Leave lanes that were let go, one of them half swept."""
    for name in ("purged", "deleted"):
        bench = await Bench.set_up(store, clock, name=name)
        await bench.put(*(b"gone" for _ in range(1_100)))
        if name == "purged":
            await store.purge(bench.queue.id, NOW_MS, entry_of("acc", NOW_MS, "queue.purged", "queue purged"))
            await store.sweep()
            await bench.send(b"after the purge")
        else:
            await store.delete_queue("acc", bench.queue.id, entry_of("acc", NOW_MS, "queue.deleted", "queue deleted"))


def _with_headers(bench: Bench) -> Any:
    return stamped(NOW_MS, b"with headers", headers={"traceparent": "00-ü"})


def _fill_the_rest(database: Path) -> None:
    """Put rows of made-up values into the tables that are still empty; half of what may be missing is."""
    connection = apsw.Connection(str(database))
    tables = [row[1] for row in connection.execute("pragma table_list") if not row[1].startswith("sqlite_")]
    for table in sorted(set(tables) - KEEPS_EMPTY - {"schema_migrations"}):
        columns = connection.execute('select name, type, "notnull" from pragma_table_info(?)', (table,)).fetchall()
        marks = ", ".join("?" * len(columns))
        for number in (3, 1, 2):
            row = [_made_up(name, kind, number, is_needed=bool(needed) or number > 1) for name, kind, needed in columns]
            connection.execute(f'insert into "{table}" values ({marks})', row)
    connection.close()


def _made_up(name: str, kind: str, number: int, *, is_needed: bool) -> Any:
    if name == "outcome":
        return "done" if is_needed else None
    if not is_needed:
        return None
    return {"INTEGER": number << 40, "REAL": number / 3, "BLOB": bytes([number]) * 40}.get(kind, f"{name} Ω {number}")
