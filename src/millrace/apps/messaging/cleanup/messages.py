"""Messages that ended, with their history, as functions of an open transaction: read, removed, put back."""

from collections.abc import Sequence
from typing import NamedTuple

from millrace.apps.messaging.cleanup.archives import Page
from millrace.apps.messaging.cleanup.lines import Archived, line_of_message
from millrace.apps.messaging.rows import ENDED, Change, Row
from millrace.work import Work

PAGE_ROWS = 500
REMOVED_ROWS = 100  # with their history, a transaction stays below a thousand rows


class Place(NamedTuple):
    """How far a walk through the ended messages has come: a status, and a place within it."""

    status: int = 0
    at_ms: int = -1
    id: str = ""


class Found(NamedTuple):
    """A page of an archive, the ids in it, and where to go on; `after` is None at the end."""

    page: Page
    ids: list[str]
    after: Place | None


def read_page(work: Work, account_id: str, older_than_ms: int, after: Place) -> Found:
    """Read messages that ended before a time and were not touched since, and what became of them."""
    bindings = {
        "account_id": account_id,
        "status": ENDED[after.status],
        "older_than_ms": older_than_ms,
        "after_ms": after.at_ms,
        "after_id": after.id,
        "limit": PAGE_ROWS,
    }
    found = [Row(*row) for row in work.fetch("outbound_ended", bindings)]
    ids = [row.id for row in found]
    histories: dict[str, list[Change]] = {message_id: [] for message_id in ids}
    for message_id, *change in work.fetch("history_of_ids", {"account_id": account_id, "ids": work.tx.array(ids)}):
        histories[message_id].append(Change(*change))
    text = b"".join(line_of_message(row, histories[row.id]) for row in found)
    return Found(Page(text, len(found)), ids, _next(after, found))


def remove(work: Work, account_id: str, ids: Sequence[str], older_than_ms: int) -> int:
    """Remove messages that are archived, but for those that somebody has touched meanwhile; give how many went."""
    bindings = {"account_id": account_id, "ids": work.tx.array(ids), "older_than_ms": older_than_ms}
    gone = [row[0] for row in work.fetch("delete_outbound", bindings)]
    work.apply("delete_history", {"account_id": account_id, "ids": work.tx.array(gone)})
    return len(gone)


def restore(work: Work, account_id: str, archived: Sequence[Archived]) -> int:
    """Put messages back that are not there, and give how many were not."""
    restored = 0
    for row, history in archived:
        if work.fetch("restore_outbound", {**row._asdict(), "account_id": account_id}):
            restored += 1
            lines = [{**change._asdict(), "account_id": account_id, "message_id": row.id} for change in history]
            work.tx.apply_many("restore_history", lines)
    return restored


def _next(after: Place, found: Sequence[Row]) -> Place | None:
    if len(found) == PAGE_ROWS:
        return Place(after.status, found[-1].updated_at_ms, found[-1].id)
    return Place(after.status + 1) if after.status + 1 < len(ENDED) else None
