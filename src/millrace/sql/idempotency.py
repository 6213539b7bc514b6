"""Keys that keep messages from being stored twice: those of whole sends, and those of single messages.

A row for each that a send of the last day bore, written together with its messages.
"""

from collections.abc import Iterable, Sequence

import msgspec

from millrace import limits
from millrace.errors import IdempotencyKeyReused
from millrace.idempotency import Once, dedupe_hash
from millrace.message import Stamped
from millrace.sql.transaction import Row, RunAgain, Transaction

KEPT_MS = limits.IDEMPOTENCY_SECONDS * 1000
EXPIRED_AT_ONCE = 250  # each row has an index page of its own: these hold the writer for 4 ms, 1,000 for 22 ms


class Ledger:
    """The keys that the sends of one group bear: read by one statement, written by another."""

    def __init__(self, tx: Transaction, borne: Iterable[tuple[str, bytes]]) -> None:
        wanted = [(queue_id, key_hash.hex()) for queue_id, key_hash in borne]
        found = tx.fetch("earlier_sends", (msgspec.json.encode(wanted).decode(),)) if wanted else []
        self._known: dict[tuple[str, bytes], Row] = {(row[0], row[1]): row[:5] for row in found}
        self._numbers = {(row[0], row[1]): row[5] for row in found}
        self._new: dict[tuple[str, bytes], Row] = {}

    def find(self, queue_id: str, once: Once, now_ms: int) -> str | IdempotencyKeyReused | None:
        """Give the id of the first message that this key stored, the refusal of other content, None for a new key."""
        row = self._known.get((queue_id, once.key_hash))
        if row is None or row[4] <= now_ms - KEPT_MS:
            return None
        if row[2] != once.content_hash:
            return IdempotencyKeyReused(
                "the idempotency key was used for another body, content type or delay within the last "
                f"{limits.IDEMPOTENCY_SECONDS} s; send this with a new key"
            )
        return str(row[3])

    def earlier(self, queue_id: str, messages: Sequence[Stamped], window_ms: int) -> list[str | None]:
        """Give, for each message, the id of the one with the same deduplication key that came less than `window_ms` ago.

        One that is further ahead in `messages` counts, too.
        """
        ids: list[str | None] = []
        ahead: dict[str, str] = {}
        for message in messages:
            key, found = message.features.dedupe_key, None
            if key is not None:
                row = self._known.get((queue_id, dedupe_hash(key)))
                recent = row is not None and row[4] > message.sent_at_ms - window_ms
                found = str(row[3]) if row is not None and recent else ahead.get(key)
                ahead.setdefault(key, message.id)
            ids.append(found)
        return ids

    def note(self, queue_id: str, once: Once, first_id: str, now_ms: int) -> None:
        """Let a key stand for what is sent now, for those that follow in the group, too."""
        self._add((queue_id, once.key_hash, once.content_hash, first_id, now_ms))

    def note_message(self, queue_id: str, message: Stamped) -> None:
        """Let the message's deduplication key, if it has one, stand for it."""
        key = message.features.dedupe_key
        if key is not None:
            self._add((queue_id, dedupe_hash(key), b"", message.id, message.sent_at_ms))

    def save(self, tx: Transaction) -> None:
        """Write what was noted, if there is anything.

        Raises:
            RunAgain: another server has noted one of these keys meanwhile.
        """
        if not self._new:
            return
        if tx.shares:
            outdated = [self._numbers[key] for key in self._new if key in self._numbers]
            if outdated:
                tx.apply("forget_sends", (tx.array(outdated),))
        rows = [self._new[key] for key in sorted(self._new)]  # whoever writes the same ones waits, and not crosswise
        if tx.insert_many("note_send", rows) < len(rows):
            raise RunAgain

    def _add(self, row: Row) -> None:
        self._known[row[0], row[1]] = self._new[row[0], row[1]] = row


def expire(tx: Transaction, now_ms: int) -> int:
    """Remove one chunk of keys that no longer count; give how many."""
    return len(tx.fetch("expire_idempotency_keys", (EXPIRED_AT_ONCE, now_ms - KEPT_MS)))
