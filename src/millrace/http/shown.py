"""Messages and backlogs as Cloudflare's v4 API shows them, and with what is ours where it was asked for."""

import base64
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.message import HIGH, LOW, NORMAL, Backlog, ContentType, Message

PRIORITY_SHOWN: dict[int, Literal["high", "low"] | UnsetType] = {LOW: "low", NORMAL: UNSET, HIGH: "high"}


class Metrics(msgspec.Struct, frozen=True):
    """A queue's backlog; the oldest time is 0 when it is empty."""

    backlog_count: int
    backlog_bytes: int
    oldest_message_timestamp_ms: int


class MetricsHolder(msgspec.Struct, frozen=True):
    """Metrics, one level down."""

    metrics: Metrics


class Pushed(msgspec.Struct, frozen=True):
    """The result of both push routes; `id` and `ref` where a single message has a time, which both name it by."""

    metadata: MetricsHolder
    id: str | UnsetType = UNSET
    ref: str | UnsetType = UNSET


class PulledMessage(msgspec.Struct, frozen=True):
    """One leased message; the body is base64 unless its content type is text.

    The last three are ours, and there only where the message was sent with them; no word is a normal priority.
    """

    id: str
    lease_id: str
    attempts: int
    timestamp_ms: int
    body: str
    metadata: dict[str, str]
    priority: Literal["high", "low"] | UnsetType = UNSET
    ordering_key: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET


class Pulled(msgspec.Struct, frozen=True):
    """The result of a pull."""

    message_backlog_count: int
    messages: list[PulledMessage]
    metadata: MetricsHolder


class PeekedMessage(msgspec.Struct, frozen=True):
    """One message as it waits; `ref` names it for a purge. The last three are as for a pulled one."""

    id: str
    attempts: int
    body: str
    metadata: dict[str, str]
    ref: str
    timestamp_ms: int
    priority: Literal["high", "low"] | UnsetType = UNSET
    ordering_key: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET


class Peeked(msgspec.Struct, frozen=True):
    """The result of a peek; `cursor` goes into the next one, and is absent at the end."""

    messages: list[PeekedMessage]
    cursor: str | UnsetType = UNSET


def metrics(backlog: Backlog) -> Metrics:
    """Show a backlog."""
    return Metrics(backlog.count, backlog.bytes, backlog.oldest_sent_at_ms)


def pulled_message(message: Message) -> PulledMessage:
    """Show a leased message."""
    return PulledMessage(
        message.id,
        str(message.lease),
        message.attempts,
        message.sent_at_ms,
        _body(message),
        _metadata(message),
        PRIORITY_SHOWN[message.priority],
        UNSET if message.ordering_key is None else message.ordering_key,
        message.headers or UNSET,
    )


def peeked_message(message: Message) -> PeekedMessage:
    """Show a waiting message."""
    return PeekedMessage(
        message.id,
        message.attempts,
        _body(message),
        _metadata(message),
        message.ref,
        message.sent_at_ms,
        PRIORITY_SHOWN[message.priority],
        UNSET if message.ordering_key is None else message.ordering_key,
        message.headers or UNSET,
    )


def _body(message: Message) -> str:
    if message.content_type == ContentType.TEXT:
        return message.body.decode()
    return base64.b64encode(message.body).decode()


def _metadata(message: Message) -> dict[str, str]:
    shown = {"CF-Content-Type": message.content_type, "CF-sourceMessageSource": message.source}
    if message.headers:
        shown = message.headers | shown  # a header of such a name must not pass for ours
    if message.origin_queue_id is not None:
        shown["Millrace-Origin-Queue"] = message.origin_queue_id
        shown["Millrace-Reason"] = message.reason or ""
    return shown
