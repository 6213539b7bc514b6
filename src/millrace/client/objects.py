"""Queues, consumers and keys as the API shows them: dictionaries, with all that a server adds."""

from collections.abc import Mapping
from typing import Any, TypedDict, cast

import msgspec

from millrace.errors import InvalidInput, UnexpectedAnswer

Object = dict[str, Any]


class QueueSettings(TypedDict, total=False):
    """What can be set of a queue: seconds, messages, bytes. What follows the retention is ours.

    None lifts a limit of the backlog. `forwards` are mappings with `queue` and perhaps `headers`; `auto_redrive` is
    one with `after_seconds` and perhaps `max_times`.
    """

    delivery_delay: int
    delivery_paused: bool
    message_retention_period: int
    max_backlog_messages: int | None
    max_backlog_bytes: int | None
    deduplication_seconds: int
    deduplicate_content: bool
    forwards: list[dict[str, Any]]
    forward_only: bool
    auto_redrive: dict[str, Any] | None


class ConsumerSettings(TypedDict, total=False):
    """What can be set of a consumer; which ones there are depends on its type, and from `max_attempts` on they are ours.

    `rate_limit` is a mapping with `messages` and perhaps `per_seconds`.
    """

    batch_size: int
    max_retries: int
    max_wait_time_ms: int
    max_concurrency: int | None
    visibility_timeout_ms: int
    retry_delay: int
    max_attempts: int | None
    backoff: dict[str, Any] | None
    flush_on: str | None
    rate_limit: dict[str, Any] | None
    head_start_seconds: int


class ConsumerObject(TypedDict, total=False):
    """A consumer. `dead_letter_queue` is a queue's name, empty when there is none."""

    consumer_id: str
    type: str
    queue_name: str
    queue_id: str
    script: str
    script_name: str
    url: str
    secret: str
    dead_letter_queue: str
    created_on: str
    settings: ConsumerSettings


class QueueObject(TypedDict, total=False):
    """A queue with its producers and its consumer."""

    queue_id: str
    queue_name: str
    created_on: str
    modified_on: str
    producers: list[dict[str, Any]]
    producers_total_count: int
    consumers: list[ConsumerObject]
    consumers_total_count: int
    jurisdiction: str
    settings: QueueSettings


class KeyObject(TypedDict, total=False):
    """A key; the secret is shown once, by the answer that makes it."""

    id: str
    account: str
    role: str
    queues: list[str] | None
    hint: str
    created_at: str
    secret: str


class KeyList(msgspec.Struct, frozen=True):
    """The answer that lists keys."""

    keys: list[Object]


class Revoked(msgspec.Struct, frozen=True):
    """The answer that a key is refused from now on."""

    revoked: str


class SqlAnswer(msgspec.Struct, frozen=True):
    """Rows in the order of the columns; `is_cut` says that there were more than fit."""

    columns: list[str]
    rows: list[list[Any]]
    is_cut: bool


class Redriven(msgspec.Struct, frozen=True):
    """How many dead letters were moved back."""

    redriven: int


def queue_of(found: Object) -> QueueObject:
    """Take a dictionary for a queue.

    Raises:
        UnexpectedAnswer: it has no id or no name.
    """
    check_strings(found, "queue_id", "queue_name")
    return cast(QueueObject, found)


def consumer_of(found: Object) -> ConsumerObject:
    """Take a dictionary for a consumer.

    Raises:
        UnexpectedAnswer: it has no id or no type.
    """
    check_strings(found, "consumer_id", "type")
    return cast(ConsumerObject, found)


def key_of(found: Object) -> KeyObject:
    """Take a dictionary for a key.

    Raises:
        UnexpectedAnswer: it has no id.
    """
    check_strings(found, "id", "account", "role")
    return cast(KeyObject, found)


def check_strings(found: Object, *names: str) -> None:
    """Hold a dictionary to the strings it must have.

    Raises:
        UnexpectedAnswer: one is missing.
    """
    for name in names:
        if not isinstance(found.get(name), str):
            raise UnexpectedAnswer(f"the answer has no {name!r}, which both Millrace and Cloudflare give")


def named(settings: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Let settings pass that there are; a server would take no notice of others.

    Raises:
        InvalidInput: one is misspelt.
    """
    unknown = settings.keys() - kind.__annotations__.keys()
    if unknown:
        raise InvalidInput(f"{min(unknown)!r} is no setting; expected {', '.join(kind.__annotations__)}")
    return dict(settings)
