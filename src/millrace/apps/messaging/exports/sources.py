"""What goes into exports: pages of rows, read in order beside the writer, and the lines they make."""

from collections.abc import Sequence
from typing import Any, Protocol

from millrace.apps.messaging.exports.columns import AUDIT, MESSAGES, Column, Line
from millrace.apps.messaging.exports.rows import Export
from millrace.apps.messaging.fields import read_send_at
from millrace.apps.messaging.jobs import EmailJob, Filters, SmsJob
from millrace.apps.messaging.rows import LAST_MS, Row
from millrace.apps.messaging.sealing import Seals
from millrace.apps.messaging.shown import status_word
from millrace.errors import Forbidden
from millrace.sql.transaction import Row as Values
from millrace.work import Work

COUNTED_ROWS = 5_000_000
LETTERS = ("email_send", "sms_send")

Place = tuple[Any, ...]


class Source(Protocol):
    """Rows of one kind. A place is that of a row in their order, `first` the one before all of them."""

    columns: tuple[Column, ...]
    first: Place

    def count(self, work: Work) -> int | None:
        """Count the rows there are to look at; None when there are too many."""
        ...

    def read(self, work: Work, after: Place, limit: int) -> Sequence[Values]:
        """Read rows after a place, in order; none are left when none come."""
        ...

    def size(self, row: Values) -> int:
        """Give about how many bytes a row has."""
        ...

    def place(self, row: Values) -> Place:
        """Give the place of a row."""
        ...

    def lines(self, rows: Sequence[Values]) -> list[Line]:
        """Make lines of those rows that are wanted."""
        ...


def source_of(account_id: str, filters: Filters, export: Export, seals: Seals, now_ms: int) -> Source:
    """Give what the filters ask for, as of now.

    Raises:
        Forbidden: the audit trail is for a key that may not read it.
    """
    if filters.source == "messages":
        return Messages(account_id, filters, export, seals, now_ms)
    if export.reach != "all":
        raise Forbidden("the key that asked for this export may not read the audit trail")
    return Entries(account_id, filters)


class Messages:
    """E-mails and text messages with what they hold, the oldest first."""

    columns: tuple[Column, ...] = MESSAGES

    def __init__(self, account_id: str, filters: Filters, export: Export, seals: Seals, now_ms: int) -> None:
        self._account_id, self._filters, self._seals, self._now_ms = account_id, filters, seals, now_ms
        self._owner = export.owner if export.reach == "own" else None
        self._end_ms = min(now_ms + 1, LAST_MS if filters.end_ms is None else filters.end_ms)
        self.first: Place = (filters.start_ms or 0, "")

    def count(self, work: Work) -> int | None:
        """See `Source`."""
        bindings = {"account_id": self._account_id, "start_ms": self.first[0], "end_ms": self._end_ms}
        return _counted(work, "count_export_messages", bindings)

    def read(self, work: Work, after: Place, limit: int) -> Sequence[Values]:
        """See `Source`."""
        bindings = {"after_ms": after[0], "after_id": after[1], "end_ms": self._end_ms, "limit": limit}
        return work.fetch("export_messages", {"account_id": self._account_id, **bindings})

    def size(self, row: Values) -> int:
        """See `Source`."""
        return len(_row_of(row).body)

    def place(self, row: Values) -> Place:
        """See `Source`."""
        found = _row_of(row)
        return found.created_at_ms, found.id

    def lines(self, rows: Sequence[Values]) -> list[Line]:
        """See `Source`."""
        found = [(_row_of(row), row[-1]) for row in rows]
        return [self._line(row, delivered_at_ms) for row, delivered_at_ms in found if self._is_wanted(row)]

    def _is_wanted(self, row: Row) -> bool:
        return (
            row.type in LETTERS
            and self._filters.type in (None, row.type)
            and self._filters.status in (None, row.status, status_word(row, self._now_ms))
            and self._owner in (None, row.owner)
        )

    def _line(self, row: Row, delivered_at_ms: int | None) -> Line:
        job = self._seals.open_row(self._account_id, row)
        assert isinstance(job, EmailJob | SmsJob)
        return (
            row.id,
            row.type,
            status_word(row, self._now_ms),
            row.priority,
            job.recipient,
            job.subject if isinstance(job, EmailJob) else None,
            job.content,
            row.attempts,
            row.reason,
            row.provider,
            row.provider_id,
            row.created_at_ms,
            row.updated_at_ms,
            read_send_at(job.send_at),
            delivered_at_ms,
        )


class Entries:
    """Entries of the audit trail, the oldest first. The filter `type` asks for an act."""

    columns: tuple[Column, ...] = AUDIT
    first: Place = (0,)

    def __init__(self, account_id: str, filters: Filters) -> None:
        self._account_id, self._filters = account_id, filters
        self._times_ms = range(filters.start_ms or 0, LAST_MS if filters.end_ms is None else filters.end_ms)

    def count(self, work: Work) -> int | None:
        """See `Source`."""
        return _counted(work, "count_export_entries", {"account_id": self._account_id})

    def read(self, work: Work, after: Place, limit: int) -> Sequence[Values]:
        """See `Source`."""
        bindings = {"account_id": self._account_id, "after": after[0], "limit": limit}
        return work.fetch("export_entries", bindings)

    def size(self, row: Values) -> int:
        """See `Source`."""
        return len(row[5])

    def place(self, row: Values) -> Place:
        """See `Source`."""
        return row[:1]

    def lines(self, rows: Sequence[Values]) -> list[Line]:
        """See `Source`."""
        return [row for row in rows if row[1] in self._times_ms and self._filters.type in (None, row[3])]


def _counted(work: Work, name: str, bindings: dict[str, Any]) -> int | None:
    count: int = work.fetch(name, {**bindings, "limit": COUNTED_ROWS + 1})[0][0]
    return None if count > COUNTED_ROWS else count


def _row_of(row: Values) -> Row:
    return Row(*row[:-1])  # the last is when it was delivered
