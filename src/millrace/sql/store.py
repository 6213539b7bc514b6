"""SqlStore: the contract of `millrace.store` over a database that runs transaction functions."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from random import random
from typing import TypeVar

from millrace.audit import Entry
from millrace.backoff import Chance
from millrace.clock import Clock
from millrace.errors import QueueNotFound
from millrace.idempotency import Once
from millrace.ids import NewReceipt, new_receipt
from millrace.message import Backlog, Lease, Message, Stamped
from millrace.placing import Stored
from millrace.queue import Queue
from millrace.redriving import ALL, RedriveFilter
from millrace.settlement import Outcome, Settlement
from millrace.sql import cleaning, idempotency, messages, queues, redriving, sending, settling
from millrace.sql.database import Database
from millrace.sql.sending import Sending
from millrace.sql.transaction import Transaction
from millrace.store import Cleared, IsReady, Received

T = TypeVar("T")

EXPIRY_CHECK_MS = 10_000  # a new message cannot expire sooner than the shortest retention, a minute
CLOCKS_DIFFER_MS = 1_000  # a message may be stored so long after it was stamped


class SqlStore:
    """Queues and messages in one SQL database. See `millrace.store.Store` for what each verb promises."""

    def __init__(
        self, database: Database, clock: Clock, new_receipt: NewReceipt = new_receipt, chance: Chance = random
    ) -> None:
        self._database, self.location = database, database.location
        database.on_commit = self._wake
        self._clock, self._new_receipt, self._chance = clock, new_receipt, chance
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._expire_again: dict[str, tuple[int, int]] = {}
        self.write, self.read, self.close = database.write, database.read, database.close
        self.check, self.foreign_version = database.check, database.foreign_version
        self.shares, self.chosen = database.shares, database.chosen
        self.look_again_seconds = database.look_again_seconds

    async def send(self, queue_id: str, messages_: Sequence[Stamped], once: Once | None = None) -> Stored:
        if self._database.wakes_early:  # whoever waits then receives in the same transaction, behind the same fsync
            self._wake({queue_id})
        return await self._database.write_merged(sending.send, Sending(queue_id, messages_, once))

    async def receive(
        self, queue_id: str, limit: int, lease_ms: int, now_ms: int, is_ready: IsReady | None = None
    ) -> Received:
        receipt = self._new_receipt()

        def receive(tx: Transaction) -> Received:
            # A lease begins when it is written, which a lock held by others may put off.
            return messages.receive(tx, queue_id, limit, lease_ms, receipt, max(now_ms, self._clock()), is_ready)

        return await self._database.write_checked(receive, leases=True)

    async def settle(
        self, queue_id: str, outcomes: Sequence[tuple[Lease, Outcome]], now_ms: int
    ) -> list[Settlement | None]:
        def settle(tx: Transaction) -> list[Settlement | None]:
            return settling.settle(tx, queue_id, outcomes, now_ms, self._chance)

        return await self._database.write_checked(settle)

    async def extend(self, queue_id: str, leases: Sequence[Lease], until_ms: int) -> set[Lease]:
        return await self._database.write_checked(lambda tx: settling.extend(tx, queue_id, leases, until_ms))

    async def peek(self, queue_id: str, limit: int, now_ms: int, after_key: int = 0) -> list[Message]:
        return await self.read(lambda tx: messages.peek(tx, queue_id, limit, now_ms, after_key))

    async def backlog(self, queue_id: str) -> Backlog:
        return await self.read(lambda tx: messages.backlog(tx, queue_id))

    async def discard(
        self, queue_id: str, refs: Sequence[tuple[int, str]], now_ms: int, entry: Entry | None = None
    ) -> list[bool]:
        return await self.write(lambda tx: cleaning.discard(tx, queue_id, refs, now_ms, entry))

    async def cancel(
        self, queue_id: str, refs: Sequence[tuple[int, str]], now_ms: int, entry: Entry | None = None
    ) -> list[bool]:
        return await self.write(lambda tx: cleaning.cancel(tx, queue_id, refs, now_ms, entry))

    async def reschedule(
        self, queue_id: str, ref: tuple[int, str], at_ms: int, now_ms: int, entry: Entry | None = None
    ) -> bool:
        return await self.write(lambda tx: cleaning.reschedule(tx, queue_id, ref, at_ms, now_ms, entry))

    async def purge(self, queue_id: str, now_ms: int, entry: Entry | None = None) -> Queue:
        return await self.write(lambda tx: queues.purge(tx, queue_id, now_ms, entry))

    async def redrive(
        self,
        queue_id: str,
        now_ms: int,
        after_key: int = 0,
        wanted: RedriveFilter = ALL,
        spacing_ms: float = 0,
        first: int = 0,
        entry: Entry | None = None,
    ) -> tuple[int, int | None]:
        return await self.write(
            lambda tx: redriving.redrive(tx, queue_id, now_ms, after_key, wanted, spacing_ms, first, entry)
        )

    async def create_queue(self, queue: Queue, entry: Entry | None = None) -> Queue:
        return await self.write(lambda tx: queues.create(tx, queue, entry))

    async def queue(self, account_id: str, queue_id: str) -> Queue:
        return await self.read(lambda tx: queues.owned(tx, account_id, queue_id))

    async def queue_named(self, account_id: str, name: str) -> Queue | None:
        return await self.read(lambda tx: queues.named(tx, account_id, name))

    async def queues(self, account_id: str) -> list[Queue]:
        return await self.read(lambda tx: queues.all_of(tx, account_id))

    async def pushed_queues(self) -> list[Queue]:
        return await self.read(queues.pushed)

    async def redriving_queues(self) -> list[Queue]:
        return await self.read(queues.redriving)

    async def update_queue(
        self, account_id: str, queue_id: str, change: Callable[[Queue], Queue], entry: Entry | None = None
    ) -> Queue:
        return await self.write(lambda tx: queues.update(tx, account_id, queue_id, change, entry))

    async def delete_queue(self, account_id: str, queue_id: str, entry: Entry | None = None) -> None:
        await self.write(lambda tx: queues.delete(tx, account_id, queue_id, entry))
        self._expire_again.pop(queue_id, None)

    async def bury_lapsed(self, now_ms: int) -> list[Cleared]:
        return await self.write(lambda tx: cleaning.bury_lapsed(tx, now_ms))

    async def expire(self, now_ms: int) -> tuple[list[Cleared], int]:
        times = await self.read(self._expiry_times)
        expired: list[Cleared] = []
        for queue_id, retention_ms, due_at_ms in times:
            if due_at_ms <= now_ms:
                with suppress(QueueNotFound):  # deleted meanwhile
                    expired += await self._expire_queue(queue_id, retention_ms, now_ms)
        if expired:
            times = await self.read(self._expiry_times)
        return expired, min([now_ms + EXPIRY_CHECK_MS, *(due for *_, due in times if due > now_ms)])

    async def sweep(self) -> int:
        return await self.write(cleaning.sweep)

    async def expire_idempotency_keys(self, now_ms: int) -> int:
        return await self.write(lambda tx: idempotency.expire(tx, now_ms))

    async def backlogs(self, account_id: str) -> dict[str, Backlog]:
        return await self.read(lambda tx: messages.backlogs(tx, account_id))

    @contextmanager
    def watch(self, queue_id: str) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        self._watchers[queue_id].add(changed)
        self._database.watched(set(self._watchers))
        try:
            yield changed
        finally:
            self._watchers[queue_id].discard(changed)
            if not self._watchers[queue_id]:
                del self._watchers[queue_id]
                self._database.watched(set(self._watchers))

    async def _expire_queue(self, queue_id: str, retention_ms: int, now_ms: int) -> list[Cleared]:
        """Look through the old messages of a queue, and note when to do so again.

        What comes later has its retention before it; without the note, a million messages that were sent for next
        year would be looked through every ten seconds.
        """
        cleared: list[Cleared] = []
        again_at_ms = now_ms - CLOCKS_DIFFER_MS + retention_ms
        after_key: int | None = 0
        while after_key is not None:
            chunk = partial(cleaning.expire, queue_id=queue_id, now_ms=now_ms, after_key=after_key)
            removed, after_key, next_at_ms = await self.write(chunk)
            cleared += removed
            again_at_ms = min(again_at_ms, next_at_ms or again_at_ms)
        self._expire_again[queue_id] = (retention_ms, again_at_ms)
        return cleared

    def _expiry_times(self, tx: Transaction) -> list[tuple[str, int, int]]:
        """Give, for each queue that holds something, its retention and the earliest time at which any can expire."""
        times = []
        for queue, oldest_sent_at_ms in queues.oldest_of_all(tx):
            seconds = queue.settings.message_retention_period
            if seconds is not None:
                retention_ms, again_at_ms = self._expire_again.get(queue.id, (0, 0))
                due_at_ms = oldest_sent_at_ms + seconds * 1000
                is_known = retention_ms == seconds * 1000
                times.append((queue.id, seconds * 1000, max(due_at_ms, again_at_ms) if is_known else due_at_ms))
        return times

    def _wake(self, queue_ids: set[str]) -> None:
        for queue_id in queue_ids & self._watchers.keys():
            for changed in self._watchers[queue_id]:
                changed.set()
