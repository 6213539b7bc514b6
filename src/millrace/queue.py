"""Queues as immutable values, with the rules for their settings.

The keys of the settings are spelt as on Cloudflare's wire; a change is a new value.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace import limits
from millrace.consumer import Consumer
from millrace.errors import InvalidQueueSettings
from millrace.names import check_queue_name
from millrace.ranges import shown, whole_numbers

RANGES = {
    "delivery_delay": (0, limits.DELAY_SECONDS),
    "message_retention_period": (limits.RETENTION_SECONDS_MIN, limits.RETENTION_SECONDS_MAX),
    "deduplication_seconds": (1, limits.DELAY_SECONDS),
}
SWITCHES = ("delivery_paused", "deduplicate_content", "forward_only")
REDRIVE_RANGES = {
    "auto_redrive.after_seconds": (0, limits.RETENTION_SECONDS_MAX),
    "auto_redrive.max_times": (1, limits.REDRIVE_TIMES),
}


class Forward(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
        InvalidQueueName: the name of a queue to forward to.
    """
    changed: dict[str, Any] = whole_numbers(changes, RANGES, InvalidQueueSettings)
    for name in SWITCHES:
        if name in changes:
            if not isinstance(changes[name], bool):
                raise InvalidQueueSettings(f"{name} is {shown(changes[name])}; expected true or false")
            changed[name] = changes[name]
    if "forwards" in changes:
        changed["forwards"] = _make_forwards(changes["forwards"])
    if "auto_redrive" in changes:
        changed["auto_redrive"] = _make_auto_redrive(changes["auto_redrive"])
    return msgspec.structs.replace(settings, **changed)


def check_forwards(queue_name: str, forwards: tuple[Forward, ...]) -> None:
    """Let forwards to other queues pass.

    Raises:
        InvalidQueueSettings: one is to the queue itself.
    """
    if any(forward.queue == queue_name for forward in forwards):
        raise InvalidQueueSettings(f"forwards names {queue_name!r}, the queue itself; expected other queues")


def check_backlog_limits(max_messages: int | None, max_bytes: int | None) -> None:
    """Let limits of 0 or more, or none, pass.

    Raises:
        InvalidQueueSettings: one is negative.
    """
    for name, limit in (("max_backlog_messages", max_messages), ("max_backlog_bytes", max_bytes)):
        if limit is not None and limit < 0:
            raise InvalidQueueSettings(f"{name} is {limit}; expected 0 or more")


def _make_forwards(given: object) -> tuple[Forward, ...]:
    if not isinstance(given, list | tuple) or len(given) > limits.FORWARDS:
        raise InvalidQueueSettings(f"forwards is {shown(given)}; expected a list of at most {limits.FORWARDS}")
    return tuple(_make_forward(one) for one in given)


def _make_forward(given: object) -> Forward:
    if isinstance(given, Forward):
        return given
    try:
        forward = msgspec.convert(given, Forward)
    except msgspec.ValidationError as error:
        raise InvalidQueueSettings(
            f"forwards has {shown(given)}; expected {{'queue': a name, 'headers': names and values}}: {error}"
        ) from None
    check_queue_name(forward.queue)
    return forward


def _make_auto_redrive(given: object) -> AutoRedrive | None:
    if given is None or isinstance(given, AutoRedrive):
        return given
    if not isinstance(given, Mapping) or "after_seconds" not in given:
        raise InvalidQueueSettings(
            f"auto_redrive is {shown(given)}; expected {{'after_seconds': a number, 'max_times': a number}} or null"
        )
    named = {f"auto_redrive.{key}": value for key, value in given.items()}
    checked = whole_numbers(named, REDRIVE_RANGES, InvalidQueueSettings)
    return AutoRedrive(checked["auto_redrive.after_seconds"], checked.get("auto_redrive.max_times", 1))
