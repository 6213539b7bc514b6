"""Locks: one holder at a time, an end, and tokens that fence off whoever stalled."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule

from millrace.coordination import locks
from millrace.coordination.locks import Locks
from millrace.coordination.sweep import sweep
from millrace.errors import Fenced, InvalidInput, LockHeld, StoreUnavailable
from tests.conformance.conftest import ManualClock, Place

KEY = ("acc", "doc-1")


async def guarded(store, clock, token: int) -> bool:
    """Try a write under the lock, and say whether it went through."""
    try:
        await store.write(lambda tx: locks.check(tx, *KEY, token, clock()))
    except Fenced:
        return False
    return True


async def test_a_lock_is_taken_looked_at_and_released(store, clock):
    kept = Locks(store, clock)

    lock = await kept.take(*KEY, "a", 1000)

    assert (lock.key, lock.owner, lock.ends_at_ms) == ("doc-1", "a", clock() + 1000)
    assert await kept.look(*KEY) == lock
    assert await kept.release(*KEY, lock.lock_id)
    assert await kept.look(*KEY) is None


async def test_another_owner_is_told_who_holds_it_and_until_when(store, clock):
    kept = Locks(store, clock)
    lock = await kept.take(*KEY, "a", 1000)

    with pytest.raises(LockHeld, match="'doc-1' is held by 'a'") as caught:
        await kept.take(*KEY, "b", 1000)

    assert (caught.value.owner, caught.value.ends_at_ms) == ("a", lock.ends_at_ms)


async def test_the_same_owner_takes_it_anew_and_is_fenced_off_from_what_it_began_before(store, clock):
    kept = Locks(store, clock)
    before = await kept.take(*KEY, "a", 1000)

    after = await kept.take(*KEY, "a", 1000)

    assert after.token > before.token
    assert [await guarded(store, clock, lock.token) for lock in (before, after)] == [False, True]
    assert not await kept.release(*KEY, before.lock_id)


async def test_a_holder_that_stalls_past_the_end_is_fenced_off_at_every_write(store, clock):
    kept = Locks(store, clock)
    stalled = await kept.take(*KEY, "a", 1000)
    assert await guarded(store, clock, stalled.token)

    clock.advance(1)
    ended = await guarded(store, clock, stalled.token)
    following = await kept.take(*KEY, "b", 1000)

    assert not ended
    assert [await guarded(store, clock, lock.token) for lock in (stalled, following)] == [False, True]
    with pytest.raises(Fenced):
        await kept.extend(*KEY, stalled.lock_id, 1000)
    assert not await kept.release(*KEY, stalled.lock_id)


async def test_a_refused_write_leaves_nothing_of_its_transaction(store, clock):
    def write(tx):
        locks.take(tx, "acc", "another", "a", 1000, clock())
        locks.check(tx, *KEY, 1, clock())

    with pytest.raises(Fenced):
        await store.write(write)

    assert await Locks(store, clock).look("acc", "another") is None


async def test_tokens_rise_for_ever_after_release_end_sweep_and_restart(store, clock, opener):
    kept, tokens = Locks(store, clock), []
    for owner in "abc":
        lock = await kept.take(*KEY, owner, 1000)
        tokens.append(lock.token)
        if owner == "a":
            await kept.release(*KEY, lock.lock_id)
        clock.advance(1)
        await sweep(store, clock())
    await store.close()

    again = opener(clock)
    tokens.append((await Locks(again, clock).take(*KEY, "d", 1000)).token)
    await again.close()

    assert tokens == sorted(set(tokens))


async def test_a_lock_that_has_ended_cannot_be_extended_though_nobody_took_it(store, clock):
    kept = Locks(store, clock)
    lock = await kept.take(*KEY, "a", 1000)

    clock.advance(1)

    with pytest.raises(Fenced):
        await kept.extend(*KEY, lock.lock_id, 1000)


async def test_an_extended_lock_ends_later_and_never_sooner(store, clock):
    kept = Locks(store, clock)
    lock = await kept.take(*KEY, "a", 1000)

    ends = [(await kept.extend(*KEY, lock.lock_id, ttl_ms)).ends_at_ms for ttl_ms in (5000, 10)]

    assert ends == [clock() + 5000] * 2


async def test_accounts_and_keys_are_locked_apart(store, clock):
    kept = Locks(store, clock)

    taken = [await kept.take(*place, str(place), 1000) for place in (("a", "k"), ("b", "k"), ("a", "l"))]

    assert len({lock.lock_id for lock in taken}) == 3


@pytest.mark.parametrize(
    "asked",
    [{"key": ""}, {"key": "ü" * 257}, {"owner": None}, {"ttl_ms": 0}, {"ttl_ms": 1.5}, {"ttl_ms": 86_400_001}],
)
async def test_a_lock_out_of_bounds_is_refused(store, clock, asked):
    with pytest.raises(InvalidInput, match="expected a"):
        await Locks(store, clock).take("acc", **{"key": "k", "owner": "o", "ttl_ms": 1, **asked})


async def test_of_a_crowd_one_at_a_time_is_inside(store, clock):
    kept, inside, most, done = Locks(store, clock), 0, 0, 0

    async def visit(owner: str) -> None:
        nonlocal inside, most, done
        while True:
            try:
                async with kept.hold(*KEY, owner, 60_000):
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside, done = inside - 1, done + 1
                    return
            except LockHeld:
                continue

    await asyncio.gather(*[visit(str(number)) for number in range(20)])

    assert (most, done) == (1, 20)


class HeardLocks(Locks):
    """Locks that tell when one was extended."""

    def __init__(self, *rooms):
        super().__init__(*rooms)
        self.extended = asyncio.Event()

    async def extend(self, *asked):
        lock = await super().extend(*asked)
        self.extended.set()
        return lock


async def test_a_held_lock_is_extended_until_its_block_ends_and_then_free(store, clock):
    kept = HeardLocks(store, clock)

    async with kept.hold(*KEY, "a", 600) as lock:  # by the real clock, too: a commit may take its time
        clock.advance(0.5)
        await kept.extended.wait()
        held = await kept.look(*KEY)

    assert (held.token, held.ends_at_ms) == (lock.token, clock() + 600)
    assert await kept.look(*KEY) is None


async def test_a_block_whose_lock_is_lost_is_cancelled(store, clock):
    kept, was_cancelled = Locks(store, clock), False

    async def lose_it() -> None:
        nonlocal was_cancelled
        async with kept.hold(*KEY, "a", 600):
            clock.advance(1)
            await kept.take(*KEY, "b", 1000)
            try:
                await asyncio.Event().wait()
            finally:
                was_cancelled = True

    with pytest.raises(Fenced, match="'doc-1' has ended"):
        await lose_it()

    assert was_cancelled
    assert (await kept.look(*KEY)).owner == "b"


async def test_a_block_is_cancelled_at_the_end_of_its_lock_when_the_store_cannot_extend_it(store, clock):
    class Cut(Locks):
        async def extend(self, *asked):
            raise StoreUnavailable("the disk is full")

    with pytest.raises(Fenced):
        async with Cut(store, clock).hold(*KEY, "a", 300):
            await asyncio.Event().wait()


@pytest.mark.parametrize("error", [ValueError, TimeoutError, asyncio.CancelledError])
async def test_what_a_block_raises_goes_on_and_the_lock_is_free(store, clock, error):
    kept = Locks(store, clock)

    with pytest.raises(error):
        async with kept.hold(*KEY, "a", 60_000):
            raise error

    assert await kept.look(*KEY) is None


class LockMachine(RuleBasedStateMachine):
    """Holders, time and fenced writes against a model: the newest lock, and whether it has ended."""

    taken = Bundle("taken")
    maker = "sqlite"

    def __init__(self):
        super().__init__()
        self.clock, self.held, self.ends_at_ms, self.highest_token = ManualClock(), None, 0, 0
        self.written_by = []
        self.loop = asyncio.new_event_loop()
        self.place = Place(self.maker)
        self.open()

    def open(self):
        async def make():
            return self.place.open(self.clock)

        self.store = self.run_(make())
        self.locks = Locks(self.store, self.clock)

    def run_(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def holder(self):
        return self.held if self.held is not None and self.clock() < self.ends_at_ms else None

    @rule(target=taken, owner=st.sampled_from("abc"), ttl_ms=st.sampled_from([1, 1000, 10_000]))
    def take(self, owner, ttl_ms):
        holder = self.holder()
        if holder is not None and holder.owner != owner:
            with pytest.raises(LockHeld) as caught:
                self.run_(self.locks.take(*KEY, owner, ttl_ms))
            assert (caught.value.owner, caught.value.ends_at_ms) == (holder.owner, self.ends_at_ms)
            return multiple()
        lock = self.run_(self.locks.take(*KEY, owner, ttl_ms))
        assert lock.token > self.highest_token
        self.held, self.ends_at_ms, self.highest_token = lock, self.clock() + ttl_ms, lock.token
        return lock

    @rule(lock=taken, ttl_ms=st.sampled_from([1, 5000]))
    def extend(self, lock, ttl_ms):
        if lock != self.holder():
            with pytest.raises(Fenced):
                self.run_(self.locks.extend(*KEY, lock.lock_id, ttl_ms))
            return
        extended = self.run_(self.locks.extend(*KEY, lock.lock_id, ttl_ms))
        self.ends_at_ms = max(self.ends_at_ms, self.clock() + ttl_ms)
        assert (extended.token, extended.ends_at_ms) == (lock.token, self.ends_at_ms)

    @rule(lock=taken)
    def release(self, lock):
        was_holder, released = lock == self.holder(), self.run_(self.locks.release(*KEY, lock.lock_id))
        assert released or not was_holder
        if was_holder:
            self.held = None

    @rule(lock=taken)
    def write(self, lock):
        is_holder = lock == self.holder()
        assert self.run_(guarded(self.store, self.clock, lock.token)) == is_holder
        if is_holder:
            self.written_by.append(lock.token)
            assert self.written_by == sorted(self.written_by)

    @rule(seconds=st.sampled_from([0.001, 1, 7]))
    def pass_time(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def sweep_up(self):
        self.run_(sweep(self.store, self.clock()))

    @rule()
    def start_again(self):
        self.run_(self.store.close())
        self.open()

    @rule()
    def look(self):
        seen, holder = self.run_(self.locks.look(*KEY)), self.holder()
        assert (seen and seen.token) == (holder and holder.token)

    def teardown(self):
        self.run_(self.store.close())
        self.loop.close()
        self.place.remove()


class LockMachineOnPostgres(LockMachine):
    maker = "postgres"


TestLockMachine = LockMachine.TestCase
TestLockMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestLockMachineOnPostgres = LockMachineOnPostgres.TestCase
TestLockMachineOnPostgres.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
