"""Messages as a client gets them, what their settling came to, and how they are read from the wire."""

import binascii
from datetime import UTC, datetime
from typing import Any

import msgspec

from millrace.message import Backlog, ContentType, decode_body

Number = int | float  # the live API writes whole numbers as either


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One delivery of a message, under a lease. `attempts` counts deliveries, this one included.

    The body is what was sent: a JSON value, a string (text) or bytes (bytes, v8). JSON that cannot be read stays bytes.
    """

    id: str
    lease_id: str
    body: Any
    content_type: str
    attempts: int
    timestamp_ms: int
    metadata: dict[str, Any]
    priority: str = "normal"
    ordering_key: str | None = None
    headers: dict[str, str] = {}

    @property
    def timestamp(self) -> datetime:
        """When the message was accepted, in UTC."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)


Leased = str | Delivery  # a lease id, or what has one


class Peeked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message as it waits; `ref` is for `discard`, `attempts` counts the deliveries so far."""

    id: str
    ref: str
    body: Any
    content_type: str
    attempts: int
    timestamp_ms: int
    metadata: dict[str, Any]
    priority: str = "normal"
    ordering_key: str | None = None
    headers: dict[str, str] = {}

    @property
    def timestamp(self) -> datetime:
        """When the message was accepted, in UTC."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)


class Sent(Backlog, frozen=True):
    """The backlog with what was sent in it. A message with a time also has its id, and the ref that names it.

    There is no ref for a repeat, which stored nothing.
    """

    id: str | None = None
    ref: str | None = None


class Settled(msgspec.Struct, frozen=True):
    """How many messages changed state, and a warning for each lease that no longer counts."""

    ack_count: int
    retry_count: int
    warnings: dict[str, str]
    reject_count: int = 0


class Extended(msgspec.Struct, frozen=True):
    """How many leases were still current, and a warning for each that was not."""

    extended: int
    warnings: dict[str, str]


class PulledMessage(msgspec.Struct, frozen=True):
    """A delivery on the wire; the body is base64 unless its content type is text."""

    id: str
    lease_id: str
    body: str
    attempts: Number = 1
    timestamp_ms: Number = 0
    metadata: dict[str, Any] | None = None
    priority: str = "normal"
    ordering_key: str | None = None
    headers: dict[str, str] = {}


class Pulled(msgspec.Struct, frozen=True):
    """The result of a pull."""

    messages: list[PulledMessage]


class PeekedMessage(msgspec.Struct, frozen=True):
    """A waiting message on the wire."""

    id: str
    ref: str
    body: str
    attempts: Number = 0
    timestamp_ms: Number = 0
    metadata: dict[str, Any] | None = None
    priority: str = "normal"
    ordering_key: str | None = None
    headers: dict[str, str] = {}


class PeekedPage(msgspec.Struct, frozen=True):
    """The result of a peek; the cursor, if any, leads to the next page."""

    messages: list[PeekedMessage]
    cursor: str | None = None


class SettledCounts(msgspec.Struct, frozen=True):
    """The result of an ack."""

    ackCount: Number = 0  # noqa: N815 - the name on the wire
    retryCount: Number = 0  # noqa: N815
    rejectCount: Number = 0  # noqa: N815
    warnings: dict[str, str] | list[str] | None = None


class Cancelled(msgspec.Struct, frozen=True):
    """The result of taking messages back."""

    warnings: dict[str, str]


class ExtendedCount(msgspec.Struct, frozen=True):
    """The result of an extension."""

    extended: int
    warnings: dict[str, str] | list[str] | None = None


class Discarded(msgspec.Struct, frozen=True):
    """The result of a purge by reference."""

    warnings: dict[str, str] | list[str] | None = None


class Metrics(msgspec.Struct, frozen=True):
    """A backlog on the wire."""

    backlog_count: Number = 0
    backlog_bytes: Number = 0
    oldest_message_timestamp_ms: Number = 0


class MetricsHolder(msgspec.Struct, frozen=True):
    """Metrics, one level down."""

    metrics: Metrics | None = None


class Pushed(msgspec.Struct, frozen=True):
    """The result of a send, from servers that tell it."""

    metadata: MetricsHolder | None = None
    id: str | None = None
    ref: str | None = None


def delivery_of(message: PulledMessage) -> Delivery:
    """Read a delivery."""
    metadata = message.metadata or {}
    content_type = content_type_of(metadata)
    return Delivery(
        id=message.id,
        lease_id=message.lease_id,
        body=_value(message.body, content_type),
        content_type=content_type,
        attempts=int(message.attempts),
        timestamp_ms=int(message.timestamp_ms),
        metadata=metadata,
        priority=message.priority,
        ordering_key=message.ordering_key,
        headers=message.headers,
    )


def peeked_of(message: PeekedMessage) -> Peeked:
    """Read a waiting message."""
    metadata = message.metadata or {}
    content_type = content_type_of(metadata)
    return Peeked(
        id=message.id,
        ref=message.ref,
        body=_value(message.body, content_type),
        content_type=content_type,
        attempts=int(message.attempts),
        timestamp_ms=int(message.timestamp_ms),
        metadata=metadata,
        priority=message.priority,
        ordering_key=message.ordering_key,
        headers=message.headers,
    )


def settled_of(counts: SettledCounts) -> Settled:
    """Read what a settling came to."""
    return Settled(int(counts.ackCount), int(counts.retryCount), warnings_of(counts.warnings), int(counts.rejectCount))


def warnings_of(warnings: dict[str, str] | list[str] | None) -> dict[str, str]:
    """Give warnings by lease or ref; those of a list, which names none, by their position."""
    if isinstance(warnings, list):
        return {str(position): warning for position, warning in enumerate(warnings)}
    return warnings or {}


def sent_of(pushed: Pushed | None) -> Sent:
    """Read what came of a send."""
    if pushed is None:
        return Sent(0, 0, 0)
    backlog = backlog_of(pushed.metadata.metrics if pushed.metadata else None)
    return Sent(backlog.count, backlog.bytes, backlog.oldest_sent_at_ms, pushed.id, pushed.ref)


def backlog_of(metrics: Metrics | None) -> Backlog:
    """Read a backlog; zeros when the server does not tell."""
    if metrics is None:
        return Backlog(0, 0, 0)
    return Backlog(int(metrics.backlog_count), int(metrics.backlog_bytes), int(metrics.oldest_message_timestamp_ms))


def content_type_of(metadata: dict[str, Any] | None) -> str:
    """Give the content type of a message by its metadata; json when there is none."""
    return str(metadata.get("CF-Content-Type", "json")) if metadata else "json"


def stored_bytes(body: str, content_type: str) -> bytes:
    """Give the stored bytes of a body on the wire; a body that is not base64 stands for itself."""
    if content_type == ContentType.TEXT:
        return body.encode()
    try:
        return binascii.a2b_base64(body, strict_mode=True)
    except ValueError:
        return body.encode()


def _value(body: str, content_type: str) -> object:
    if content_type == ContentType.TEXT:
        return body
    stored = stored_bytes(body, content_type)
    try:
        return decode_body(stored, content_type)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
    ):  # not sent through a door that checks, as ours does
        return stored
