"""How long a message waits after a failure: the same each time, or longer with each failure."""

from collections.abc import Callable
from typing import Literal

import msgspec

Chance = Callable[[], float]

MOST_FAILURES = 150  # more than a message can have; beyond it the power of a factor is no number any more


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """A rule for delays.

    `factor` is for exponential only. `jitter` is the share of a delay, 0 to 1, by which it may be shorter or longer,
    so that what failed together does not come back together.
    """

    kind: Literal["fixed", "linear", "exponential"]
    base_seconds: int | float
    factor: int | float = 2
    cap_seconds: int | float = 86_400
    jitter: int | float = 0

    def seconds(self, failures: int, chance: float) -> float:
        """Give the delay after that many failures, from 1: `base_seconds` times 1, n or factor**n, up to the cap.

        Thus exponential with a base of 60 s waits 2, 4 and 8 minutes ("2^attempt minutes"). `chance`, from 0 up to 1,
        chooses within the jitter; 0.5 is the middle.
        """
        delay_seconds = min(self.base_seconds * self._growth(min(failures, MOST_FAILURES)), self.cap_seconds)
        return min(delay_seconds * (1 + self.jitter * (2 * chance - 1)), self.cap_seconds)

    def _growth(self, failures: int) -> float:
        match self.kind:
            case "fixed":
                return 1
            case "linear":
                return failures
            case "exponential":
                return float(self.factor) ** failures
