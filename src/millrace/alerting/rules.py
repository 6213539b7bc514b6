"""Alert rules as immutable values, with what their fields may be."""

import re
from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from millrace import limits
from millrace.access.signatures import PREFIX
from millrace.consumer import check_push_url
from millrace.errors import InvalidConsumerSettings, InvalidRequest
from millrace.ids import new_push_secret
from millrace.names import check_queue_name
from millrace.ranges import is_number, shown, whole_numbers

Measure = Literal["depth", "oldest_age_seconds", "failure_rate"]

WEBHOOK = "webhook"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RANGES = {
    "for_seconds": (0, limits.ALERT_FOR_SECONDS),
    "window_seconds": (limits.ALERT_WINDOW_SECONDS_MIN, limits.ALERT_WINDOW_SECONDS_MAX),
    "minimum": (1, limits.ALERT_MINIMUM),
}
HIGHEST = limits.TIME_MS_MAX


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told: by a webhook, the URL and the secret that signs; by an application's way, what it calls a target."""

    way: str
    target: str
    secret: str | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule fires when the measure has been above `above` for so long, and clears after as long not above `clear_below`.

    A failure rate is a share, 0 to 1, of the jobs that ended in the last `window_seconds`; fewer than `minimum` of
    them count as a rate of 0.
    """

    id: str
    account_id: str
    name: str
    created_at_ms: int
    queue: str
    measure: Measure
    above: float
    clear_below: float
    for_seconds: int = 0
    window_seconds: int = limits.ALERT_WINDOW_SECONDS
    minimum: int = 1
    notify: tuple[Target, ...] = ()


def make_rule(*, id: str, account_id: str, created_at_ms: int, given: Mapping[str, Any], before: Rule | None) -> Rule:
    """Make a rule of the given fields; what is left out has its default, but a webhook keeps its secret of before.

    Raises:
        InvalidRequest: the field that the message names is missing or wrong.
        InvalidQueueName: `queue` is no queue's name.
    """
    above, clear_below = _bounds(given)
    known = {one.target: one.secret for one in (before.notify if before else ()) if one.way == WEBHOOK}
    return Rule(
        id=id,
        account_id=account_id,
        name=_name(given["name"]),
        created_at_ms=created_at_ms,
        queue=check_queue_name(given["queue"]),
        measure=_measure(given["measure"]),
        above=above,
        clear_below=clear_below,
        **whole_numbers(given, RANGES, InvalidRequest),
        notify=_targets(given.get("notify", ()), known),
    )


def check_known(rule: Rule, ways: Collection[str], rated: Collection[str]) -> None:
    """Let a rule pass whose ways somebody offers, and whose failure rate somebody counts.

    Raises:
        InvalidRequest: nobody does; the message names what there is.
    """
    for number, one in enumerate(rule.notify):
        if one.way not in ways:
            raise InvalidRequest(f"notify[{number}] is {shown(one.way)}; expected one of {', '.join(sorted(ways))}")
    if rule.measure == "failure_rate" and rule.queue not in rated:
        expected = f"expected one of {', '.join(sorted(rated))}" if rated else "no application here counts any"
        raise InvalidRequest(f"queue is {rule.queue!r}, whose failure rate nobody counts; {expected}")


def _name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"name is {shown(name)}; expected 1 to 64 letters, digits, '.', '_' and '-', beginning with one of the first two"
        )
    return name


def _measure(measure: Measure) -> Measure:
    if measure not in get_args(Measure):
        raise InvalidRequest(f"measure is {shown(measure)}; expected one of {', '.join(get_args(Measure))}")
    return measure


def _bounds(given: Mapping[str, Any]) -> tuple[float, float]:
    """Give what the rule fires above, and what it clears at."""
    above = clear_below = _bound("above", given["above"], given["measure"])
    if given.get("clear_below") is not None:
        clear_below = _bound("clear_below", given["clear_below"], given["measure"])
    if clear_below > above:
        raise InvalidRequest(f"clear_below is {clear_below:g}; expected at most above, which is {above:g}")
    return above, clear_below


def _bound(field: str, value: object, measure: str) -> float:
    if not is_number(value) or not 0 <= value <= HIGHEST:
        raise InvalidRequest(f"{field} is {shown(value)}; expected a number from 0 to {HIGHEST}")
    if measure == "failure_rate" and value >= 1:
        raise InvalidRequest(
            f"{field} is {value:g}; a failure rate is a share, so expected 0 up to 1, which it excludes"
        )
    return float(value)


def _targets(given: Sequence[Mapping[str, str]], known: Mapping[str, str | None]) -> tuple[Target, ...]:
    if len(given) > limits.ALERT_TARGETS:
        raise InvalidRequest(f"notify has {len(given)} entries; expected at most {limits.ALERT_TARGETS}")
    targets = tuple(_target(f"notify[{number}]", one, known) for number, one in enumerate(given))
    if len({(one.way, one.target) for one in targets}) < len(targets):
        raise InvalidRequest("notify names a target twice; expected each once")
    return targets


def _target(place: str, given: Mapping[str, str], known: Mapping[str, str | None]) -> Target:
    ways = [name for name in given if name != "secret"]
    if len(ways) != 1:
        raise InvalidRequest(
            f"{place} has {shown(sorted(given))}; expected one way, such as {WEBHOOK!r}, and its target"
        )
    [way] = ways
    target, secret = given[way], given.get("secret")
    if way == WEBHOOK:
        return Target(way=way, target=_url(place, target), secret=_secret(place, secret or known.get(target)))
    if secret is not None:
        raise InvalidRequest(f"{place}.secret goes with a {WEBHOOK} only")
    if not 1 <= len(target) <= limits.ALERT_TARGET_CHARACTERS or not target.isprintable():
        raise InvalidRequest(f"{place}.{way} is not 1 to {limits.ALERT_TARGET_CHARACTERS} printable characters")
    return Target(way=way, target=target)


def _url(place: str, url: str) -> str:
    try:
        check_push_url(url)
    except InvalidConsumerSettings as error:
        raise InvalidRequest(f"{place}.{WEBHOOK}: {error}") from None
    return url


def _secret(place: str, secret: str | None) -> str:
    """Give the secret; a new one when there is none."""
    if secret is None:
        return new_push_secret()
    try:
        size = len(b64decode(secret.removeprefix(PREFIX), validate=True)) if secret.startswith(PREFIX) else 0
    except ValueError:
        size = 0
    if not limits.PUSH_SECRET_BYTES_MIN <= size <= limits.PUSH_SECRET_BYTES_MAX:
        raise InvalidRequest(
            f"{place}.secret is not valid; expected {PREFIX!r} and the base64 of {limits.PUSH_SECRET_BYTES_MIN} to "
            f"{limits.PUSH_SECRET_BYTES_MAX} bytes"
        )
    return secret
