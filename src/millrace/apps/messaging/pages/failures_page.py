"""The page of failures: of which type, for which reason, how often, and when."""

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from millrace.apps.messaging.figures import UNKNOWN, FailureGroup, failures
from millrace.apps.messaging.pages.rooms import Rooms
from millrace.apps.messaging.pages.words import tone, type_word
from millrace.dashboard.turn import Turn
from millrace.http.routes import Answer

SPANS = {"24": "24 hours", "168": "7 days", "720": "30 days"}
BAR_HOURS = {"24": 1, "168": 6, "720": 24}
BAR_WORDS = {"24": "an hour", "168": "6 hours", "720": "a day"}
SHOWN_GROUPS = 100
HEIGHT = 24  # of the highest bar


class Bar(msgspec.Struct, frozen=True):
    """A bar of a trend: where it begins, how high it is, and what it counts."""

    x: int
    height: int
    count: int


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A group of failures as the page shows it."""

    query: str
    type_word: str
    status: str
    tone: str
    reason: str
    count: int
    first: str
    last: str
    bars: list[Bar]


async def show_failures(rooms: Rooms, turn: Turn) -> Answer:
    """Show what failed, by type and reason, the most frequent first."""
    span = turn.request.choice("hours", "24", tuple(SPANS))
    found = await rooms.platform.read(lambda work: failures(work, turn.account_id, int(span)))
    return turn.page(
        "messages/failures.html",
        spans=SPANS,
        span=span,
        bar_word=BAR_WORDS[span],
        found=found,
        lines=[_line(group, BAR_HOURS[span]) for group in found.groups[:SHOWN_GROUPS]],
        more=max(0, len(found.groups) - SHOWN_GROUPS),
    )


def bars_of(trend: Sequence[int], bar_hours: int) -> list[Bar]:
    """Make the bars of a trend that counts by the hour; what happened at all can be seen."""
    counts = [sum(trend[begin : begin + bar_hours]) for begin in range(0, len(trend), bar_hours)]
    highest = max(counts, default=0) or 1
    return [
        Bar(4 * index, max(2, HEIGHT * count // highest) if count else 0, count) for index, count in enumerate(counts)
    ]


def _line(group: FailureGroup, bar_hours: int) -> Line:
    return Line(
        query=urlencode(_filters(group)),
        type_word=type_word(group.type),
        status=group.status,
        tone=tone(group.status),
        reason=group.reason,
        count=group.count,
        first=_moment(group.first),
        last=_moment(group.last),
        bars=bars_of(group.trend, bar_hours),
    )


def _filters(group: FailureGroup) -> dict[str, str]:
    filters = {"status": group.status, "type": group.type}
    return filters if group.reason == UNKNOWN else {**filters, "reason": group.reason}


def _moment(iso: str) -> str:
    return iso[:16].replace("T", " ")
