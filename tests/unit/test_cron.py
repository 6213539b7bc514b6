"""Cron expressions: Cloudflare's examples, its limits, and a slow matcher that the quick one has to agree with."""

import calendar
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.errors import InvalidCron
from millrace.runtime.cron import between, check_cron, latest, next_after

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DAY_MS = 86_400_000


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def shown(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%a %Y-%m-%d %H:%M}"


def first(expression: str, count: int = 2, after: datetime = NEW_YEAR) -> list[str]:
    found, at_ms = [], ms(after)
    for _ in range(count):
        at_ms = next_after(expression, at_ms)
        found.append(shown(at_ms))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["Thu 2026-01-01 00:01", "Thu 2026-01-01 00:02"]),
        ("*/30 * * * *", ["Thu 2026-01-01 00:30", "Thu 2026-01-01 01:00"]),
        ("45 * * * *", ["Thu 2026-01-01 00:45", "Thu 2026-01-01 01:45"]),
        ("0 17 * * sun", ["Sun 2026-01-04 17:00", "Sun 2026-01-11 17:00"]),
        ("0 17 * * 1", ["Sun 2026-01-04 17:00", "Sun 2026-01-11 17:00"]),
        ("10 7 * * mon-fri", ["Thu 2026-01-01 07:10", "Fri 2026-01-02 07:10"]),
        ("10 7 * * 2-6", ["Thu 2026-01-01 07:10", "Fri 2026-01-02 07:10"]),
        ("0 15 1 * *", ["Thu 2026-01-01 15:00", "Sun 2026-02-01 15:00"]),
        ("0 18 * * 6L", ["Fri 2026-01-30 18:00", "Fri 2026-02-27 18:00"]),
        ("0 18 * * friL", ["Fri 2026-01-30 18:00", "Fri 2026-02-27 18:00"]),
        ("59 23 LW * *", ["Fri 2026-01-30 23:59", "Fri 2026-02-27 23:59"]),
    ],
)
def test_the_examples_of_cloudflares_documentation_mean_what_it_says(expression, expected):
    assert first(expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 * * 7", ["Sat 2026-01-03 00:00", "Sat 2026-01-10 00:00"]),
        ("0 0 * * L", ["Sat 2026-01-03 00:00", "Sat 2026-01-10 00:00"]),
        ("0 0 * * 2#1", ["Mon 2026-01-05 00:00", "Mon 2026-02-02 00:00"]),
        ("0 0 * * mon#5", ["Mon 2026-03-30 00:00", "Mon 2026-06-29 00:00"]),
        ("0 0 * * fri-mon", ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00"]),
        ("0 22-2/2 * * *", ["Thu 2026-01-01 02:00", "Thu 2026-01-01 22:00"]),
        ("50/5 0 * * *", ["Thu 2026-01-01 00:50", "Thu 2026-01-01 00:55"]),
        ("0 0 L * *", ["Sat 2026-01-31 00:00", "Sat 2026-02-28 00:00"]),
        ("0 0 L-3 * *", ["Wed 2026-01-28 00:00", "Wed 2026-02-25 00:00"]),
        ("0 0 L-3W * *", ["Wed 2026-01-28 00:00", "Wed 2026-02-25 00:00"]),
        ("0 0 15W * *", ["Thu 2026-01-15 00:00", "Mon 2026-02-16 00:00"]),  # 15 February is a Sunday
        ("0 0 1W 8 *", ["Mon 2026-08-03 00:00", "Mon 2027-08-02 00:00"]),  # does not leave the month backwards
        ("0 0 31W 5 *", ["Fri 2026-05-29 00:00", "Mon 2027-05-31 00:00"]),  # nor forwards
        ("0 0 31W 2-3 *", ["Tue 2026-03-31 00:00", "Wed 2027-03-31 00:00"]),
        ("0 0 29 2 *", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"]),
        ("0 0 31 2 mon", ["Mon 2026-02-02 00:00", "Mon 2026-02-09 00:00"]),
        ("0 0 10 * sat", ["Sat 2026-01-03 00:00", "Sat 2026-01-10 00:00"]),
        ("0 0 */30 * sat", ["Sat 2026-01-03 00:00", "Sat 2026-01-10 00:00"]),
        ("0 0 15W * sat", ["Sat 2026-01-03 00:00", "Sat 2026-01-10 00:00"]),
        ("0 12 1 JAN,jul *", ["Thu 2026-01-01 12:00", "Wed 2026-07-01 12:00"]),
    ],
)
def test_days_and_ranges_beyond_plain_numbers(expression, expected):
    assert first(expression) == expected


def test_days_of_month_and_week_are_joined_by_or_as_soon_as_neither_is_a_star():
    assert first("0 0 2 * sat", 3) == ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00", "Sat 2026-01-10 00:00"]


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("* * * *", "cron '* * * *' has 4 fields; expected 5: minute, hour, day of the month, month, day of the week"),
        ("60 * * * *", "the minute of a cron is '60'; expected 0 to 59, with * , - /"),
        ("*/60 * * * *", "the minute of a cron is '*/60'; expected a step from 1 to 59"),
        ("*/0 * * * *", "the minute of a cron is '*/0'; expected a step from 1 to 59"),
        ("* 24 * * *", "the hour of a cron is '24'; expected 0 to 23"),
        ("* * 0 * *", "the day of the month of a cron is '0'; expected 1 to 31"),
        ("* * 0W * *", "the day of the month of a cron is '0'"),
        ("* * 1,L * *", "the day of the month of a cron is 'L'; expected 1 to 31, with * , - /, or alone L, LW, 15W"),
        ("* * L-31 * *", "the day of the month of a cron is 'L-31'"),
        ("* * * 13 *", "the month of a cron is '13'; expected 1 to 12 or JAN to DEC"),
        ("* * * * 0", "the day of the week of a cron is '0'; expected 1 to 7 or SUN to SAT"),
        ("* * * * 8", "the day of the week of a cron is '8'"),
        ("* * * * 2#6", "the day of the week of a cron is '2#6'"),
        ("* * * * ,", "the day of the week of a cron is ''"),
        ("* * ? * *", "the day of the month of a cron is '?'"),
        ("1-2-3 * * * *", "the minute of a cron is '2-3'"),
        ("² * * * *", "the minute of a cron is '²'"),
        ("0 0 31 2 *", "cron '0 0 31 2 *' is never due"),
        ("0 0 31W 2,4 *", "cron '0 0 31W 2,4 *' is never due"),
    ],
)
def test_what_is_no_cron_is_refused_with_field_value_and_what_is_allowed(expression, sentence):
    with pytest.raises(InvalidCron) as refused:
        check_cron(expression)

    assert str(refused.value).startswith(sentence)


def test_a_due_time_is_after_and_not_at_the_time_that_is_given():
    noon = ms(NEW_YEAR + timedelta(hours=12))

    assert next_after("0 12 * * *", noon) == noon + DAY_MS
    assert next_after("0 12 * * *", noon - 1) == noon
    assert list(between("0 12 * * *", noon - DAY_MS, noon)) == [noon]


def test_the_latest_of_a_long_time_are_found_without_going_through_it():
    now_ms = ms(NEW_YEAR)

    assert latest("0 0 29 2 *", 0, now_ms, 2) == [
        ms(datetime(2020, 2, 29, tzinfo=UTC)),
        ms(datetime(2024, 2, 29, tzinfo=UTC)),
    ]
    assert latest("* * * * *", 0, now_ms, 3) == [now_ms - 120_000, now_ms - 60_000, now_ms]
    assert latest("* * * * *", now_ms - 60_000, now_ms, 3) == [now_ms]
    assert latest("* * * * *", now_ms, now_ms + 59_999, 3) == []


def field(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    value = st.integers(low, high).map(str)
    if names:
        value |= st.sampled_from(names)
    span = st.builds("{}-{}".format, value, value)
    step = st.builds("{}/{}".format, st.just("*") | value | span, st.integers(1, high - low))
    items = st.lists(value | span | step, min_size=1, max_size=3).map(",".join)
    return st.just("*") | items


days = field(1, 31) | st.sampled_from(["L", "LW"]) | st.integers(1, 31).map("{}W".format)
days |= st.integers(1, 30).map("L-{}".format) | st.integers(1, 30).map("L-{}W".format)
weekdays = field(1, 7, DAY_NAMES) | st.builds("{}{}".format, st.integers(1, 7), st.sampled_from(["L", "#1", "#5"]))
expressions = st.builds("{} {} {} {} {}".format, field(0, 59), field(0, 23), days, field(1, 12, MONTH_NAMES), weekdays)


@cache
def in_field(text: str, value: int, low: int, high: int, names: tuple[str, ...] = ()) -> bool:
    """Say by walking from the first value to the last whether one is met."""

    def number(word: str) -> int:
        return names.index(word) + 1 if word in names else int(word)

    for item in text.split(","):
        span, _, step = item.partition("/")
        begin, _, end = span.partition("-")
        start = low if span == "*" else number(begin)
        stop = number(end) if end else (high if span == "*" or step else start)
        walked, at = 0, start
        while True:
            if at == value and walked % int(step or 1) == 0:
                return True
            if at == stop:
                break
            at, walked = (at + 1 if at < high else low), walked + 1
    return False


def on_day(text: str, at: datetime) -> bool:
    last = calendar.monthrange(at.year, at.month)[1]
    if "L" not in text and "W" not in text:
        return in_field(text, at.day, 1, 31)
    number = text.removesuffix("W").removeprefix("L-")
    wanted = int(text[:-1]) if text[0] != "L" else last if number in ("L", "") else last - int(number)
    if not 1 <= wanted <= last:
        return False
    if not text.endswith("W"):
        return at.day == wanted
    workdays = [day for day in range(1, last + 1) if calendar.weekday(at.year, at.month, day) < 5]
    return at.day == min(workdays, key=lambda day: abs(day - wanted))


def on_weekday(text: str, at: datetime) -> bool:
    weekday = (at.weekday() + 1) % 7 + 1
    if text.endswith("L"):
        return weekday == int(text[:-1]) and (at + timedelta(days=7)).month != at.month
    if "#" in text:
        return weekday == int(text[0]) and (at.day - 1) // 7 + 1 == int(text[2])
    return in_field(text, weekday, 1, 7, DAY_NAMES)


def is_due(expression: str, at: datetime) -> bool:
    minute, hour, day, month, weekday = expression.split()
    if not (in_field(minute, at.minute, 0, 59) and in_field(hour, at.hour, 0, 23)):
        return False
    if not in_field(month, at.month, 1, 12, MONTH_NAMES):
        return False
    if day == "*" or weekday == "*":
        return (day == "*" or on_day(day, at)) and (weekday == "*" or on_weekday(weekday, at))
    return on_day(day, at) or on_weekday(weekday, at)


@settings(max_examples=30)
@given(expressions, st.integers(0, 1460 * 1440))
def test_the_minutes_of_a_day_are_due_that_a_slow_matcher_says(expression, minutes):
    after = NEW_YEAR + timedelta(minutes=minutes)

    expected = [ms(at) for n in range(1, 1441) if is_due(expression, at := after + timedelta(minutes=n))]

    assert list(between(expression, ms(after), ms(after) + DAY_MS)) == expected


@settings(max_examples=60)
@given(st.builds("30 12 {} {} {}".format, days, field(1, 12, MONTH_NAMES), weekdays))
def test_the_days_of_four_years_are_due_that_a_slow_matcher_says(expression):
    noon = NEW_YEAR + timedelta(hours=12, minutes=30)

    expected = [ms(at) for n in range(1461) if is_due(expression, at := noon + timedelta(days=n))]

    assert list(between(expression, ms(NEW_YEAR), ms(NEW_YEAR) + 1461 * DAY_MS)) == expected
