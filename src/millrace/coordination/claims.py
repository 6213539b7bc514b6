"""Claims: the right of the first with a key, until it ends or is released."""

import msgspec

from millrace import limits
from millrace.clock import Clock
from millrace.coordination.keys import check_key, check_ttl
from millrace.sql.transaction import Transaction
from millrace.store import Store


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the caller was the first, and who holds the claim; `ends_at_ms` None: until it is released."""

    is_first: bool
    holder: str
    ends_at_ms: int | None


def claim(
    tx: Transaction, account_id: str, scope: str, key: str, holder: str, now_ms: int, ttl_ms: int | None = None
) -> Claim:
    """Claim the key within its scope. The holder that claims again is first again, with the new end.

    Raises:
        InvalidInput: scope, key or holder is not 1 to 512 bytes long, or `ttl_ms` not 1 ms to a year.
    """
    check_key("the scope of a claim", scope)
    check_key("the key of a claim", key)
    check_key("the holder of a claim", holder, limits.OWNER_BYTES)
    if ttl_ms is not None:
        check_ttl(ttl_ms, limits.CLAIM_TTL_MS_MAX)
    ends_at_ms = None if ttl_ms is None else now_ms + ttl_ms
    if tx.fetch("claim", (account_id, scope, key, holder, ends_at_ms, now_ms)):
        return Claim(is_first=True, holder=holder, ends_at_ms=ends_at_ms)
    earlier = look(tx, account_id, scope, key, now_ms)
    assert earlier is not None
    return earlier


def look(tx: Transaction, account_id: str, scope: str, key: str, now_ms: int) -> Claim | None:
    """Give the claim that somebody has on the key."""
    row = tx.fetch_one("claimed", (account_id, scope, key, now_ms))
    return None if row is None else Claim(is_first=False, holder=row[0], ends_at_ms=row[1])


def release(tx: Transaction, account_id: str, scope: str, key: str, holder: str) -> bool:
    """Let go of a claim, and say whether the holder had it."""
    return bool(tx.fetch("release_claim", (account_id, scope, key, holder)))


class Claims:
    """The same in transactions of their own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def claim(self, account_id: str, scope: str, key: str, holder: str, ttl_ms: int | None = None) -> Claim:
        """Claim the key within its scope; see `claim` above."""
        return await self._store.write(lambda tx: claim(tx, account_id, scope, key, holder, self._clock(), ttl_ms))

    async def look(self, account_id: str, scope: str, key: str) -> Claim | None:
        """Give the claim that somebody has on the key."""
        return await self._store.read(lambda tx: look(tx, account_id, scope, key, self._clock()))

    async def release(self, account_id: str, scope: str, key: str, holder: str) -> bool:
        """Let go of a claim, and say whether the holder had it."""
        return await self._store.write(lambda tx: release(tx, account_id, scope, key, holder))
