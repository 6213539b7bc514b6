"""The audit trail: what an act leaves in it, and what a hand that changes it leaves behind."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from millrace.access.keys import Keys
from millrace.access.scopes import Role
from millrace.audit import ACTING, GENESIS, START, Actor, Entry, Link, Verdict, entry_of, facts_of, next_hash
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.errors import QueueNameTaken
from millrace.message import Outgoing
from millrace.platform import Platform
from millrace.queue import Forward, Queue, QueueSettings
from millrace.sql.audit import chain, follow, note, page, verify
from millrace.sql.sqlite.connection import prepare
from millrace.sql.store import SqlStore
from millrace.sql.stores import sqlite_store
from millrace.sql.transaction import Transaction
from millrace.subscriptions import Subscriptions
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock

ACCOUNT = "acc"
PUSH = {"type": "http_push", "url": "https://sink.example/in?token=hunter2", "settings": {}}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqlStore]:
    path = str(tmp_path / "store.db")
    prepare(path, "audit")
    made = sqlite_store(path, clock)
    yield made
    await made.close()


@pytest.fixture
def catalog(store: SqlStore, clock: ManualClock) -> Catalog:
    return Catalog(store, clock)


@pytest.fixture
def broker(store: SqlStore, clock: ManualClock) -> Broker:
    return Broker(store, clock, Telemetry())


async def entries(store: SqlStore, **words: Any) -> list[Entry]:
    """Give the trail, oldest first."""
    return [noted.entry for noted in reversed(await store.read(lambda tx: page(tx, ACCOUNT, 1000, **words)))]


async def acts(store: SqlStore) -> list[tuple[str, str]]:
    return [(entry.act, entry.object) for entry in await entries(store)]


async def noted(store: SqlStore, count: int) -> None:
    def fill(tx: Transaction) -> None:
        for number in range(count):
            note(tx, entry_of(ACCOUNT, number, "thing.done", f"thing {number}", way="well"))

    await store.write(fill)


async def test_what_is_done_to_a_queue_is_noted_with_the_differences(store: SqlStore, catalog: Catalog) -> None:
    queue = await catalog.create(ACCOUNT, "orders", {"delivery_delay": 5})

    await catalog.change(ACCOUNT, queue.id, settings={"delivery_delay": 7})
    await catalog.change(ACCOUNT, queue.id, settings={"delivery_paused": True})
    await catalog.change(ACCOUNT, queue.id, settings={"delivery_paused": False})
    await catalog.add_producer(ACCOUNT, queue.id, "script")
    await catalog.delete(ACCOUNT, queue.id)

    assert [(entry.act, entry.details) for entry in await entries(store, object="queue orders")] == [
        ("queue.created", {"after": {"delivery_delay": 5}}),
        ("queue.changed", {"before": {"delivery_delay": 5}, "after": {"delivery_delay": 7}}),
        ("queue.paused", {"before": {"delivery_paused": False}, "after": {"delivery_paused": True}}),
        ("queue.resumed", {"before": {"delivery_paused": True}, "after": {"delivery_paused": False}}),
        ("producer.added", {"after": {"producers": ["script"]}}),
        ("queue.deleted", {"messages": 0, "bytes": 0}),
    ]


async def test_a_change_that_changes_nothing_leaves_no_entry(store: SqlStore, catalog: Catalog) -> None:
    queue = await catalog.create(ACCOUNT, "orders", {})

    await catalog.change(ACCOUNT, queue.id, settings={"delivery_delay": 0})
    await catalog.remove_producer(ACCOUNT, queue.id, "script")

    assert await acts(store) == [("queue.created", "queue orders")]


async def test_consumers_are_noted_without_secret_and_query(store: SqlStore, catalog: Catalog) -> None:
    queue = await catalog.create(ACCOUNT, "orders", {})

    consumer = await catalog.attach(ACCOUNT, queue.id, {**PUSH, "dead_letter_queue": "dead"})
    secret = f"whsec_{'QUJD' * 10}"
    await catalog.replace_consumer(ACCOUNT, queue.id, consumer.id, {**PUSH, "secret": secret})
    await catalog.detach(ACCOUNT, queue.id, consumer.id)

    trail = await entries(store)
    assert [(entry.act, entry.object) for entry in trail] == [
        ("queue.created", "queue orders"),
        ("consumer.attached", "queue orders"),
        ("queue.created", "queue dead"),
        ("consumer.changed", "queue orders"),
        ("consumer.detached", "queue orders"),
    ]
    assert trail[1].details["after"]["consumer.url"] == "https://sink.example/in?…"
    assert trail[3].details == {
        "before": {"consumer.dead_letter_queue": "dead"},
        "after": {"consumer.secret": "replaced"},
    }
    assert [word for word in ("hunter2", "whsec_") if word in str(trail)] == []


async def test_a_change_of_what_is_not_told_leaves_an_entry_all_the_same(store: SqlStore, catalog: Catalog) -> None:
    queue = await catalog.create(ACCOUNT, "orders", {"forwards": [{"queue": "copy", "headers": {"To": "north"}}]})
    consumer = await catalog.attach(ACCOUNT, queue.id, PUSH)

    url = PUSH["url"].replace("hunter2", "hunter3")
    await catalog.replace_consumer(ACCOUNT, queue.id, consumer.id, {**PUSH, "url": url})
    await catalog.change(ACCOUNT, queue.id, settings={"forwards": [{"queue": "copy", "headers": {"To": "south"}}]})

    assert [(entry.act, entry.details) for entry in (await entries(store, object="queue orders"))[2:]] == [
        ("consumer.changed", {"after": {"consumer.url": "https://sink.example/in?…"}}),
        ("queue.changed", {"after": {"forwards": [{"queue": "copy", "headers": ["To"]}]}}),
    ]


def test_the_headers_of_a_forward_are_told_without_their_values() -> None:
    settings = QueueSettings(forwards=(Forward("copy", {"x-tenant": "hunter2"}),))
    queue = Queue(id="q", account_id=ACCOUNT, name="q", created_at_ms=0, modified_at_ms=0, settings=settings)

    assert facts_of(queue)["forwards"] == [{"queue": "copy", "headers": ["x-tenant"]}]


async def test_what_is_done_to_messages_is_noted_and_sends_are_not(
    store: SqlStore, catalog: Catalog, broker: Broker
) -> None:
    queue = await catalog.create(ACCOUNT, "orders", {})
    ids = [(await broker.send(queue, Outgoing(body=b"1", content_type="json")))[0] for _ in range(3)]
    refs = [message.ref for message in await broker.peek(queue, 10)]

    await broker.discard(queue, [refs[0], "none"])
    await broker.discard(queue, ["none"])
    await broker.redrive(queue)
    await broker.purge(queue)

    assert [(entry.act, entry.details) for entry in (await entries(store))[1:]] == [
        ("message.discarded", {"messages": 1, "ids": [ids[0]]}),
        ("queue.purged", {"messages": 2, "bytes": 2}),
    ]


async def test_keys_and_subscriptions_are_noted_without_secrets(store: SqlStore, clock: ManualClock) -> None:
    keys, subscriptions = Keys(store, clock), Subscriptions(store, clock)
    given = {"name": "s", "enabled": True, "source": {"type": "r2"}, "destination": {"queue_id": "q"}, "events": ["e"]}

    key, secret = await keys.create(ACCOUNT, Role.PRODUCER, queues=("orders",))
    await keys.revoke(ACCOUNT, key.id)
    made = await subscriptions.create(ACCOUNT, given)
    await subscriptions.change(ACCOUNT, made.id, {"enabled": False})
    await subscriptions.delete(ACCOUNT, made.id)

    trail = await entries(store)
    assert [(entry.act, entry.object) for entry in trail] == [
        ("key.created", f"key {key.id}"),
        ("key.revoked", f"key {key.id}"),
        ("subscription.created", f"subscription {made.id}"),
        ("subscription.changed", f"subscription {made.id}"),
        ("subscription.deleted", f"subscription {made.id}"),
    ]
    assert trail[0].details == {"role": "producer", "queues": ["orders"]}
    assert trail[3].details == {"before": {"enabled": True}, "after": {"enabled": False}}
    assert secret[8:16] not in str(trail)


async def test_the_same_admin_token_at_the_next_start_changes_no_key(store: SqlStore, clock: ManualClock) -> None:
    keys = Keys(store, clock)
    await keys.replace_from_environment(ACCOUNT, "the-same-as-ever")

    await keys.replace_from_environment(ACCOUNT, "the-same-as-ever")
    await keys.replace_from_environment(ACCOUNT, "another-one-now")

    assert [act for act, _ in await acts(store)] == ["key.created", "key.revoked", "key.created"]


async def test_a_refused_act_leaves_no_entry_and_takes_no_number(store: SqlStore, catalog: Catalog) -> None:
    await catalog.create(ACCOUNT, "orders", {})

    with pytest.raises(QueueNameTaken):
        await catalog.create(ACCOUNT, "orders", {})
    await catalog.create(ACCOUNT, "letters", {})

    assert [noted.number for noted in await store.read(lambda tx: page(tx, ACCOUNT, 10))] == [2, 1]


async def test_an_act_of_an_application_is_its_callers_and_goes_with_its_transaction(
    store: SqlStore, catalog: Catalog, broker: Broker, clock: ManualClock
) -> None:
    platform = Platform(store, catalog, broker, Telemetry(), clock, None)
    ACTING.set(Actor("key-1", "correlation-1"))

    def done(work: Any) -> None:
        work.note(ACCOUNT, "job.cancelled", "job 1", reason="late", none=None)

    def undone(work: Any) -> None:
        done(work)
        raise LookupError

    await platform.write(done)
    with pytest.raises(LookupError):
        await platform.write(undone)

    [entry] = await entries(store)
    assert (entry.actor, entry.correlation_id, entry.details) == ("key-1", "correlation-1", {"reason": "late"})


async def test_entries_are_found_by_act_object_and_context(store: SqlStore, catalog: Catalog) -> None:
    for name in ("vault-work", "vault-home", "homework"):
        await catalog.create(ACCOUNT, name, {})

    assert [entry.object for entry in await entries(store, context="work")] == ["queue vault-work"]
    assert [entry.object for entry in await entries(store, object="queue homework")] == ["queue homework"]
    assert await entries(store, act="queue.deleted") == []
    assert len(await entries(store, before=3)) == 2


async def test_entries_of_other_accounts_are_not_shown(store: SqlStore, catalog: Catalog) -> None:
    await catalog.create("other", "orders", {})

    assert await entries(store) == []


async def test_the_chain_takes_all_entries_in_their_order_and_goes_on(store: SqlStore) -> None:
    await noted(store, 2_500)
    assert await verify(store) == Verdict(
        ok=True, entries=2_500, unchained=2_500, number=0, hash=GENESIS.hex(), first_bad_number=None, what=None
    )

    assert await chain(store) == 2_500
    await noted(store, 1)
    assert await chain(store) == 1
    assert await chain(store) == 0

    verdict = await verify(store)
    assert (verdict.ok, verdict.entries, verdict.unchained, verdict.number) == (True, 2_501, 0, 2_501)


def test_a_hash_covers_what_went_before_the_number_and_every_field() -> None:
    entry = Entry(account_id="a", at_ms=1, actor="b", act="c", object="d", details={"x": 1, "y": 2})
    same = Entry(account_id="a", at_ms=1, actor="b", act="c", object="d", details={"y": 2, "x": 1})

    hashes = {next_hash(GENESIS, 1, entry), next_hash(b"1" * 32, 1, entry), next_hash(GENESIS, 2, entry)}

    assert next_hash(GENESIS, 1, same) in hashes
    assert len(hashes) == 3


CUT_WITH_ITS_HEAD = (
    "delete from audit where number > 7; "
    "update audit_head set number = 7, hash = (select hash from audit where number = 7)"
)
TAMPERINGS = [
    # by hand, in a trail of ten of which the last two are not chained; the first bad number, the word that tells
    ("update audit set act = 'thing.undone' where number = 4", 4, "changed"),
    ("update audit set details = 'no JSON' where number = 1", 1, "changed"),
    ("update audit set account_id = 'x' where number = 8", 8, "changed"),
    ("update audit set hash = zeroblob(32) where number = 5", 5, "changed"),
    ("update audit set hash = null where number = 5", 5, "lost its hash"),
    ("update audit set hash = null where number between 6 and 8", 6, "lost their hashes"),
    ("delete from audit where number = 3", 3, "missing"),
    ("delete from audit where number = 1", 1, "missing"),
    ("delete from audit where number = 9", 9, "missing"),
    ("delete from audit where number > 7", 8, "missing"),
    ("delete from audit", 1, "missing"),
    (CUT_WITH_ITS_HEAD, 8, "missing"),
    ("update audit set number = -1 where number = 8", 1, "put in"),
    ("insert into audit select 0, account_id, 1, '', '', '', '{}', '', hash from audit where number = 1", 1, "put in"),
    ("update audit_head set hash = zeroblob(32)", 9, "head"),
    ("update audit_head set number = 7", 9, "head"),
    ("update audit_head set number = 20", 9, "missing"),
    ("delete from audit_head", 9, "head"),
]


@pytest.mark.parametrize(("tampering", "number", "word"), TAMPERINGS, ids=[row[0] for row in TAMPERINGS])
async def test_what_was_changed_by_hand_is_found(
    store: SqlStore, tmp_path: Path, tampering: str, number: int, word: str
) -> None:
    await noted(store, 8)
    await chain(store)
    await noted(store, 2)

    tamper(tmp_path / "store.db", tampering)

    verdict = await verify(store)
    assert not verdict.ok
    assert verdict.first_bad_number == number
    assert word in (verdict.what or "")


async def test_a_chain_that_goes_on_over_a_gap_is_found_still(store: SqlStore, tmp_path: Path) -> None:
    await noted(store, 5)
    await chain(store)
    tamper(tmp_path / "store.db", "update audit set hash = null where number = 2", "delete from audit where number = 4")

    await noted(store, 5)
    await chain(store)

    verdict = await verify(store)
    assert (verdict.ok, verdict.first_bad_number) == (False, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from audit",
        "update audit set act = 'x' where number = 1",
        "update audit set number = 100 where number = 2",
        "update audit set hash = zeroblob(32) where number = 1",
    ],
)
async def test_the_database_itself_refuses_changes(store: SqlStore, tmp_path: Path, statement: str) -> None:
    await noted(store, 1)
    await chain(store)
    await noted(store, 1)
    connection = apsw.Connection(str(tmp_path / "store.db"))

    with pytest.raises(apsw.ConstraintError, match="audit entries are not"):
        connection.execute(statement)

    connection.close()


async def test_a_walk_goes_on_where_it_was_though_the_chain_grows_meanwhile(store: SqlStore) -> None:
    await noted(store, 1_500)
    await chain(store)
    link = await store.read(lambda tx: follow(tx, START))
    assert isinstance(link, Link)

    await noted(store, 10)
    await chain(store)

    verdict = await store.read(lambda tx: follow(tx, link))
    assert isinstance(verdict, Verdict)
    assert (verdict.ok, verdict.number) == (True, 1_510)


def tamper(database: Path, *statements: str) -> None:
    """Change the file as somebody would who knows it well."""
    connection = apsw.Connection(str(database))
    for trigger in ("audit_stays", "audit_keeps_its_words", "audit_keeps_its_hash"):
        connection.execute(f"drop trigger {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.close()
