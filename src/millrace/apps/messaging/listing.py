"""Lists of messages, with a search: read a page at a time, each of them a short transaction of its own."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from millrace.apps.messaging.jobs import EmailJob, Job, SmsJob
from millrace.apps.messaging.rows import LAST_MS, Row
from millrace.apps.messaging.shown import SCHEDULED, status_word
from millrace.errors import InvalidRequest
from millrace.platform import Platform
from millrace.work import Work

PAGE_ROWS = 500
SCANNED_ROWS = 5_000  # in one answer; the next one goes on behind them
LAST = "\U0010ffff"  # behind every id

Open = Callable[[Row], Job | None]


class Wanted(NamedTuple):
    """What is looked for: a status as it is shown, a type, a piece of text in any case, a reason as it stands there."""

    status: str | None = None
    type: str | None = None
    text: str = ""
    reason: str | None = None


class Place(NamedTuple):
    """A place in the order of a list: the time it goes by, in epoch milliseconds, and an id."""

    at_ms: int
    id: str


class Found(NamedTuple):
    """A message that is looked for, and what it holds as far as the reader may know."""

    row: Row
    job: Job | None


class Listed(NamedTuple):
    """Some messages, and the place to go on behind; None at the end."""

    found: list[Found]
    next: Place | None


async def find_messages(
    platform: Platform, account_id: str, wanted: Wanted, limit: int, after: Place | None, open: Open
) -> Listed:
    """Give up to `limit` messages. There may be fewer though there are more to come: so many are looked at, and no more.

    Newest first; of one status the latest change first; of the scheduled ones the first to be sent.
    """
    found: list[Found] = []
    for _ in range(SCANNED_ROWS // PAGE_ROWS):
        page = await platform.read(_reading(account_id, wanted, limit - len(found), after, open))
        found += page.found
        after = page.next
        if after is None or len(found) == limit:
            break
    return Listed(found, after)


def read_page(work: Work, account_id: str, wanted: Wanted, limit: int, after: Place | None, open: Open) -> Listed:
    """Give what there is of it in the next page."""
    is_plain = not wanted.text and wanted.type is None and wanted.status != "queued"
    size = limit + 1 if is_plain else PAGE_ROWS
    rows = _rows(work, account_id, wanted, after, size)
    found: list[Found] = []
    for row in rows:
        one = _fits(row, wanted, open, work.now_ms)
        if one is not None:
            found.append(one)
        if len(found) == limit:
            is_last = row is rows[-1] and len(rows) < size
            return Listed(found, None if is_last else _place(row, wanted))
    return Listed(found, _place(rows[-1], wanted) if len(rows) == size else None)


def cursor_of(place: Place | None) -> str | None:
    """Write a place as the opaque text that stands for it."""
    return None if place is None else urlsafe_b64encode(msgspec.json.encode(place)).decode()


def read_cursor(text: str) -> Place | None:
    """Give the place that a text stands for, None for an empty one.

    Raises:
        InvalidRequest: it is none of ours.
    """
    if not text:
        return None
    try:
        at_ms, message_id = msgspec.json.decode(urlsafe_b64decode(text.encode("ascii")), type=tuple[int, str])
    except (ValueError, msgspec.DecodeError):
        at_ms, message_id = -1, ""
    if not 0 <= at_ms <= LAST_MS or "\0" in message_id:
        raise InvalidRequest(f"before is {text[:40]!r}; expected what an earlier answer gave as next")
    return Place(at_ms, message_id)


def _reading(account_id: str, wanted: Wanted, limit: int, after: Place | None, open: Open) -> Callable[[Work], Listed]:
    return lambda work: read_page(work, account_id, wanted, limit, after, open)


def _rows(work: Work, account_id: str, wanted: Wanted, after: Place | None, limit: int) -> list[Row]:
    if wanted.status == SCHEDULED:
        at_ms, message_id = after or (0, "")
        place = {"after_ms": at_ms, "after_id": message_id, "now_ms": work.now_ms}
        rows = work.fetch("outbound_scheduled_page", {"account_id": account_id, "limit": limit, **place})
        return [Row(*row) for row in rows]
    at_ms, message_id = after or (LAST_MS, LAST)
    bindings = {"account_id": account_id, "before_ms": at_ms, "before_id": message_id, "limit": limit}
    if wanted.status is None:
        return [Row(*row) for row in work.fetch("outbound_page", bindings)]
    return [Row(*row) for row in work.fetch("outbound_of_status", {**bindings, "status": wanted.status})]


def _place(row: Row, wanted: Wanted) -> Place:
    if wanted.status == SCHEDULED:
        return Place(row.due_at_ms or 0, row.id)
    return Place(row.created_at_ms if wanted.status is None else row.updated_at_ms, row.id)


def _fits(row: Row, wanted: Wanted, open: Open, now_ms: int) -> Found | None:
    """Give a message with what it holds if it is looked for; it is opened when nothing else speaks against it."""
    if wanted.status not in (None, status_word(row, now_ms)) or wanted.type not in (None, row.type):
        return None
    if wanted.reason not in (None, row.reason):
        return None
    text = wanted.text.lower()
    if text in row.id.lower():
        return Found(row, open(row))
    job = open(row)
    return Found(row, job) if any(text in word.lower() for word in _words(job)) else None


def _words(job: Job | None) -> tuple[str, ...]:
    match job:
        case EmailJob():
            return job.recipient, job.subject
        case SmsJob():
            return (job.recipient,)
    return ()
