"""The circuit breaker of another server, as a value: when calls to it may go out, after what has happened.

        5 failures in a row               the time has come
Closed ─────────────────────▶ Open (1 s) ───────────────────▶ Half-open: one call tries
  ▲                            ▲                               │   │
  │                            └── it fails: twice as long ────┘   │
  └──────────────────────────────── it succeeds ───────────────────┘
"""

from enum import Enum

import msgspec

from millrace.backoff import Backoff

FAILURES_IN_A_ROW = 5
PAUSES = Backoff(kind="exponential", base_seconds=0.5, factor=2, cap_seconds=300, jitter=0.2)  # 1 s, 2 s, ... 300 s


class State(Enum):
    """What may go out: everything, nothing, or one call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds of a monotonic clock; `open_until_s` None means closed."""

    failures: int = 0
    pauses: int = 0
    open_until_s: float | None = None

    def state(self, now_s: float) -> State:
        """Say what may go out now."""
        if self.open_until_s is None:
            return State.CLOSED
        return State.OPEN if now_s < self.open_until_s else State.HALF_OPEN

    def seconds_left(self, now_s: float) -> float:
        """Give how long nothing may go out."""
        return max(0.0, (self.open_until_s or now_s) - now_s)

    def succeeded(self, now_s: float) -> "Breaker":
        """Close, unless it is open: what was under way when it opened proves nothing."""
        return self if self.state(now_s) is State.OPEN else Breaker()

    def failed(self, now_s: float, chance: float) -> "Breaker":
        """Count a failure; `chance` (0 to 1) spreads the pause that may follow."""
        if self.state(now_s) is State.OPEN:
            return self
        failures = self.failures + 1
        if self.open_until_s is None and failures < FAILURES_IN_A_ROW:
            return Breaker(failures=failures)
        pauses = self.pauses + 1
        return Breaker(failures=failures, pauses=pauses, open_until_s=now_s + PAUSES.seconds(pauses, chance))

    def held(self, now_s: float, seconds: float) -> "Breaker":
        """Open for as long as the other server asked; that is no failure."""
        return msgspec.structs.replace(self, open_until_s=now_s + max(seconds, self.seconds_left(now_s)))
