"""Whatever is there once for all servers on a PostgreSQL database: names, turns, locks, keys, secrets."""

import asyncio
from types import SimpleNamespace

import pytest

from millrace.access.cipher import MasterKey
from millrace.access.keys import Keys
from millrace.access.scopes import Role
from millrace.access.secrets import Secrets
from millrace.bucket import Rate
from millrace.coordination import buckets, locks
from millrace.coordination.locks import Locks
from millrace.coordination.states import States
from millrace.errors import (
    ConfigurationError,
    Fenced,
    KeyExists,
    LockHeld,
    QueueNameTaken,
    SecretNotFound,
    StateChanged,
    SubscriptionNotFound,
)
from millrace.platform import QueueNeed, ensure_queues
from millrace.runtime import cron_runs
from millrace.runtime.cron_runs import Trigger
from millrace.subscriptions import Subscriptions
from tests.apps.job_rooms import ACCOUNT, open_servers

CRON = Trigger(ACCOUNT, "mine", "* * * * *", "turns")
MINUTE_S = 60


@pytest.fixture
async def servers(tmp_path):
    async with open_servers(tmp_path) as made:
        yield [SimpleNamespace(platform=one.platform, store=one.platform.store, clock=one.clock) for one in made]


async def each(servers, act, times=1):
    """Let all servers do the same at once, and give what came of it, errors too."""
    return await asyncio.gather(*[act(server) for server in servers * times], return_exceptions=True)


def kinds(ends, error):
    """Say how many ended well, and how many with that error; there is no third."""
    refused = [end for end in ends if isinstance(end, error)]
    assert all(isinstance(end, error) or not isinstance(end, BaseException) for end in ends), ends
    return len(ends) - len(refused), len(refused)


async def test_a_cron_that_both_servers_fire_runs_once(servers):
    await ensure_queues(servers[0].platform, ACCOUNT, (QueueNeed(name="turns"),))
    await each(servers, lambda server: server.platform.write(lambda work: cron_runs.keep(work, [CRON])))

    fired = []
    for _ in range(5):
        servers[0].clock.advance(MINUTE_S)
        fired += await each(
            servers, lambda server: server.platform.write(lambda work: cron_runs.fire(work, CRON, "latest")), times=3
        )

    assert sorted(len(one.sent) for one in fired) == [0] * 25 + [1] * 5
    queue = await servers[0].platform.catalog.queue_named(ACCOUNT, "turns")
    assert (await servers[0].store.backlog(queue.id)).count == 5


async def test_a_cron_that_is_started_by_hand_on_both_servers_has_two_runs(servers):
    await ensure_queues(servers[0].platform, ACCOUNT, (QueueNeed(name="turns"),))
    await servers[0].platform.write(lambda work: cron_runs.keep(work, [CRON]))

    runs = await each(
        servers, lambda server: server.platform.write(lambda work: cron_runs.fire_now(work, *CRON.key)), times=3
    )

    assert len({run.scheduled_time_ms for run in runs}) == 6


async def test_a_queue_that_both_servers_create_is_made_once(servers):
    made = await each(servers, lambda server: server.platform.catalog.create(ACCOUNT, "orders", {}), times=4)

    assert kinds(made, QueueNameTaken) == (1, 7)
    assert [queue.name for queue in await servers[1].store.queues(ACCOUNT)] == ["orders"]


async def test_queues_that_both_servers_need_are_there_for_both(servers):
    needs = [QueueNeed(name=f"need-{number}") for number in range(10)]

    ends = await asyncio.gather(
        ensure_queues(servers[0].platform, ACCOUNT, tuple(needs)),
        ensure_queues(servers[1].platform, ACCOUNT, tuple(reversed(needs))),
    )

    assert ends == [None, None]
    assert len(await servers[0].store.queues(ACCOUNT)) == 10


async def test_a_lock_is_one_servers_and_tokens_rise_from_holder_to_holder(servers):
    tokens = []

    async def take_again_and_again(server, owner):
        mine = Locks(server.store, server.clock)
        while len(tokens) < 40:
            try:
                lock = await mine.take(ACCOUNT, "one", owner, 60_000)
            except LockHeld:
                continue
            tokens.append(lock.token)
            assert await mine.release(ACCOUNT, "one", lock.lock_id)

    await asyncio.gather(*[take_again_and_again(servers[number % 2], f"owner-{number}") for number in range(4)])

    assert tokens == sorted(set(tokens))


async def test_a_write_under_a_lock_is_on_disk_before_another_server_gets_the_lock(servers):
    """The lock ends while its holder writes; whoever takes it then comes after that write."""
    first, second = (Locks(server.store, server.clock) for server in servers)
    lock = await first.take(ACCOUNT, "one", "a", 1_000)
    checked, taking = asyncio.Event(), asyncio.Event()
    loop, order = asyncio.get_running_loop(), []

    def write(tx):
        locks.check(tx, ACCOUNT, "one", lock.token, servers[0].clock())
        loop.call_soon_threadsafe(checked.set)
        asyncio.run_coroutine_threadsafe(taking.wait(), loop).result(5)
        order.append("written")

    async def take():
        await checked.wait()
        servers[1].clock.advance(2)
        coming = asyncio.ensure_future(second.take(ACCOUNT, "one", "b", 1_000))
        await asyncio.wait({coming}, timeout=0.1)
        taking.set()
        await coming
        order.append("taken")

    await asyncio.gather(servers[0].store.write(write), take())

    assert order == ["written", "taken"]
    with pytest.raises(Fenced):
        await servers[0].store.write(lambda tx: locks.check(tx, ACCOUNT, "one", lock.token, servers[0].clock()))


async def test_of_writes_upon_the_same_version_of_a_state_one_counts(servers):
    kept = [States(server.store, server.clock) for server in servers]

    for version in range(10):
        ends = await asyncio.gather(
            *[one.put(ACCOUNT, "run", "a", {}, version) for one in kept * 3], return_exceptions=True
        )
        assert kinds(ends, StateChanged) == (1, 5)


async def test_a_bucket_gives_both_servers_together_no_more_than_it_holds(servers):
    rate = Rate(10, 60)

    def take(server):
        return server.store.write(lambda tx: buckets.take(tx, ACCOUNT, "caller", 1, rate, server.clock()))

    waits = await each(servers, take, times=10)

    assert waits.count(0.0) == 10


async def test_two_servers_that_start_with_the_same_admin_token_have_one_key_for_it(servers):
    kept = [Keys(server.store, server.clock) for server in servers]

    ends = await asyncio.gather(*[keys.replace_from_environment(ACCOUNT, "a-secret-of-mine") for keys in kept * 2])

    assert ends == [None] * 4
    for keys in kept:
        await keys.load()
        assert keys.authenticate(b"a-secret-of-mine").role == Role.ADMIN
        assert len(keys.of_account(ACCOUNT)) == 1


async def test_a_secret_that_both_servers_bring_for_a_key_is_one_keys(servers):
    ends = await each(
        servers, lambda server: Keys(server.store, server.clock).create(ACCOUNT, Role.ADMIN, secret="the-same-one")
    )

    assert kinds(ends, KeyExists) == (1, 1)


async def test_two_servers_with_different_master_keys_do_not_both_seal(servers, tmp_path):
    rooms = [
        Secrets(server.store, server.clock, MasterKey(digits * 32, tmp_path))
        for server, digits in zip(servers, ("11", "22"), strict=True)
    ]

    ends = await asyncio.gather(*[one.put(ACCOUNT, "TOKEN", "x") for one in rooms], return_exceptions=True)

    assert kinds(ends, ConfigurationError) == (1, 1)


async def test_what_both_servers_remove_was_there_for_one(servers, tmp_path):
    kept = [Secrets(server.store, server.clock, MasterKey("11" * 32, tmp_path)) for server in servers]
    theirs = [Subscriptions(server.store, server.clock) for server in servers]
    await kept[0].put(ACCOUNT, "TOKEN", "x")
    given = {"name": "n", "enabled": True, "source": {"type": "kv"}, "destination": {}, "events": []}
    subscription = await theirs[0].create(ACCOUNT, given)

    secrets = await asyncio.gather(*[one.delete(ACCOUNT, "TOKEN") for one in kept], return_exceptions=True)
    gone = await asyncio.gather(*[one.delete(ACCOUNT, subscription.id) for one in theirs], return_exceptions=True)

    assert kinds(secrets, SecretNotFound) == (1, 1)
    assert kinds(gone, SubscriptionNotFound) == (1, 1)


async def test_changes_of_a_subscription_on_both_servers_are_both_kept(servers):
    theirs = [Subscriptions(server.store, server.clock) for server in servers]
    given = {"name": "n", "enabled": True, "source": {"type": "kv"}, "destination": {}, "events": []}
    made = await theirs[0].create(ACCOUNT, given)

    await asyncio.gather(
        theirs[0].change(ACCOUNT, made.id, {"name": "other"}), theirs[1].change(ACCOUNT, made.id, {"enabled": False})
    )

    kept = await theirs[0].get(ACCOUNT, made.id)
    assert (kept.name, kept.enabled) == ("other", False)
