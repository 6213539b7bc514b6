"""Locks: exclusive names that end, with fencing tokens that rise with each holder.

Time alone cannot keep two holders apart: one may stall past the end of its lock and then write. So a write under a
lock calls `check` in its own transaction, and only the token of the present holder passes.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import msgspec

from millrace import limits
from millrace.clock import Clock
from millrace.coordination.keys import check_key, check_ttl
from millrace.errors import Fenced, LockHeld, StoreUnavailable
from millrace.sql.transaction import Transaction
from millrace.store import Store

LOCK_ID_BYTES = 16  # 128 random bits: who does not hold a lock cannot release it


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock as its holder has it. `lock_id` is its secret; `token` is higher than that of every holder before."""

    key: str
    lock_id: str
    owner: str
    token: int
    ends_at_ms: int


def take(tx: Transaction, account_id: str, key: str, owner: str, ttl_ms: int, now_ms: int) -> Lock:
    """Take the lock until `now_ms + ttl_ms`.

    An owner is one holder. When it takes its own lock again, it gets a new id and a new token, and what it did not
    finish under the old ones is fenced off: so a call that came to nothing can be repeated at once.

    Raises:
        InvalidInput: key or owner is not 1 to 512 bytes long, or `ttl_ms` not 1 ms to a day.
        LockHeld: another owner has it.
    """
    check_key("the key of a lock", key)
    check_key("the owner of a lock", owner, limits.OWNER_BYTES)
    check_ttl(ttl_ms, limits.LOCK_TTL_MS_MAX)
    tx.hold(_name(account_id, key))  # before the token: of two takers the later one has the higher
    tx.reserve_sequences(1)
    lock_id, token, ends_at_ms = secrets.token_hex(LOCK_ID_BYTES), tx.take_sequences(1), now_ms + ttl_ms
    if not tx.fetch("take_lock", (account_id, key, lock_id, owner, token, ends_at_ms, now_ms)):
        held = look(tx, account_id, key, now_ms)
        assert held is not None
        raise LockHeld(f"lock {key!r} is held by {held.owner!r}", held.owner, held.ends_at_ms)
    return Lock(key=key, lock_id=lock_id, owner=owner, token=token, ends_at_ms=ends_at_ms)


def look(tx: Transaction, account_id: str, key: str, now_ms: int) -> Lock | None:
    """Give the lock when somebody holds it."""
    row = tx.fetch_one("lock", (account_id, key, now_ms))
    return None if row is None else Lock(key=key, lock_id=row[0], owner=row[1], token=row[2], ends_at_ms=row[3])


def extend(tx: Transaction, account_id: str, key: str, lock_id: str, ttl_ms: int, now_ms: int) -> Lock:
    """Let a lock that is still held end at `now_ms + ttl_ms`, or later if it does already.

    Raises:
        InvalidInput: as for `take`.
        Fenced: it has ended, or is another holder's.
    """
    check_ttl(ttl_ms, limits.LOCK_TTL_MS_MAX)
    row = tx.fetch_one("extend_lock", (now_ms + ttl_ms, account_id, key, lock_id, now_ms))
    if row is None:
        raise _fenced(key)
    return Lock(key=key, lock_id=lock_id, owner=row[0], token=row[1], ends_at_ms=row[2])


def release(tx: Transaction, account_id: str, key: str, lock_id: str) -> bool:
    """Give the lock back, and say whether it was still this holder's."""
    return bool(tx.fetch("release_lock", (account_id, key, lock_id)))


def check(tx: Transaction, account_id: str, key: str, token: int, now_ms: int) -> None:
    """Let a write go on only for the present holder of the lock; call it in the transaction of the write.

    Nobody takes the lock before that transaction has ended.

    Raises:
        Fenced: the lock has ended, or is another holder's.
    """
    tx.share([_name(account_id, key)])
    held = look(tx, account_id, key, now_ms)
    if held is None or held.token != token:
        raise _fenced(key)


class Locks:
    """The same in transactions of their own, and `hold`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def take(self, account_id: str, key: str, owner: str, ttl_ms: int) -> Lock:
        """Take the lock for `ttl_ms` from the moment it is written; see `take` above."""
        return await self._store.write(lambda tx: take(tx, account_id, key, owner, ttl_ms, self._clock()))

    async def extend(self, account_id: str, key: str, lock_id: str, ttl_ms: int) -> Lock:
        """Let a lock end `ttl_ms` from now; see `extend` above."""
        return await self._store.write(lambda tx: extend(tx, account_id, key, lock_id, ttl_ms, self._clock()))

    async def release(self, account_id: str, key: str, lock_id: str) -> bool:
        """Give the lock back, and say whether it was still this holder's."""
        return await self._store.write(lambda tx: release(tx, account_id, key, lock_id))

    async def look(self, account_id: str, key: str) -> Lock | None:
        """Give the lock when somebody holds it."""
        return await self._store.read(lambda tx: look(tx, account_id, key, self._clock()))

    @asynccontextmanager
    async def hold(self, account_id: str, key: str, owner: str, ttl_ms: int) -> AsyncGenerator[Lock]:
        """Hold the lock as long as the block runs, extending it in time; the block is cancelled if it is lost.

        Raises:
            LockHeld: another owner has it.
            Fenced: it was lost while the block ran, which was cancelled.
        """
        ends_at_s = asyncio.get_running_loop().time() + ttl_ms / 1000
        lock = await self.take(account_id, key, owner, ttl_ms)
        try:
            async with asyncio.timeout_at(ends_at_s) as end:
                keeping = asyncio.create_task(self._keep(account_id, lock, ttl_ms, end))
                try:
                    yield lock
                finally:
                    keeping.cancel()
        except TimeoutError as error:
            if not end.expired():
                raise
            raise _fenced(key) from error
        finally:
            with suppress(StoreUnavailable):  # it ends by itself
                await self.release(account_id, key, lock.lock_id)

    async def _keep(self, account_id: str, lock: Lock, ttl_ms: int, end: asyncio.Timeout) -> None:
        """Extend the lock at each third of its time, until its holder is done or it is lost."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(ttl_ms / 3000)
                ends_at_s = loop.time() + ttl_ms / 1000
                with suppress(StoreUnavailable):  # it is held until its time is over
                    await self.extend(account_id, lock.key, lock.lock_id, ttl_ms)
                    _move(end, ends_at_s)
        except Fenced:
            _move(end, loop.time())


def _move(end: asyncio.Timeout, at_s: float) -> None:
    if not end.expired():
        end.reschedule(at_s)


def _name(account_id: str, key: str) -> str:
    return f"lock {account_id} {key}"


def _fenced(key: str) -> Fenced:
    return Fenced(f"lock {key!r} has ended or is another holder's")
