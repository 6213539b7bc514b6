"""The leader: of all who could do a thing, the one who does it. It holds a lock, and its writes carry the lock's token."""

import asyncio
from contextlib import suppress

from millrace.clock import Clock
from millrace.coordination import locks
from millrace.coordination.locks import Lock
from millrace.errors import Fenced, LockHeld, StoreUnavailable
from millrace.sql.transaction import Transaction
from millrace.store import Store

ACCOUNT_ID = ""  # of no account: whoever leads works for all of them
KEY = "leader"
TTL_MS = 5_000
RENEW_MS = 1_500
UNCHOSEN_MS = 250  # between looks whether one was chosen meanwhile, for which nothing is asked
CHOSEN = "chosen"


class Leader:
    """Becomes the leader when nobody else is, and stays it as long as it tends to it each 1.5 s.

    An `owner` who comes back takes over from himself at once, and what he did before is fenced off; anybody else waits
    until the lock ends, 5 s after it was last renewed. So where it is certain that the last holder is gone, as the lock
    of a data directory makes it, its server goes by one name; and so do those that a database has chosen.
    """

    def __init__(self, store: Store, clock: Clock, owner: str) -> None:
        self._store, self._clock, self._own_name = store, clock, owner
        self._lock: Lock | None = None
        self._tending = asyncio.Lock()  # of two who take at once, one would have the token of before

    @property
    def leads(self) -> bool:
        """Say whether this was the leader when last it was looked at."""
        return self._lock is not None

    @property
    def renew_at_ms(self) -> int:
        """When to tend again; for who does not lead, as soon as a renewal would be due, or soon if it costs nothing."""
        if self._lock is None:
            return self._clock() + (RENEW_MS if self._store.chosen() is None else UNCHOSEN_MS)
        return self._lock.ends_at_ms - TTL_MS + RENEW_MS

    async def tend(self) -> bool:
        """Take the lock, or renew it when that is due, and say whether this is the leader.

        Raises:
            StoreUnavailable: nothing could be written.
        """
        if self._store.chosen() is False:
            self._lock = None
            return False
        async with self._tending:
            if self._lock is None or self._clock() >= self.renew_at_ms:
                try:
                    self._lock = await self._store.write(self._take_or_renew)
                except LockHeld:
                    self._lock = None
        return self._lock is not None

    def check(self, tx: Transaction) -> None:
        """Let a write go on only for the leader; call it in the transaction of the write.

        Raises:
            Fenced: this is not the leader, or no longer.
        """
        if self._lock is None:
            raise Fenced("this process does not lead")
        locks.check(tx, ACCOUNT_ID, KEY, self._lock.token, self._clock())

    def step_down(self) -> None:
        """Take note that somebody else leads; the next `tend` tries anew."""
        self._lock = None

    async def resign(self) -> None:
        """Let somebody else lead at once."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        with suppress(StoreUnavailable):  # the lock ends by itself
            await self._store.write(lambda tx: locks.release(tx, ACCOUNT_ID, KEY, lock.lock_id))

    def _take_or_renew(self, tx: Transaction) -> Lock:
        now_ms = self._clock()
        if self._lock is not None:
            with suppress(Fenced):  # it has run out, as while the machine slept; perhaps nobody has taken it
                return locks.extend(tx, ACCOUNT_ID, KEY, self._lock.lock_id, TTL_MS, now_ms)
        owner = CHOSEN if self._store.chosen() else self._own_name
        return locks.take(tx, ACCOUNT_ID, KEY, owner, TTL_MS, now_ms)
