"""When a call is made again, and after how long: pure decisions."""

import msgspec

from millrace.client.answers import Answer
from millrace.errors import ServerUnreachable

EXPONENT = 30  # 2 to this power is over any cap
NOTHING_HAPPENED = (429, 503)  # the server refused before it began


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How often a call is made again at most, and how long it may take with all its pauses.

    A pause is `base_seconds`, doubled from try to try up to `cap_seconds`, and shortened by chance to between half
    of it and all of it. What the server says in retry-after comes first. `count` 0 means never again.
    """

    count: int = 3
    base_seconds: float = 0.25
    cap_seconds: float = 8
    total_seconds: float = 60


NONE = Retries(count=0)


def pause_seconds(
    found: Answer | ServerUnreachable, tried: int, spent_seconds: float, retries: Retries, chance: float, *, once: bool
) -> float | None:
    """Decide how long to wait before a call is made again, or None when it is not.

    Args:
        found: What the call met with.
        tried: How often the call was made so far, from 1.
        spent_seconds: How long that took, pauses included.
        retries: What the caller allows.
        chance: A random number from 0 to 1.
        once: Whether the call must not happen twice; then it is repeated only when it did not happen.
    """
    if tried > retries.count or not _may_help(found, once=once):
        return None
    pause = min(retries.cap_seconds, retries.base_seconds * 2 ** min(tried - 1, EXPONENT)) * (1 + chance) / 2
    asked = found.retry_after if isinstance(found, Answer) else None
    pause = pause if asked is None else asked
    return pause if spent_seconds + pause <= retries.total_seconds else None


def _may_help(found: Answer | ServerUnreachable, *, once: bool) -> bool:
    if isinstance(found, ServerUnreachable):
        return not (once and found.was_connected)
    if found.is_final:
        return False
    return found.status in NOTHING_HAPPENED or (not once and (found.status == 408 or found.status >= 500))
