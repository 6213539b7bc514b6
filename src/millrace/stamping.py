"""Checking and stamping: what a message has behind it when it reaches the store."""

from collections.abc import Sequence

from msgspec.structs import replace

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
    settings, has_delay = queue.settings, delay_seconds is not None
    common_delay = settings.delivery_delay if delay_seconds is None else delay_seconds
    due_at_ms = now_ms + round(common_delay * 1000)
    stamped = []
    for message in messages:
        body, delay = message.body, message.delay_seconds
        if len(body) > max_bytes:
            raise MessageTooLarge(f"message size of {len(body)} bytes exceeds limit of {max_bytes} bytes")
        plain = Stamped(
            id=new_id(),
            body=body,
            content_type=message.content_type,
            sent_at_ms=now_ms,
            visible_at_ms=due_at_ms if delay is None else now_ms + _milliseconds(delay),
            source=message.source,
            headers=message.headers,
            is_timed=has_delay or delay is not None,
        )
        is_done = is_plain(message) and not settings.deduplicate_content
        stamped.append(plain if is_done else _featured(message, plain, deduplicate=settings.deduplicate_content))
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


def _milliseconds(delay_seconds: float) -> int:
    return round((checked_delay(delay_seconds, InvalidMessage) or 0) * 1000)


def _featured(message: Outgoing, plain: Stamped, *, deduplicate: bool) -> Stamped:
    """Check what a message asks for beyond its body and a delay, and let it have that."""
    check_features(message)
    dedupe_key = message.dedupe_key
    if dedupe_key is None and deduplicate:
        dedupe_key = content_key(message)
    at_ms = None if message.send_at_ms is None else max(plain.sent_at_ms, message.send_at_ms)
    features = Features(at_ms, message.priority, message.ordering_key, dedupe_key)
    if features == PLAIN:  # it only has headers
        return plain
    if at_ms is None:
        return replace(plain, features=features)
    return replace(plain, features=features, visible_at_ms=at_ms, is_timed=True)
