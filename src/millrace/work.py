"""What a transaction function of an application holds: its own statements, and the verbs of the engine.

Everything done through one `Work` commits together or not at all; approve-and-send, run-and-job and claim-and-send
are one short function each. A function may run twice, so it has no effect outside its `Work`.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from millrace import limits
from millrace.audit import Noted, entry_of
from millrace.batch import BatchMessage
from millrace.clock import Clock
from millrace.errors import MillraceError
from millrace.ids import NewId, new_id, new_receipt
from millrace.message import Lease, Message, Outgoing
from millrace.placing import Placed, places_of
from millrace.reporting import tell_cleared, tell_count, tell_sent, tell_settled
from millrace.settlement import Outcome, Settlement
from millrace.sql import audit, cleaning, messages, pruning, queue_state, redriving, sending, settling
from millrace.sql.sending import Sending
from millrace.sql.transaction import Bindings, Row, Transaction
from millrace.stamping import stamp
from millrace.store import Received, Store
from millrace.telemetry import Telemetry

T = TypeVar("T")


class Work:
    """An open transaction. `now_ms` is its time."""

    def __init__(self, tx: Transaction, clock: Clock, new_id: NewId = new_id) -> None:
        self.tx, self.now_ms, self._new_id = tx, clock(), new_id
        self.events: list[tuple[str, dict[str, Any]]] = []

    def fetch(self, name: str, bindings: Bindings = ()) -> list[Row]:
        """Run a named statement and give its rows."""
        return self.tx.fetch(name, bindings)

    def fetch_one(self, name: str, bindings: Bindings = ()) -> Row | None:
        """Run a named statement and give its first row, or None."""
        return self.tx.fetch_one(name, bindings)

    def apply(self, name: str, bindings: Bindings = ()) -> None:
        """Run a named statement for its effect."""
        self.tx.apply(name, bindings)

    def send(
        self, queue_id: str, outgoing: Sequence[Outgoing], *, max_bytes: int = limits.MESSAGE_BYTES
    ) -> list[Placed]:
        """Send messages in this transaction, all or none but for repeats of earlier ones, whose key is 0.

        Raises:
            QueueNotFound, InvalidMessage, MessageTooLarge, BacklogFull: as for `Broker.send_batch`.
        """
        queue = queue_state.load(self.tx, queue_id).queue
        if not outgoing:
            return []
        stamped = stamp(queue, outgoing, self.now_ms, max_bytes=max_bytes, new_id=self._new_id)
        (answer,) = sending.send(self.tx, [Sending(queue_id, stamped)])
        if isinstance(answer, MillraceError):
            raise answer
        tell_sent(self._tell, queue, stamped, answer, 0.0)
        return [*places_of(stamped, answer)]

    def receive(self, queue_id: str, limit: int, lease_ms: int) -> list[Message]:
        """Lease up to `limit` ready messages in this transaction.

        Raises:
            QueueNotFound, DeliveryPaused: as for `Broker.receive`.
        """
        received = Received(messages=[], unfinished=True)
        while received.unfinished:
            received = messages.receive(self.tx, queue_id, limit, lease_ms, new_receipt(), self.now_ms, None)
            tell_cleared(self._tell, received.cleared)
        tell_count(self._tell, queue_state.load(self.tx, queue_id).queue, "message.received", len(received.messages))
        return received.messages

    def settle(self, queue_id: str, outcomes: Sequence[tuple[Lease, Outcome]]) -> list[Settlement | None]:
        """Apply outcomes in this transaction; None stands for a lease that no longer counts."""
        settlements = settling.settle(self.tx, queue_id, outcomes, self.now_ms, random.random)
        tell_settled(self._tell, queue_state.load(self.tx, queue_id).queue, settlements)
        return settlements

    def settle_delivery(self, queue_id: str, message: BatchMessage[Any], outcome: Outcome) -> Settlement | None:
        """Settle what a handler holds together with what it writes; None when its lease no longer counts.

        The handler says `message.is_settled = True` once the transaction is on disk, and nobody settles it again.
        """
        return self.settle(queue_id, [(message.lease, outcome)])[0]

    def cancel(self, queue_id: str, places: Sequence[Placed]) -> list[bool]:
        """Remove messages that are scheduled for later, and say which were."""
        return cleaning.cancel(self.tx, queue_id, [(place.key, place.id) for place in places], self.now_ms)

    def take_back(self, queue_id: str, places: Sequence[Placed]) -> list[bool]:
        """Remove messages that nobody has received yet, scheduled or due, and say which were."""
        return cleaning.take_back(self.tx, queue_id, [(place.key, place.id) for place in places], self.now_ms)

    def redrive(self, dead_letters_id: str, place: Placed) -> bool:
        """Move a buried message back to the queue that it was sent to, and say whether it was there.

        `place` is the one that the send gave, or a later one.
        """
        is_moved = redriving.redrive_one(self.tx, dead_letters_id, (place.key, place.id), self.now_ms)
        tell_count(self._tell, queue_state.load(self.tx, dead_letters_id).queue, "message.redriven", int(is_moved))
        return is_moved

    def reschedule(self, queue_id: str, place: Placed, at_ms: int) -> bool:
        """Move a message that is scheduled for later to another time, and say whether it was."""
        return cleaning.reschedule(self.tx, queue_id, (place.key, place.id), at_ms, self.now_ms)

    def note(self, account_id: str, act: str, object: str, **details: Any) -> None:
        """Write an act into the audit trail of the account; details hold no body and no secret."""
        audit.note(self.tx, entry_of(account_id, self.now_ms, act, object, **details))

    def audit_before(self, account_id: str, at_ms: int, after_number: int, limit: int) -> list[Noted]:
        """Give entries of the account's trail that are older and may be pruned, oldest first, from a number on.

        There may be more as long as some are given.
        """
        return pruning.audit_before(self.tx, account_id, at_ms, after_number, limit)

    def prune_audit(self, account_id: str, numbers: Sequence[int]) -> int:
        """Delete up to 1,000 entries of the account's trail, note that, and give how many were deleted.

        What `audit_before` would not give is left. The chain of hashes can be followed as before.

        Raises:
            InvalidInput: there are more than 1,000 numbers.
        """
        return pruning.prune(self.tx, account_id, numbers, self.now_ms)

    def restore_audit(self, entries: Sequence[Noted]) -> int:
        """Put up to 1,000 pruned entries back, note that, and give how many were not there.

        Raises:
            InvalidInput: there are more, or one is not as it was pruned; nothing is put back.
        """
        return pruning.restore(self.tx, entries, self.now_ms)

    def _tell(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))


async def write(store: Store, clock: Clock, telemetry: Telemetry, fn: Callable[[Work], T]) -> T:
    """Run `fn(work)` in a transaction of its own, and tell what it has done once that is on disk.

    What `fn` raises undoes all of it.

    Raises:
        StoreUnavailable: it could not be committed; nothing was changed.
    """
    done: list[Work] = []

    def run(tx: Transaction) -> T:
        done[:] = [Work(tx, clock)]
        return fn(done[0])

    result = await store.write(run)
    for name, fields in done[0].events:
        telemetry.emit(name, **fields)
    return result
