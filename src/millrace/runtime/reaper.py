"""The reaper: settles what lapsed for good, removes what expired, sweeps what was purged."""

from millrace.broker import report_cleared
from millrace.clock import Clock
from millrace.store import Store
from millrace.telemetry import Telemetry

CHUNKS_A_STEP = 50


class Reaper:
    """Does in the background what no message should wait for."""

    def __init__(self, store: Store, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._clock, self._telemetry = store, clock, telemetry
        self._expire_at_ms = 0

    async def sweep(self) -> None:
        """Do one round: little when there is little to do, bounded when there is much."""
        now_ms = self._clock()
        for _ in range(CHUNKS_A_STEP):
            buried = await self._store.bury_lapsed(now_ms)
            report_cleared(self._telemetry, buried)
            if not buried:
                break
        if now_ms >= self._expire_at_ms:
            expired, self._expire_at_ms = await self._store.expire(now_ms)
            report_cleared(self._telemetry, expired)
        for _ in range(CHUNKS_A_STEP):
            if not await self._store.sweep():
                break
        for _ in range(CHUNKS_A_STEP):
            if not await self._store.expire_idempotency_keys(now_ms):
                break
