"""The page of all messages: how many are in which state, and a table of them, the newest first."""

from collections.abc import Mapping
from functools import partial
from urllib.parse import urlencode

import msgspec

from millrace.apps.messaging.figures import count_dead_letters, counts_by_status, rate_of
from millrace.apps.messaging.listing import Found, Wanted, cursor_of, find_messages, read_cursor
from millrace.apps.messaging.pages.rooms import Rooms
from millrace.apps.messaging.pages.words import STATUSES, TYPE_WORDS, segment, subject_of, target_of, tone, type_word
from millrace.apps.messaging.rows import DONE, FAILED
from millrace.apps.messaging.shown import SCHEDULED, status_word
from millrace.dashboard.turn import Turn
from millrace.errors import InvalidRequest
from millrace.http.routes import Answer
from millrace.work import Work

SHOWN_MESSAGES = 25
TEXT_CHARACTERS = 200
ALWAYS = ("draft", "scheduled", "queued", "processing", "failed")  # are counted even where there are none
TIME_WORDS = {None: "Made", SCHEDULED: "Send"}  # what a list goes by; one of any other status by the latest change
FILTERS = ("status", "type", "q", "reason")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the table shows it."""

    segment: str
    at_ms: int
    type_word: str
    target: str
    subject: str
    status: str
    tone: str
    attempts: int
    reason: str


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages have a status."""

    status: str
    tone: str
    count: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What stands above the table."""

    counts: list[Count]
    failure_rate: float
    dead_letters: int


async def show_list(rooms: Rooms, turn: Turn) -> Answer:
    """Show the messages that were asked for."""
    asked = {name: value for name in FILTERS if (value := turn.request.query.get(name, [""])[-1].strip())}
    before = turn.request.query.get("before", [""])[-1]
    listed = await find_messages(
        rooms.platform,
        turn.account_id,
        wanted_of(asked),
        SHOWN_MESSAGES,
        read_cursor(before),
        partial(rooms.seals.show_row, turn.account_id),
    )
    totals = await rooms.platform.read(lambda work: _totals(work, turn.account_id))
    after = cursor_of(listed.next)
    return turn.page(
        "messages/list.html",
        totals=totals,
        lines=[line_of(found, asked.get("status"), turn.desk.clock()) for found in listed.found],
        asked={name: asked.get(name, "") for name in FILTERS},
        is_filtered=bool(asked),
        statuses=STATUSES,
        types=TYPE_WORDS,
        time_word=TIME_WORDS.get(asked.get("status"), "Changed"),
        query=urlencode({**asked, "before": before} if before else asked),
        first=urlencode(asked),
        older=urlencode({**asked, "before": after}) if after else "",
        is_first=not before,
    )


def wanted_of(asked: Mapping[str, str]) -> Wanted:
    """Say what is looked for.

    Raises:
        InvalidRequest: there is no such status or type, or the text is too long.
    """
    status, kind, text = asked.get("status"), asked.get("type"), asked.get("q", "")
    if status not in (None, *STATUSES) or kind not in (None, *TYPE_WORDS) or len(text) > TEXT_CHARACTERS:
        raise InvalidRequest(
            f"status is {(status or '')[:40]!r}, type is {(kind or '')[:40]!r}, and the text has {len(text)} characters; "
            f"expected a status and a type of the form, and at most {TEXT_CHARACTERS} characters"
        )
    return Wanted(status, kind, text, asked.get("reason"))


def line_of(found: Found, status: str | None, now_ms: int) -> Line:
    """Make a line of the table; its time is the one that the list of this status goes by."""
    row = found.row
    word = status_word(row, now_ms)
    at_ms = row.created_at_ms if status is None else row.updated_at_ms
    return Line(
        segment=segment(row.id),
        at_ms=row.due_at_ms or at_ms if status == SCHEDULED else at_ms,
        type_word=type_word(row.type),
        target=target_of(found.job),
        subject=subject_of(found.job),
        status=word,
        tone=tone(word),
        attempts=row.attempts,
        reason=row.reason or "",
    )


def _totals(work: Work, account_id: str) -> Totals:
    counts = counts_by_status(work, account_id)
    failed, done = (sum(counts.get(word, 0) for word in words) for words in (FAILED, DONE))
    return Totals(
        counts=[
            Count(status=status, tone=tone(status), count=counts.get(status, 0))
            for status in STATUSES
            if counts.get(status) or status in ALWAYS
        ],
        failure_rate=rate_of(failed, failed + done),
        dead_letters=count_dead_letters(work, account_id),
    )
