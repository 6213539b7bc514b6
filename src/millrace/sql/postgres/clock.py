"""The time of a shared database: on PostgreSQL, now is the database's now, whatever a server's own clock says."""

from millrace.clock import SlewedClock, uptime_ms
from millrace.sql.postgres.connection import connect


class DatabaseClock:
    """Runs on this machine's uptime and leans towards the database's time, which it is told once a second."""

    def __init__(self, now_ms: int, newest_ms: int) -> None:
        self._ahead_ms = now_ms - uptime_ms()
        self._clock = SlewedClock(max(now_ms, newest_ms), wall=lambda: self._ahead_ms + uptime_ms())

    def __call__(self) -> int:
        """Give epoch milliseconds, never fewer than before."""
        return self._clock()

    def note(self, now_ms: int) -> None:
        """Take note of what time it is there."""
        self._ahead_ms = now_ms - uptime_ms()


def clock_of(url: str) -> DatabaseClock:
    """Make the clock of a process on a prepared database; it begins after the newest time that is noted there.

    Raises:
        StoreUnavailable: the database cannot be reached now.
    """
    connection, _ = connect(url)
    with connection:
        row = connection.execute(
            "select (extract(epoch from clock_timestamp()) * 1000)::bigint, now_ms from store", prepare=False
        ).fetchone()
    assert row is not None, "prepare() writes the row"
    return DatabaseClock(row[0], row[1])
