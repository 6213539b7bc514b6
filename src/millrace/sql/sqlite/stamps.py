"""What a store goes on above when it starts: the time, and the numbers it has given out."""

from millrace.clock import Clock, boot_id, boot_uptime_ms, uptime_ms
from millrace.sql.sqlite.transaction import SqliteTransaction

SEQUENCE_BLOCK = 1 << 20  # numbers reserved at once, so that a commit need not write the next one
STAMP_MS = 1_000  # how often the time is written; a page more in every commit would cost a fifth


class Stamps:
    """The row of the time and of the reserved numbers. What was written counts once it is committed."""

    def __init__(self, tx: SqliteTransaction, clock: Clock) -> None:
        self._tx, self._clock = tx, clock
        self._sequence_limit = self._due_at_ms = 0
        self._written: tuple[int, int] | None = None

    def start(self) -> None:
        """Go on above every number and every time that the store may have given out."""
        self._tx.next_sequence = self._tx.fetch("stamp")[0][1]
        with self._tx.connection:
            self._tx.apply("set_boot", (boot_id(),))
            self.write()
        self.note_commit()

    def write_if_due(self) -> None:
        """Write where a second has passed, or the reserved numbers are used up."""
        if self._tx.next_sequence > self._sequence_limit or uptime_ms() >= self._due_at_ms:
            self.write()

    def write(self) -> None:
        """Write the time and reserve numbers."""
        limit = self._tx.next_sequence + SEQUENCE_BLOCK
        self._tx.apply("set_stamp", (limit, self._clock(), boot_uptime_ms()))
        self._written = (limit, uptime_ms() + STAMP_MS)

    def note_commit(self) -> None:
        """Count what was written."""
        if self._written is not None:
            (self._sequence_limit, self._due_at_ms), self._written = self._written, None

    def note_rollback(self) -> None:
        """Forget what was written."""
        self._written = None
