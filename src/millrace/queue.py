"""Queues as immutable values, with the rules for their settings.

The keys of the settings are spelt as on Cloudflare's wire; a change is a new value.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace import limits
from millrace.consumer import Consumer
from millrace.errors import InvalidQueueSettings
from millrace.ranges import shown, whole_numbers

RANGES = {
    "delivery_delay": (0, limits.DELAY_SECONDS),
    "message_retention_period": (limits.RETENTION_SECONDS_MIN, limits.RETENTION_SECONDS_MAX),
}


class Forward(msgspec.Struct, frozen=True):
    """A copy of each message goes to the account's queue of that name; of those only that have all `headers`, if any."""

    queue: str
    headers: dict[str, str] = {}


class AutoRedrive(msgspec.Struct, frozen=True):
    """Buried messages go back to their origin after so many seconds, each of them so many times at most."""

    after_seconds: int
    max_times: int = 1


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and counts. Retention None keeps messages without end; a backlog limit of None is none.

    `deduplication_seconds` is how long a deduplication key counts; with `deduplicate_content` the content of a
    message without a key is its key. `forward_only` keeps no copy where `forwards` took one.
    """

    delivery_delay: int = 0
    delivery_paused: bool = False
    message_retention_period: int | None = limits.RETENTION_SECONDS
    max_backlog_messages: int | None = None
    max_backlog_bytes: int | None = None
    deduplication_seconds: int = limits.DEDUPLICATION_SECONDS
    deduplicate_content: bool = False
    forwards: tuple[Forward, ...] = ()
    forward_only: bool = False
    auto_redrive: AutoRedrive | None = None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A named place in an account where messages wait."""

    id: str
    account_id: str
    name: str
    created_at_ms: int
    modified_at_ms: int
    settings: QueueSettings = QueueSettings()
    jurisdiction: str | None = None
    producers: tuple[str, ...] = ()
    consumer: Consumer | None = None
    purge_started_at_ms: int | None = None


def change_queue_settings(settings: QueueSettings, changes: Mapping[str, Any]) -> QueueSettings:
    """Merge named settings into the present ones; unknown keys are ignored.

    Raises:
        InvalidQueueSettings: a value of the wrong type or out of its range.
    """
    changed = whole_numbers(changes, RANGES, InvalidQueueSettings)
    if "delivery_paused" in changes:
        if not isinstance(changes["delivery_paused"], bool):
            raise InvalidQueueSettings(
                f"delivery_paused is {shown(changes['delivery_paused'])}; expected true or false"
            )
        changed["delivery_paused"] = changes["delivery_paused"]
    return msgspec.structs.replace(settings, **changed)


def check_backlog_limits(max_messages: int | None, max_bytes: int | None) -> None:
    """Let limits of 0 or more, or none, pass.

    Raises:
        InvalidQueueSettings: one is negative.
    """
    for name, limit in (("max_backlog_messages", max_messages), ("max_backlog_bytes", max_bytes)):
        if limit is not None and limit < 0:
            raise InvalidQueueSettings(f"{name} is {limit}; expected 0 or more")
