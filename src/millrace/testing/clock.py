"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime

from millrace.errors import InvalidInput

START = datetime(2025, 1, 1, tzinfo=UTC)


class ManualClock:
    """The time of a broker in a test. Python's own clocks go on as ever.

    Raises:
        InvalidInput: `start` has no time zone.
    """

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise InvalidInput(f"start is {start}; expected a time with its zone, such as tzinfo=UTC")
        self.now_ms = round(start.timestamp() * 1000)

    def __call__(self) -> int:
        """Give epoch milliseconds."""
        return self.now_ms

    @property
    def now(self) -> datetime:
        """The time as it stands (UTC)."""
        return datetime.fromtimestamp(self.now_ms / 1000, UTC)

    def advance(self, seconds: float) -> None:
        """Move on; what has become ready meanwhile is delivered by the next `drain`.

        Raises:
            InvalidInput: `seconds` is negative.
        """
        if seconds < 0:
            raise InvalidInput(f"seconds is {seconds}; expected 0 or more, for time never runs backwards")
        self.now_ms += round(seconds * 1000)
