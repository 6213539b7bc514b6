"""Durations and retries of a workflow's steps, as numbers or in Cloudflare's words."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from millrace import limits
from millrace.errors import InvalidInput

WORDS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week|month|year)s?\s*", re.IGNORECASE)
SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3_600,
    "day": 86_400,
    "week": 604_800,
    "month": 2_592_000,
    "year": 31_536_000,
}
BACKOFFS = ("constant", "linear", "exponential")
KEYS = {"limit", "delay", "backoff"}


class StepRetries(msgspec.Struct, frozen=True, kw_only=True):
    """How often a failed step is tried again, and after which delay; the defaults are Cloudflare's."""

    limit: int = 5
    delay_seconds: float = 10
    backoff: str = "exponential"

    def delay_after(self, failures: int) -> float:
        """Give the seconds to wait after so many failures, 1 or more: at most a day."""
        factor = {"constant": 1, "linear": failures}.get(self.backoff, 1 << min(failures - 1, 30))
        return min(self.delay_seconds * factor, limits.DELAY_SECONDS)


def read_seconds(value: object, name: str, unit_seconds: float = 1) -> float:
    """Give the seconds of a number of units, or of words such as "10 minutes".

    Raises:
        InvalidInput: neither, negative, or longer than ten years.
    """
    words = WORDS.fullmatch(value) if isinstance(value, str) else None
    if words is not None:
        seconds = float(words[1]) * SECONDS[words[2].lower()]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value * unit_seconds
    else:
        raise InvalidInput(f'{name} is {value!r}; expected a number, or words such as "10 minutes"')
    if not 0 <= seconds <= limits.WORKFLOW_SLEEP_SECONDS:
        raise InvalidInput(f"{name} is {value!r}; expected 0 to {limits.WORKFLOW_SLEEP_SECONDS} seconds")
    return seconds


def read_retries(value: object, unit_seconds: float = 1) -> StepRetries:
    """Give the retries of a number of them, or of a mapping with `limit`, `delay` and `backoff`; None is the default.

    Raises:
        InvalidInput: neither, an unknown key or backoff, or a limit outside of 0 to 10,000.
    """
    if value is None or isinstance(value, StepRetries):
        return value or StepRetries()
    given: Mapping[str, Any] = value if isinstance(value, Mapping) else {"limit": value}
    if not given.keys() <= KEYS:
        raise InvalidInput(f"retries has {sorted(given.keys() - KEYS)}; expected limit, delay and backoff")
    limit, backoff = given.get("limit", StepRetries().limit), given.get("backoff", StepRetries().backoff)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= limits.WORKFLOW_RETRIES:
        raise InvalidInput(f"retries has limit {limit!r}; expected 0 to {limits.WORKFLOW_RETRIES}")
    if backoff not in BACKOFFS:
        raise InvalidInput(f"retries has backoff {backoff!r}; expected {', '.join(BACKOFFS)}")
    delay_seconds = read_seconds(given.get("delay", StepRetries().delay_seconds / unit_seconds), "delay", unit_seconds)
    return StepRetries(limit=limit, delay_seconds=delay_seconds, backoff=backoff)
