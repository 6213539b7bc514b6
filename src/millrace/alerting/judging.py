"""Whether a rule fires or clears: pure, so that a test can move time. No I/O."""

from typing import Literal

import msgspec

from millrace.alerting.rules import Rule

Change = Literal["fired", "cleared"]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rule stands: ok, pending (above its bound, not yet for long enough) or firing.

    `held_since_ms` is since when that has held which, in the end, makes it fire or clear.
    """

    status: Literal["ok", "pending", "firing"] = "ok"
    held_since_ms: int | None = None
    fired_at_ms: int | None = None


OK = Standing()


def judge(standing: Standing, value: float | None, rule: Rule, now_ms: int) -> tuple[Standing, Change | None]:
    """Give where the rule stands now, and what is to be told of it; a value of None, which nobody knows, changes nothing."""
    if value is None:
        return standing, None
    if standing.status == "firing":
        return _still_firing(standing, value, rule, now_ms)
    if value <= rule.above:
        return OK, None
    since_ms = _since(standing, now_ms)
    if now_ms - since_ms < rule.for_seconds * 1000:
        return Standing(status="pending", held_since_ms=since_ms), None
    return Standing(status="firing", fired_at_ms=now_ms), "fired"


def _still_firing(standing: Standing, value: float, rule: Rule, now_ms: int) -> tuple[Standing, Change | None]:
    if value > rule.clear_below:
        return msgspec.structs.replace(standing, held_since_ms=None), None
    since_ms = _since(standing, now_ms)
    if now_ms - since_ms < rule.for_seconds * 1000:
        return msgspec.structs.replace(standing, held_since_ms=since_ms), None
    return OK, "cleared"


def _since(standing: Standing, now_ms: int) -> int:
    """Give since when it has held; a clock that was set back begins it anew."""
    return now_ms if standing.held_since_ms is None else min(standing.held_since_ms, now_ms)
