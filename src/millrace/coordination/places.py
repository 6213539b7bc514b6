"""Places: how many batches of a queue are under way at once, over all servers.

Whoever takes a batch takes a place before and gives it back afterwards; a place whose holder was killed ends by itself,
as the leases do. Who finds none stands in line, and as long as he asks again in time nobody passes him: else the server
that has just given a place back would be the first to take it again.
"""

from collections.abc import Collection, Iterable

from millrace.clock import Clock
from millrace.ids import new_id
from millrace.sql.transaction import Transaction
from millrace.store import Store

IN_LINE_MS = 2_000  # ask again within this time to keep one's place in the line


def take(
    tx: Transaction, queue_id: str, limit: int, holder: str, using: Collection[int], lease_ms: int, now_ms: int
) -> int | None:
    """Take one of `limit` places until `now_ms + lease_ms` and give its number; None, and a place in line, if none is free.

    A holder may have several places, and stands in line once. Places of his that are not among those that he is `using`
    are free: he could not give them back, or never heard that he has them.
    """
    tx.hold(_name(queue_id))
    tx.apply("end_places", (queue_id, now_ms))
    rows = [(number, who) for number, who in tx.fetch("places", (queue_id,))]
    rows = [(number, who) for number, who in rows if number < 0 or who != holder or number in using]
    number = choose(rows, limit, holder)
    if number < 0:
        tx.apply("put_place", (queue_id, number, holder, now_ms + IN_LINE_MS))
        return None
    for place, who in rows:
        if place < 0 and who == holder:
            tx.apply("give_place_back", (queue_id, place, holder))
    tx.apply("put_place", (queue_id, number, holder, now_ms + lease_ms))
    return number


def choose(rows: Iterable[tuple[int, str]], limit: int, holder: str) -> int:
    """Give the number of a place to take, or, below 0, where to stand in line: -1 came before -2.

    Args:
        rows: Number and holder of all who have a place or stand in line.
        limit: How many places there are.
        holder: Who asks.
    """
    held = {number for number, _ in rows if number > 0}
    line = sorted((-number, who) for number, who in rows if number < 0)
    own = next((number for number, who in line if who == holder), None)
    ahead = [number for number, _ in line if own is None or number < own]
    if limit - len(held) > len(ahead):
        return next(number for number in range(1, limit + 1) if number not in held)
    return -own if own is not None else -1 - max(ahead, default=0)


def extend(tx: Transaction, queue_id: str, number: int, holder: str, until_ms: int) -> None:
    """Let a place that is still held end later."""
    tx.apply("extend_place", (until_ms, queue_id, number, holder))


def give_back(tx: Transaction, queue_id: str, number: int, holder: str) -> None:
    """Give a place back, and wake those who stand in line for one."""
    tx.hold(_name(queue_id))
    tx.apply("give_place_back", (queue_id, number, holder))
    if tx.fetch_one("anybody_in_line", (queue_id,)) is not None:
        tx.wake(queue_id)


class Places:
    """The places that one consumer takes, in transactions of their own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock, self._holder = store, clock, new_id()
        self._using: set[int] = set()

    async def take(self, queue_id: str, limit: int, lease_ms: int) -> int | None:
        """Take a place for `lease_ms`; None if none is free. Nobody else asks meanwhile."""
        number = await self._store.write(
            lambda tx: take(tx, queue_id, limit, self._holder, self._using, lease_ms, self._clock())
        )
        if number is not None:
            self._using.add(number)
        return number

    async def extend(self, queue_id: str, number: int, lease_ms: int) -> None:
        """Let a place end `lease_ms` from now."""
        await self._store.write(lambda tx: extend(tx, queue_id, number, self._holder, self._clock() + lease_ms))

    async def give_back(self, queue_id: str, number: int) -> None:
        """Give a place back; if that cannot be written, it may be tried again, or the place ends by itself."""
        await self._store.write(lambda tx: give_back(tx, queue_id, number, self._holder))
        self._using.discard(number)  # not before: who takes at the same time would find a place that is about to go


def _name(queue_id: str) -> str:
    return f"places {queue_id}"
