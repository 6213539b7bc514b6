"""Cron expressions as Cloudflare has them: five fields, always UTC, weekdays from 1 = Sunday to 7 = Saturday.

Lists, ranges (those over an end, too: `fri-mon`), steps and names are spelt out in plain numbers, which cronsim then
walks through. Days that depend on the month (`L`, `LW`, `15W`, `L-3`, `L-3W`) are found here. Where day of the month
and weekday are both given, either is enough.
"""

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from cronsim import CronSim

from millrace.errors import InvalidCron

LAST_YEAR = 9_000  # beyond it Python's calendar comes to its end
YEARS = 50  # an expression that is not due for so long is never due: leap years are 8 apart at most
WINDOWS_MS = tuple(days * 86_400_000 for days in (1, 31, 366, 366 * YEARS))
DAY = re.compile(r"L(?:-(?P<before>\d{1,2}))?(?P<last_weekday>W)?|(?P<near>\d{1,2})W")
WEEKDAY = re.compile(r"(?P<last>\w+)L|(?P<nth_weekday>\w+)#(?P<nth>\d)")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    also: str = ""

    @property
    def allowed(self) -> str:
        named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.low} to {self.high}{named}, with * , - /{self.also}"


FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31, also=", or alone L, LW, 15W, L-3 or L-3W"),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 1, 7, WEEKDAYS, ", or alone 6L (the last Friday) or 2#1 (the first Monday)"),
)


class _MonthDay(NamedTuple):
    """A day that depends on the month: counted from its end, or nearest to a day from Monday to Friday, or both."""

    day: int | None  # None counts from the end
    before_end: int
    on_weekday: bool

    def in_month(self, year: int, month: int) -> int | None:
        """Give the day, or None when the month has no such day."""
        last = calendar.monthrange(year, month)[1]
        day = last - self.before_end if self.day is None else self.day
        if not 1 <= day <= last:
            return None
        return _nearest_weekday(year, month, day, last) if self.on_weekday else day


class _Part(NamedTuple):
    """What cronsim walks through; with `day`, only on that day of each month."""

    text: str
    months: frozenset[int]
    day: _MonthDay | None = None


def check_cron(expression: str) -> str:
    """Return the expression.

    Raises:
        InvalidCron: it is none, or it is never due.
    """
    if next_after(expression, 0) is None:
        raise InvalidCron(f"cron {expression[:80]!r} is never due: no such month has such a day; name a day that comes")
    return expression


def next_after(expression: str, after_ms: int) -> int | None:
    """Give the first due time after a time, in epoch milliseconds; None when there is none within 50 years.

    Raises:
        InvalidCron: the expression is none; the message names the field, its value and what is allowed.
    """
    after = datetime.fromtimestamp(after_ms // 1000, UTC)
    found = (_next(part, after) for part in _parse(expression))
    return min((round(at.timestamp() * 1000) for at in found if at is not None), default=None)


def between(expression: str, after_ms: int, until_ms: int) -> Iterator[int]:
    """Go through the due times after `after_ms` up to and with `until_ms`.

    Raises:
        InvalidCron: the expression is none.
    """
    at_ms = next_after(expression, after_ms)
    while at_ms is not None and at_ms <= until_ms:
        yield at_ms
        at_ms = next_after(expression, at_ms)


def latest(expression: str, after_ms: int, until_ms: int, most: int) -> list[int]:
    """Give the latest due times of `between`, `most` at most, in order; it takes no longer for a longer time.

    Raises:
        InvalidCron: the expression is none.
    """
    found: list[int] = []
    for window_ms in WINDOWS_MS:
        begin_ms = max(after_ms, until_ms - window_ms)
        found = list(between(expression, begin_ms, until_ms))
        if begin_ms == after_ms or len(found) >= most:
            break
    return found[-most:]


@lru_cache(maxsize=1024)
def _parse(expression: str) -> tuple[_Part, ...]:
    fields = expression.upper().split()
    if len(fields) != len(FIELDS):
        raise InvalidCron(
            f"cron {expression[:80]!r} has {len(fields)} fields; "
            "expected 5: minute, hour, day of the month, month, day of the week"
        )
    minute, hour, day, month, weekday = fields
    time = f"{_numbers(FIELDS[0], minute)} {_numbers(FIELDS[1], hour)}"
    months = _numbers(FIELDS[3], month)
    in_months = frozenset(_values(FIELDS[3], month))
    parts = []
    if weekday != "*":
        parts.append(_Part(f"{time} * {months} {_weekdays(weekday)}", in_months))
    if day != "*" and (special := _month_day(day)) is not None:
        parts.append(_Part(f"{time} * * *", in_months, special))
    elif day != "*" or not parts:
        days = _values(FIELDS[2], day)
        if any(calendar.monthrange(2024, number)[1] >= min(days) for number in in_months):
            parts.append(_Part(f"{time} {_numbers(FIELDS[2], day)} {months} *", in_months))
    return tuple(parts)


def _next(part: _Part, after: datetime) -> datetime | None:
    if part.day is None:
        return next(CronSim(part.text, after), None) if after.year < LAST_YEAR else None
    year, month = after.year, after.month
    while year <= min(after.year + YEARS, LAST_YEAR):
        day = part.day.in_month(year, month) if month in part.months else None
        if day is not None and (at := _on_day(part.text, datetime(year, month, day, tzinfo=UTC), after)) is not None:
            return at
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return None


def _on_day(text: str, midnight: datetime, after: datetime) -> datetime | None:
    """Give the first due time of a day that is after a time."""
    at: datetime = next(CronSim(text, max(after, midnight - timedelta(seconds=1))))
    return at if at.date() == midnight.date() else None


def _nearest_weekday(year: int, month: int, day: int, last: int) -> int:
    """Give the day from Monday to Friday that is nearest, without leaving the month."""
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < last else day - 2
    return day


def _month_day(text: str) -> _MonthDay | None:
    """Read a day of the month that depends on the month; None when it is spelt in plain numbers."""
    found = DAY.fullmatch(text)
    if found is None:
        return None
    near, before = found["near"], found["before"]
    if near is not None:
        return _MonthDay(_value(FIELDS[2], near), 0, on_weekday=True)
    if before is not None and not 1 <= int(before) <= 30:
        raise _refused(FIELDS[2], text)
    return _MonthDay(None, int(before or 0), on_weekday=found["last_weekday"] is not None)


def _weekdays(text: str) -> str:
    """Give weekdays as cronsim has them, which counts from 0 = Sunday."""
    field = FIELDS[4]
    found = WEEKDAY.fullmatch(text)
    if found is None:
        text = "7" if text == "L" else text  # as in Quartz: the last day of a week, not of a month
        return ",".join(str(value - 1) for value in _values(field, text))
    if found["last"] is not None:
        return f"{_value(field, found['last']) - 1}L"
    if not 1 <= int(found["nth"]) <= 5:
        raise _refused(field, text)
    return f"{_value(field, found['nth_weekday']) - 1}#{found['nth']}"


def _numbers(field: _Field, text: str) -> str:
    return "*" if text == "*" else ",".join(map(str, _values(field, text)))


def _values(field: _Field, text: str) -> list[int]:
    """Spell a list of values, ranges and steps out."""
    return sorted({value for item in text.split(",") for value in _spelt_out(field, item)})


def _spelt_out(field: _Field, item: str) -> list[int]:
    span, slash, step_text = item.partition("/")
    step = _step(field, item, step_text) if slash else 1
    first, dash, last = span.partition("-")
    if span == "*":
        low, high = field.low, field.high
    else:
        low = _value(field, first)
        high = _value(field, last) if dash else field.high if slash else low
    if low <= high:
        return list(range(low, high + 1, step))
    return [*range(low, field.high + 1), *range(field.low, high + 1)][::step]


def _step(field: _Field, item: str, text: str) -> int:
    step, most = int(text) if text.isascii() and text.isdigit() and len(text) < 3 else 0, field.high - field.low
    if not 1 <= step <= most:
        raise InvalidCron(f"the {field.name} of a cron is {item[:40]!r}; expected a step from 1 to {most}")
    return step


def _value(field: _Field, text: str) -> int:
    if text in field.names:
        return field.names.index(text) + 1
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 3 else -1
    if not field.low <= value <= field.high:
        raise _refused(field, text)
    return value


def _refused(field: _Field, text: str) -> InvalidCron:
    return InvalidCron(f"the {field.name} of a cron is {text[:40]!r}; expected {field.allowed}")
