"""How long a message waits after a failure: the same each time, or longer with each failure."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from millrace import limits
from millrace.errors import InvalidConsumerSettings
from millrace.ranges import is_number, shown

Chance = Callable[[], float]

KINDS = ("fixed", "linear", "exponential")
RANGES = {
    "base_seconds": (0, limits.DELAY_SECONDS),
    "factor": (1, limits.BACKOFF_FACTOR),
    "cap_seconds": (0, limits.DELAY_SECONDS),
    "jitter": (0, 1),
}
MOST_FAILURES = 150  # more than a message can have; beyond it the power of a factor is no number any more


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """A rule for delays.

    `factor` is for exponential only. `jitter` is the share of a delay, 0 to 1, by which it may be shorter or longer,
    so that what failed together does not come back together.
    """

    kind: Literal["fixed", "linear", "exponential"]
    base_seconds: int | float
    factor: int | float = 2
    cap_seconds: int | float = limits.DELAY_SECONDS
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


def make_backoff(given: object) -> Backoff:
    """Make a backoff from a mapping of its fields; `kind` and `base_seconds` are needed.

    Raises:
        InvalidConsumerSettings: a field that is missing, unknown, of the wrong type or out of its range.
    """
    if not isinstance(given, Mapping):
        raise InvalidConsumerSettings(f"backoff is {shown(given)}; expected an object with kind and base_seconds")
    numbers = dict(given)
    kind = numbers.pop("kind", None)
    if kind not in KINDS:
        raise InvalidConsumerSettings(f"backoff.kind is {shown(kind)}; expected {' or '.join(map(repr, KINDS))}")
    if "factor" in numbers and kind != "exponential":
        raise InvalidConsumerSettings(f"backoff.factor is for kind 'exponential'; leave it out with {kind!r}")
    numbers.setdefault("base_seconds", None)
    return Backoff(kind=kind, **{key: _number(key, value) for key, value in numbers.items()})


def _number(key: str, value: Any) -> int | float:
    if key not in RANGES:
        raise InvalidConsumerSettings(f"backoff has a field {shown(key)}; expected kind, {', '.join(RANGES)}")
    low, high = RANGES[key]
    if not is_number(value) or not low <= value <= high:
        raise InvalidConsumerSettings(f"backoff.{key} is {shown(value)}; expected a number from {low} to {high}")
    return int(value) if value == value // 1 else float(value)
