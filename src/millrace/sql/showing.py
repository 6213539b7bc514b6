"""Rows of published views, read from a database that only takes our own statements: one named `view_<name>` for each."""

from collections.abc import Mapping, Sequence

from millrace.clock import iso_milliseconds
from millrace.errors import InvalidInput
from millrace.sql.transaction import Row, Transaction

MOST_ROWS = 100_000  # of one view
MOST_BYTES = 64 * 1024 * 1024
LAST_MS = 253_402_300_799_999  # the end of the year 9999


def iso(at_ms: object) -> str | None:
    """Write a time of a view; None for what is none, such as that of a message that waits for another."""
    return iso_milliseconds(at_ms) if isinstance(at_ms, int) and 0 <= at_ms <= LAST_MS else None


def rows_of(
    tx: Transaction, views: Mapping[str, Sequence[str]], account_id: str, now_ms: int
) -> dict[str, Sequence[Row]]:
    """Give all rows that an account has in these views (their columns by name), on one snapshot.

    Raises:
        InvalidInput: there are more than 100,000 of one, or they have more than 64 MiB.
    """
    return {name: _rows(tx, name, columns, account_id, now_ms) for name, columns in views.items()}


def _rows(tx: Transaction, name: str, columns: Sequence[str], account_id: str, now_ms: int) -> Sequence[Row]:
    bindings = {"account_id": account_id, "now_ms": now_ms, "most_bytes": MOST_BYTES, "limit": MOST_ROWS + 1}
    rows = tx.fetch(f"view_{name}", bindings)
    if len(rows) > MOST_ROWS or any(row[-1] > MOST_BYTES for row in rows):
        raise InvalidInput(
            f"the view {name} has more than {MOST_ROWS} rows or {MOST_BYTES >> 20} MiB, too much to be copied for a "
            "statement; ask for another view, or query PostgreSQL directly"
        )
    times = [place for place, column in enumerate(columns) if column.endswith("_at")]
    return [_shown(row, times) for row in rows]


def _shown(row: Row, times: Sequence[int]) -> Row:
    values = list(row[:-1])
    for place in times:
        values[place] = iso(values[place])
    return tuple(values)
