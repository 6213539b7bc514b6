"""Checking and stamping: what a message has behind it when it reaches the store."""

from collections.abc import Sequence

from millrace import limits
from millrace.batch import check_delay_seconds
from millrace.errors import InvalidInput, InvalidMessage, MessageTooLarge
from millrace.idempotency import content_key
from millrace.ids import NewId, new_id
from millrace.message import PLAIN, Features, Outgoing, Stamped, check_features, is_plain
from millrace.queue import Queue


def stamp(
    queue: Queue,
    messages: Sequence[Outgoing],
    now_ms: int,
    *,
    delay_seconds: float | None = None,
    max_bytes: int = limits.MESSAGE_BYTES,
    new_id: NewId = new_id,
) -> list[Stamped]:
    """Check messages on their way into a queue and give them their ids and times; `delay_seconds` is the batch's.

    Raises:
        InvalidMessage: a delay is not within 0 to 86,400 s, a time not within 0 to 2**53 - 1, or there are both;
            or a priority, key or header that is none.
        MessageTooLarge: more than `max_bytes`.
    """
    is_timed = delay_seconds is not None
    due_at_ms = now_ms + round((queue.settings.delivery_delay if delay_seconds is None else delay_seconds) * 1000)
    all_special = queue.settings.deduplicate_content
    stamped = []
    for message in messages:
        body = message.body
        if len(body) > max_bytes:
            raise MessageTooLarge(f"message size of {len(body)} bytes exceeds limit of {max_bytes} bytes")
        plain = Stamped(
            id=new_id(),
            body=body,
            content_type=message.content_type,
            sent_at_ms=now_ms,
            visible_at_ms=due_at_ms,
            source=message.source,
            is_timed=is_timed,
        )
        stamped.append(plain if is_plain(message) and not all_special else _featured(queue, message, plain))
    return stamped


def checked_delay(delay_seconds: float | None, error: type[InvalidInput]) -> float | None:
    """Let the delay of a message or a batch pass.

    Raises:
        InvalidInput: of the class `error`: not within 0 to 86,400 s.
    """
    try:
        return check_delay_seconds(delay_seconds)
    except InvalidInput as refusal:
        raise error(str(refusal)) from None


def _featured(queue: Queue, message: Outgoing, plain: Stamped) -> Stamped:
    """Check what a message asks for beyond its body, and let it have that."""
    delay_seconds = checked_delay(message.delay_seconds, InvalidMessage)
    check_features(message)
    visible_at_ms, kept_since_ms = plain.visible_at_ms, None
    if message.send_at_ms is not None:
        visible_at_ms = kept_since_ms = max(plain.sent_at_ms, message.send_at_ms)
    elif delay_seconds is not None:
        visible_at_ms = plain.sent_at_ms + round(delay_seconds * 1000)
    dedupe_key = message.dedupe_key
    if dedupe_key is None and queue.settings.deduplicate_content:
        dedupe_key = content_key(message)
    features = Features(kept_since_ms, message.priority, message.ordering_key, dedupe_key)
    return Stamped(
        id=plain.id,
        body=plain.body,
        content_type=plain.content_type,
        sent_at_ms=plain.sent_at_ms,
        visible_at_ms=visible_at_ms,
        source=plain.source,
        headers=message.headers,
        is_timed=plain.is_timed or message.send_at_ms is not None or delay_seconds is not None,
        features=PLAIN if features == PLAIN else features,
    )
