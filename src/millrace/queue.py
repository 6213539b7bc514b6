"""Queues and consumers as immutable values, with the rules for their names and settings.

The keys of the settings are spelt as on Cloudflare's wire; a change is a new value.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from millrace import limits
from millrace.errors import (
    InvalidConsumerSettings,
    InvalidInput,
    InvalidQueueName,
    InvalidQueueSettings,
    InvalidRequest,
)
from millrace.settlement import Policy

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ACCOUNT_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")

QUEUE_RANGES = {
    "delivery_delay": (0, limits.DELAY_SECONDS),
    "message_retention_period": (limits.RETENTION_SECONDS_MIN, limits.RETENTION_SECONDS_MAX),
}
CONSUMER_RANGES = {
    "batch_size": (1, limits.CONSUMER_BATCH_SIZE),
    "max_retries": (0, limits.MAX_RETRIES),
    "max_wait_time_ms": (0, limits.MAX_WAIT_TIME_MS),
    "max_concurrency": (1, limits.MAX_CONCURRENCY),
    "visibility_timeout_ms": (0, limits.VISIBILITY_TIMEOUT_MS_MAX),
    "retry_delay": (0, limits.DELAY_SECONDS),
}


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and counts. Retention None keeps messages without end; a backlog limit of None is none."""

    delivery_delay: int = 0
    delivery_paused: bool = False
    message_retention_period: int | None = limits.RETENTION_SECONDS
    max_backlog_messages: int | None = None
    max_backlog_bytes: int | None = None


class ConsumerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue's messages are taken. `max_concurrency` None follows the backlog."""

    batch_size: int = limits.WORKER_BATCH_SIZE
    max_retries: int = limits.RETRIES
    max_wait_time_ms: int = limits.WAIT_TIME_MS
    max_concurrency: int | None = None
    visibility_timeout_ms: int = limits.VISIBILITY_TIMEOUT_MS
    retry_delay: int = 0


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """What takes messages from a queue: a handler that we call (worker) or clients that pull."""

    id: str
    type: Literal["worker", "http_pull"]
    created_at_ms: int
    script_name: str = ""
    environment_name: str | None = None
    dead_letter_queue: str | None = None
    settings: ConsumerSettings = ConsumerSettings()

    @property
    def policy(self) -> Policy:
        """Give the part that decides about retries."""
        return Policy(
            max_retries=self.settings.max_retries,
            retry_delay_seconds=self.settings.retry_delay,
            dead_letter_queue=self.dead_letter_queue,
        )


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


def check_queue_name(name: str) -> str:
    """Return the name.

    Raises:
        InvalidQueueName: not 1 to 63 of a-z, 0-9 and '-', or a '-' at an end.
    """
    if NAME.fullmatch(name) is None:
        raise InvalidQueueName(
            f"Queue name {name[:80]!r} is not valid; expected 1 to {limits.QUEUE_NAME_CHARACTERS} lower-case letters, "
            "digits and '-', beginning and ending with a letter or digit."
        )
    return name


def check_account_id(account_id: str) -> str:
    """Return the account id.

    Raises:
        InvalidInput: not 1 to 32 letters, digits, '.', '_' or '-'.
    """
    if ACCOUNT_ID.fullmatch(account_id) is None:
        raise InvalidInput(
            f"account {account_id[:80]!r} is not valid; expected 1 to 32 of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return account_id


def change_queue_settings(settings: QueueSettings, changes: Mapping[str, Any]) -> QueueSettings:
    """Merge named settings into the present ones; unknown keys are ignored.

    Raises:
        InvalidQueueSettings: a value of the wrong type or out of its range.
    """
    changed = _in_range(changes, QUEUE_RANGES, InvalidQueueSettings)
    if "delivery_paused" in changes:
        if not isinstance(changes["delivery_paused"], bool):
            raise InvalidQueueSettings(
                f"delivery_paused is {_shown(changes['delivery_paused'])}; expected true or false"
            )
        changed["delivery_paused"] = changes["delivery_paused"]
    return _replace(settings, changed)


def check_backlog_limits(max_messages: int | None, max_bytes: int | None) -> None:
    """Let limits of 0 or more, or none, pass.

    Raises:
        InvalidQueueSettings: one is negative.
    """
    for name, limit in (("max_backlog_messages", max_messages), ("max_backlog_bytes", max_bytes)):
        if limit is not None and limit < 0:
            raise InvalidQueueSettings(f"{name} is {limit}; expected 0 or more")


def make_consumer_settings(kind: str, given: Mapping[str, Any]) -> ConsumerSettings:
    """Make settings from the given ones and the defaults of the consumer type.

    Raises:
        InvalidConsumerSettings: a value of the wrong type or out of its range.
    """
    given = dict(given)
    automatic = "max_concurrency" in given and given["max_concurrency"] is None
    if automatic:
        del given["max_concurrency"]
    given.setdefault("batch_size", limits.PULL_BATCH_SIZE if kind == "http_pull" else limits.WORKER_BATCH_SIZE)
    return ConsumerSettings(**_in_range(given, CONSUMER_RANGES, InvalidConsumerSettings))


def check_dead_letters(queue_name: str, dead_letter_queue: str | None) -> None:
    """Let another queue pass as the dead-letter queue.

    Raises:
        InvalidConsumerSettings: it is the queue itself.
    """
    if dead_letter_queue == queue_name:
        raise InvalidConsumerSettings(f"dead_letter_queue is {queue_name!r}, the queue itself; expected another queue")


def make_consumer(
    *,
    id: str,
    queue_name: str,
    now_ms: int,
    type: str,
    script_name: str = "",
    environment_name: str | None = None,
    dead_letter_queue: str = "",
    settings: Mapping[str, Any],
) -> Consumer:
    """Make a consumer for the queue of that name.

    Raises:
        InvalidRequest: unknown type, or a worker without a script name.
        InvalidConsumerSettings: a setting out of range, or the queue as its own dead-letter queue.
        InvalidQueueName: the dead-letter queue's name.
    """
    if type not in ("worker", "http_pull"):
        raise InvalidRequest(f"type is {_shown(type)}; expected 'worker' or 'http_pull'")
    if type == "worker" and not script_name:
        raise InvalidRequest("script_name is missing; a consumer of type 'worker' needs one")
    check_dead_letters(queue_name, dead_letter_queue)
    return Consumer(
        id=id,
        type=type,  # type: ignore[arg-type]
        created_at_ms=now_ms,
        script_name=script_name if type == "worker" else "",
        environment_name=environment_name,
        dead_letter_queue=check_queue_name(dead_letter_queue) if dead_letter_queue else None,
        settings=make_consumer_settings(type, settings),
    )


S = TypeVar("S", bound=msgspec.Struct)


def _replace(value: S, changes: Mapping[str, Any]) -> S:
    return msgspec.structs.replace(value, **changes)


def _in_range(
    given: Mapping[str, Any], ranges: Mapping[str, tuple[int, int]], error: type[InvalidInput]
) -> dict[str, Any]:
    checked = {}
    for key, (low, high) in ranges.items():
        if key not in given:
            continue
        value = given[key]
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
        if not whole or not low <= value <= high:
            raise error(f"{key} is {_shown(value)}; expected a whole number from {low} to {high}")
        checked[key] = int(value)
    return checked


def _shown(value: object) -> str:
    return repr(value)[:80]
