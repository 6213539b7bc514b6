"""Which dead letters a redrive moves back."""

import msgspec


class DeadLetter(msgspec.Struct, frozen=True):
    """What a redrive may look at: `origin` is the name of the queue, `reason` why the message was buried."""

    id: str
    origin: str
    reason: str
    sent_at_ms: int
    buried_at_ms: int
    redrives: int


class RedriveFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters to move back: those that meet all that is given, the oldest `limit` of them.

    `reason` is a part of the reason, `origin` the name of the queue. Sent at or after `sent_after_ms`, and before
    `sent_before_ms`. Buried at `buried_until_ms` at the latest, and moved back fewer than `max_redrives` times so far.
    """

    reason: str | None = None
    origin: str | None = None
    sent_after_ms: int | None = None
    sent_before_ms: int | None = None
    ids: tuple[str, ...] = ()
    limit: int | None = None
    buried_until_ms: int | None = None
    max_redrives: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Say whether a dead letter is among those that are wanted, however many these are."""
        return (
            (self.reason is None or self.reason in letter.reason)
            and (self.origin is None or self.origin == letter.origin)
            and (self.sent_after_ms is None or self.sent_after_ms <= letter.sent_at_ms)
            and (self.sent_before_ms is None or letter.sent_at_ms < self.sent_before_ms)
            and (not self.ids or letter.id in self.ids)
            and (self.buried_until_ms is None or letter.buried_at_ms <= self.buried_until_ms)
            and (self.max_redrives is None or letter.redrives < self.max_redrives)
        )


ALL = RedriveFilter()
