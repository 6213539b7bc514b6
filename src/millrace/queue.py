"""Queues and consumers as immutable values, with the rules for their names and settings.

The keys of the settings are spelt as on Cloudflare's wire; a change is a new value.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from millrace import limits
from millrace.backoff import Backoff
from millrace.errors import (
    InvalidConsumerSettings,
    InvalidInput,
    InvalidQueueName,
    InvalidQueueSettings,
    InvalidRequest,
)
from millrace.ids import NewSecret, new_push_secret
from millrace.settlement import Policy

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ACCOUNT_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
PUSH_URL = re.compile(r'https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!"$-~]*)?')
CONSUMER_TYPES = ("worker", "http_pull", "http_push")

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
    "max_attempts": (1, limits.MAX_ATTEMPTS),
}
NULLABLE = ("max_concurrency", "max_attempts", "backoff", "flush_on")  # None stands for the default, none
BACKOFF_KINDS = ("fixed", "linear", "exponential")
BACKOFF_RANGES = {
    "base_seconds": (0, limits.DELAY_SECONDS),
    "factor": (1, limits.BACKOFF_FACTOR),
    "cap_seconds": (0, limits.DELAY_SECONDS),
    "jitter": (0, 1),
}


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and counts. Retention None keeps messages without end; a backlog limit of None is none."""

    delivery_delay: int = 0
    delivery_paused: bool = False
    message_retention_period: int | None = limits.RETENTION_SECONDS
    max_backlog_messages: int | None = None
    max_backlog_bytes: int | None = None


class ConsumerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue's messages are taken. `max_concurrency` None follows the backlog.

    `max_retries` counts deliveries, `max_attempts` failures that were reported; None sets no limit to those.
    """

    batch_size: int = limits.WORKER_BATCH_SIZE
    max_retries: int = limits.RETRIES
    max_wait_time_ms: int = limits.WAIT_TIME_MS
    max_concurrency: int | None = None
    visibility_timeout_ms: int = limits.VISIBILITY_TIMEOUT_MS
    retry_delay: int = 0
    max_attempts: int | None = None
    backoff: Backoff | None = None
    flush_on: Literal["high"] | None = None


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """What takes messages from a queue: a handler that we call (worker), clients that pull, or a URL we push to.

    `secret` signs what is pushed. `applied_by` is the script whose configuration file attached the consumer.
    """

    id: str
    type: Literal["worker", "http_pull", "http_push"]
    created_at_ms: int
    script_name: str = ""
    environment_name: str | None = None
    dead_letter_queue: str | None = None
    settings: ConsumerSettings = ConsumerSettings()
    url: str | None = None
    secret: str | None = None
    applied_by: str | None = None

    @property
    def policy(self) -> Policy:
        """Give the part that decides about retries."""
        settings = self.settings
        return Policy(
            max_retries=settings.max_retries,
            retry_delay_seconds=settings.retry_delay,
            dead_letter_queue=self.dead_letter_queue,
            max_attempts=settings.max_attempts,
            backoff=settings.backoff,
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
    given = {key: value for key, value in given.items() if value is not None or key not in NULLABLE}
    given.setdefault("batch_size", limits.PULL_BATCH_SIZE if kind == "http_pull" else limits.WORKER_BATCH_SIZE)
    if given.get("flush_on", "high") != "high":
        raise InvalidConsumerSettings(f"flush_on is {_shown(given['flush_on'])}; expected 'high'")
    return ConsumerSettings(
        **_in_range(given, CONSUMER_RANGES, InvalidConsumerSettings),
        backoff=make_backoff(given["backoff"]) if "backoff" in given else None,
        flush_on=given.get("flush_on"),
    )


def make_backoff(given: object) -> Backoff:
    """Make a backoff from a mapping of its fields; `kind` and `base_seconds` are needed.

    Raises:
        InvalidConsumerSettings: a field that is missing, unknown, of the wrong type or out of its range.
    """
    if not isinstance(given, Mapping):
        raise InvalidConsumerSettings(f"backoff is {_shown(given)}; expected an object with kind and base_seconds")
    numbers = dict(given)
    kind = numbers.pop("kind", None)
    if kind not in BACKOFF_KINDS:
        raise InvalidConsumerSettings(
            f"backoff.kind is {_shown(kind)}; expected {' or '.join(map(repr, BACKOFF_KINDS))}"
        )
    if "factor" in numbers and kind != "exponential":
        raise InvalidConsumerSettings(f"backoff.factor is for kind 'exponential'; leave it out with {kind!r}")
    numbers.setdefault("base_seconds", None)
    return Backoff(kind=kind, **{key: _backoff_number(key, value) for key, value in numbers.items()})


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
    url: str | None = None,
    secret: str | None = None,
    applied_by: str | None = None,
    new_secret: NewSecret = new_push_secret,
) -> Consumer:
    """Make a consumer for the queue of that name; one of type http_push without a secret gets a new one.

    Raises:
        InvalidRequest: unknown type, or a worker without a script name.
        InvalidConsumerSettings: a setting out of range, the queue as its own dead-letter queue, or a URL or secret
            that is missing, not valid, or not for this type.
        InvalidQueueName: the dead-letter queue's name.
    """
    if type not in CONSUMER_TYPES:
        raise InvalidRequest(f"type is {_shown(type)}; expected {' or '.join(map(repr, CONSUMER_TYPES))}")
    if type == "worker" and not script_name:
        raise InvalidRequest("script_name is missing; a consumer of type 'worker' needs one")
    check_dead_letters(queue_name, dead_letter_queue)
    _check_push(type, url, secret)
    return Consumer(
        id=id,
        type=type,  # type: ignore[arg-type]
        created_at_ms=now_ms,
        script_name=script_name if type == "worker" else "",
        environment_name=environment_name,
        dead_letter_queue=check_queue_name(dead_letter_queue) if dead_letter_queue else None,
        settings=make_consumer_settings(type, settings),
        url=url,
        secret=(secret or new_secret()) if type == "http_push" else None,
        applied_by=applied_by,
    )


def check_push_url(url: str | None) -> None:
    """Let the URL of an http_push consumer pass; whether its host may be called is not asked here.

    Raises:
        InvalidConsumerSettings: it is missing, longer than 2,048 characters, or not http(s) with a host, or it has
            user, password or fragment.
    """
    if url is None:
        raise InvalidConsumerSettings("url is missing; a consumer of type 'http_push' needs one")
    if len(url) > limits.PUSH_URL_CHARACTERS:
        raise InvalidConsumerSettings(f"url has {len(url)} characters; expected at most {limits.PUSH_URL_CHARACTERS}")
    try:
        is_valid = PUSH_URL.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:  # a port above 65535, or brackets around no IPv6 address
        is_valid = False
    if not is_valid:  # it is not shown, since it may hold a password
        raise InvalidConsumerSettings(
            "url is not valid; expected http:// or https://, a host, perhaps a port, path and query, in printable ASCII, "
            "and no user, password or fragment"
        )


def _check_push(kind: str, url: str | None, secret: str | None) -> None:
    if kind == "http_push":
        check_push_url(url)
        if secret is not None and not _is_push_secret(secret):
            raise InvalidConsumerSettings(
                f"secret is not valid; expected 'whsec_' and the base64 of {limits.PUSH_SECRET_BYTES_MIN} "
                f"to {limits.PUSH_SECRET_BYTES_MAX} bytes"
            )
        return
    for name, value in (("url", url), ("secret", secret)):
        if value is not None:
            raise InvalidConsumerSettings(f"{name} is for consumers of type 'http_push'; this one is of type {kind!r}")


def _is_push_secret(secret: str) -> bool:
    if not secret.startswith("whsec_"):
        return False
    try:
        size = len(b64decode(secret[len("whsec_") :], validate=True))
    except ValueError:
        return False
    return limits.PUSH_SECRET_BYTES_MIN <= size <= limits.PUSH_SECRET_BYTES_MAX


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
        if not _is_number(value) or not low <= value <= high or value != value // 1:
            raise error(f"{key} is {_shown(value)}; expected a whole number from {low} to {high}")
        checked[key] = int(value)
    return checked


def _backoff_number(key: str, value: Any) -> int | float:
    if key not in BACKOFF_RANGES:
        raise InvalidConsumerSettings(f"backoff has a field {_shown(key)}; expected kind, {', '.join(BACKOFF_RANGES)}")
    low, high = BACKOFF_RANGES[key]
    if not _is_number(value) or not low <= value <= high:
        raise InvalidConsumerSettings(f"backoff.{key} is {_shown(value)}; expected a number from {low} to {high}")
    return int(value) if value == value // 1 else float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return repr(value)[:80]
