"""The reaper: settles what lapsed for good, removes what expired, sweeps what was purged."""

from millrace.audit import entry_of
from millrace.clock import Clock
from millrace.queue import Queue
from millrace.redriving import RedriveFilter
from millrace.reporting import tell_cleared
from millrace.store import Store
from millrace.telemetry import Telemetry

CHUNKS_A_STEP = 50
REDRIVE_CHECK_MS = 10_000


class Reaper:
    """Does in the background what no message should wait for."""

    def __init__(self, store: Store, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._clock, self._telemetry = store, clock, telemetry
        self._expire_at_ms = self._redrive_at_ms = 0

    async def sweep(self) -> None:
        """Do one round: little when there is little to do, bounded when there is much."""
        now_ms = self._clock()
        for _ in range(CHUNKS_A_STEP):
            buried = await self._store.bury_lapsed(now_ms)
            tell_cleared(self._telemetry.emit, buried)
            if not buried:
                break
        if now_ms >= self._expire_at_ms:
            expired, self._expire_at_ms = await self._store.expire(now_ms)
            tell_cleared(self._telemetry.emit, expired)
        for _ in range(CHUNKS_A_STEP):
            if not await self._store.sweep():
                break
        for _ in range(CHUNKS_A_STEP):
            if not await self._store.expire_idempotency_keys(now_ms):
                break
        if now_ms >= self._redrive_at_ms:
            self._redrive_at_ms = now_ms + REDRIVE_CHECK_MS
            for queue in await self._store.redriving_queues():
                await self._redrive(queue, now_ms)

    async def _redrive(self, queue: Queue, now_ms: int) -> None:
        """Move back what has been buried for long enough, and not too often."""
        rule = queue.settings.auto_redrive
        if rule is None:
            return
        wanted = RedriveFilter(buried_until_ms=now_ms - rule.after_seconds * 1000, max_redrives=rule.max_times)
        after_key: int | None = 0
        moved = 0
        while after_key is not None:
            entry = entry_of(queue.account_id, now_ms, "message.redriven", "")
            chunk, after_key = await self._store.redrive(queue.id, now_ms, after_key, wanted, entry=entry)
            moved += chunk
        if moved:
            self._telemetry.emit("message.redriven", account_id=queue.account_id, queue=queue.name, count=moved)
