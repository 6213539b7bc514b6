"""What a transaction function of an application holds: its own statements, and the verbs of the engine.

Everything done through one `Work` commits together or not at all; approve-and-send, run-and-job and claim-and-send
are one short function each. A function may run twice, so it has no effect outside its `Work`.
"""

import random
from collections.abc import Sequence
from typing import Any

from millrace import limits
from millrace.audit import entry_of
from millrace.broker import places_of, sent_events, stamp
from millrace.clock import Clock
from millrace.errors import MillraceError
from millrace.ids import NewId, new_id, new_receipt
from millrace.message import Lease, Message, Outgoing
from millrace.settlement import Outcome, Settlement
from millrace.sql import audit, messages, queues, sending, settling
from millrace.sql.sending import Sending
from millrace.sql.transaction import Bindings, Row, Transaction
from millrace.store import Placed, Received


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
        queue = queues.load(self.tx, queue_id).queue
        stamped = [stamp(queue, one, None, self.now_ms, max_bytes, self._new_id) for one in outgoing]
        (answer,) = sending.send(self.tx, [Sending(queue_id, stamped)])
        if isinstance(answer, MillraceError):
            raise answer
        self.events += sent_events(queue, stamped, answer, 0.0)
        return [*places_of(stamped, answer)]

    def receive(self, queue_id: str, limit: int, lease_ms: int) -> list[Message]:
        """Lease up to `limit` ready messages in this transaction.

        Raises:
            QueueNotFound, DeliveryPaused: as for `Broker.receive`.
        """
        received = Received(messages=[], unfinished=True)
        while received.unfinished:
            received = messages.receive(self.tx, queue_id, limit, lease_ms, new_receipt(), self.now_ms, None)
        return received.messages

    def settle(self, queue_id: str, outcomes: Sequence[tuple[Lease, Outcome]]) -> list[Settlement | None]:
        """Apply outcomes in this transaction; None stands for a lease that no longer counts."""
        return settling.settle(self.tx, queue_id, outcomes, self.now_ms, random.random)

    def note(self, account_id: str, act: str, object: str, **details: Any) -> None:
        """Write an act into the audit trail of the account; details hold no body and no secret."""
        audit.note(self.tx, entry_of(account_id, self.now_ms, act, object, **details))
