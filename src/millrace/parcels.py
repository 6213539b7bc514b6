"""What one call of a program sends to one queue of a database that is open before it."""

from collections.abc import Sequence
from typing import NamedTuple

from millrace import limits
from millrace.errors import BatchCountWrong, BatchTooLarge, InvalidBatchDelay, MillraceError, QueueNotFound
from millrace.idempotency import make_once
from millrace.message import Outgoing
from millrace.placing import Stored
from millrace.sql import queues, sending
from millrace.sql.sending import Sending
from millrace.sql.transaction import Transaction
from millrace.stamping import checked_delay, stamp


class Parcel(NamedTuple):
    """One message, or 1 to 100 of a batch, for a queue by its name; the delay is the batch's."""

    account: str
    queue: str
    messages: Sequence[Outgoing]
    delay_seconds: float | None = None
    idempotency_key: str | None = None


def accept(tx: Transaction, parcel: Parcel, now_ms: int) -> Sending:
    """Check and stamp what a parcel holds.

    Raises:
        QueueNotFound: the account has no queue of that name.
        BatchCountWrong, BatchTooLarge, InvalidBatchDelay: of the whole.
        InvalidMessage, MessageTooLarge: of one of the messages, or the key is none.
    """
    queue = queues.named(tx, parcel.account, parcel.queue)
    if queue is None:
        raise QueueNotFound(f"Queue {parcel.queue[:64]!r} does not exist.")
    count = len(parcel.messages)
    if not 1 <= count <= limits.BATCH_MESSAGES:
        raise BatchCountWrong(f"the batch has {count} messages; expected 1 to {limits.BATCH_MESSAGES}")
    delay_seconds = checked_delay(parcel.delay_seconds, InvalidBatchDelay)
    stamped = stamp(queue, parcel.messages, now_ms, delay_seconds=delay_seconds)
    size = sum([len(message.body) for message in stamped])
    if size > limits.BATCH_BYTES:
        raise BatchTooLarge(f"batch size of {size} bytes exceeds limit of {limits.BATCH_BYTES} bytes")
    key = parcel.idempotency_key
    return Sending(queue.id, stamped, None if key is None else make_once(key, parcel.messages, delay_seconds))


def bears_keys(accepted: Sending) -> bool:
    """Say whether others may send with one of its keys at this moment; a queue may make one of any content."""
    return accepted.once is not None or any(one.features.dedupe_key is not None for one in accepted.messages)


def store(tx: Transaction, accepted: Sending) -> Stored:
    """Store what was accepted, all or none but for repeats of earlier messages.

    Raises:
        BacklogFull, IdempotencyKeyReused: as for `Store.send`.
    """
    (stored,) = sending.send(tx, [accepted])
    if isinstance(stored, MillraceError):
        raise stored
    return stored
