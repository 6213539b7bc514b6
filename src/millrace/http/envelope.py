"""Cloudflare's envelope around results, and its shapes for queues and consumers."""

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from millrace import limits
from millrace.backoff import Backoff
from millrace.clock import iso_milliseconds
from millrace.consumer import Consumer, ConsumerSettings, RateLimit
from millrace.http.routes import Answer
from millrace.queue import AutoRedrive, Queue, QueueSettings

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class PageInfo(msgspec.Struct, frozen=True):
    """Where a page stands in its list."""

    page: int
    per_page: int
    count: int
    total_count: int
    total_pages: int


class Success(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Every answer of the v4 API that is no error."""

    success: Literal[True] = True
    errors: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    result: T
    result_info: PageInfo | UnsetType = UNSET


class ForwardObject(msgspec.Struct, frozen=True):
    """Where copies go; `headers` when only messages that have these are copied."""

    queue: str
    headers: dict[str, str] | UnsetType = UNSET


class SettingsObject(msgspec.Struct, frozen=True):
    """A queue's settings; a queue that keeps its messages without end shows no retention.

    What follows the retention is ours, and there when it was set.
    """

    delivery_delay: int
    delivery_paused: bool
    message_retention_period: int | UnsetType = UNSET
    max_backlog_messages: int | UnsetType = UNSET
    max_backlog_bytes: int | UnsetType = UNSET
    deduplication_seconds: int | UnsetType = UNSET
    deduplicate_content: bool | UnsetType = UNSET
    forwards: list[ForwardObject] | UnsetType = UNSET
    forward_only: bool | UnsetType = UNSET
    auto_redrive: AutoRedrive | UnsetType = UNSET


class BackoffObject(msgspec.Struct, frozen=True, kw_only=True):
    """A rule for the delays of retries; only the exponential one has a factor."""

    kind: Literal["fixed", "linear", "exponential"]
    base_seconds: float
    factor: float | UnsetType = UNSET
    cap_seconds: float
    jitter: float


class ConsumerSettingsObject(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's settings in effect: a visibility timeout for http_pull, waiting time and concurrency for the others.

    Those that are ours, from `max_attempts` on, are there when they are set.
    """

    batch_size: int
    max_retries: int
    max_wait_time_ms: int | UnsetType = UNSET
    max_concurrency: int | None | UnsetType = UNSET
    visibility_timeout_ms: int | UnsetType = UNSET
    retry_delay: int
    max_attempts: int | UnsetType = UNSET
    backoff: BackoffObject | UnsetType = UNSET
    flush_on: Literal["high"] | UnsetType = UNSET
    rate_limit: RateLimit | UnsetType = UNSET
    head_start_seconds: int | UnsetType = UNSET


class ConsumerObject(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer. `script` and `script_name` are the same; clients read one or the other.

    `secret` is shown once, in the answer that follows its making.
    """

    consumer_id: str
    type: Literal["worker", "http_pull", "http_push"]
    queue_name: str
    queue_id: str
    script: str | UnsetType = UNSET
    script_name: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET
    dead_letter_queue: str
    created_on: str
    settings: ConsumerSettingsObject


class Producer(msgspec.Struct, frozen=True):
    """What sends into a queue."""

    type: str
    script: str


class QueueObject(msgspec.Struct, frozen=True, kw_only=True):
    """A queue with its producers and its consumer."""

    queue_id: str
    queue_name: str
    created_on: str
    modified_on: str
    producers: list[Producer]
    producers_total_count: int
    consumers: list[ConsumerObject]
    consumers_total_count: int
    jurisdiction: str | UnsetType = UNSET
    settings: SettingsObject


def success(result: object) -> Answer:
    """Wrap a result."""
    return Answer(_encode(Success(result=result)))


def page(items: Sequence[object], number: int, per_page: int) -> Answer:
    """Wrap one page of a list; pages past the end are empty."""
    chosen = list(items[(number - 1) * per_page : number * per_page])
    info = PageInfo(number, per_page, len(chosen), len(items), -(-len(items) // per_page))
    return Answer(_encode(Success(result=chosen, result_info=info)))


def queue_object(queue: Queue) -> QueueObject:
    """Show a queue."""
    return QueueObject(
        queue_id=queue.id,
        queue_name=queue.name,
        created_on=iso_milliseconds(queue.created_at_ms),
        modified_on=iso_milliseconds(queue.modified_at_ms),
        producers=[Producer("worker", script) for script in queue.producers],
        producers_total_count=len(queue.producers),
        consumers=[consumer_object(queue, queue.consumer)] if queue.consumer else [],
        consumers_total_count=1 if queue.consumer else 0,
        jurisdiction=_or_unset(queue.jurisdiction),
        settings=_queue_settings_object(queue.settings),
    )


def _queue_settings_object(given: QueueSettings) -> SettingsObject:
    return SettingsObject(
        given.delivery_delay,
        given.delivery_paused,
        _or_unset(given.message_retention_period),
        _or_unset(given.max_backlog_messages),
        _or_unset(given.max_backlog_bytes),
        _unless(limits.DEDUPLICATION_SECONDS, given.deduplication_seconds),
        given.deduplicate_content or UNSET,
        [ForwardObject(to.queue, to.headers or UNSET) for to in given.forwards] or UNSET,
        given.forward_only or UNSET,
        _or_unset(given.auto_redrive),
    )


def consumer_object(queue: Queue, consumer: Consumer, *, secret: str | None = None) -> ConsumerObject:
    """Show a consumer, with a secret only if it is handed over here."""
    is_worker = consumer.type == "worker"
    return ConsumerObject(
        consumer_id=consumer.id,
        type=consumer.type,
        queue_name=queue.name,
        queue_id=queue.id,
        script=consumer.script_name if is_worker else UNSET,
        script_name=consumer.script_name if is_worker else UNSET,
        url=_or_unset(consumer.url),
        secret=_or_unset(secret),
        dead_letter_queue=consumer.dead_letter_queue or "",
        created_on=iso_milliseconds(consumer.created_at_ms),
        settings=_consumer_settings_object(consumer.settings, is_pulled=consumer.type == "http_pull"),
    )


def _consumer_settings_object(given: ConsumerSettings, *, is_pulled: bool) -> ConsumerSettingsObject:
    return ConsumerSettingsObject(
        batch_size=given.batch_size,
        max_retries=given.max_retries,
        max_wait_time_ms=UNSET if is_pulled else given.max_wait_time_ms,
        max_concurrency=UNSET if is_pulled else given.max_concurrency,
        visibility_timeout_ms=given.visibility_timeout_ms if is_pulled else UNSET,
        retry_delay=given.retry_delay,
        max_attempts=_or_unset(given.max_attempts),
        backoff=_backoff_object(given.backoff) if given.backoff else UNSET,
        flush_on=UNSET if is_pulled else _or_unset(given.flush_on),
        rate_limit=_or_unset(given.rate_limit),
        head_start_seconds=_unless(limits.HEAD_START_SECONDS, given.head_start_seconds),
    )


def _backoff_object(backoff: Backoff) -> BackoffObject:
    return BackoffObject(
        kind=backoff.kind,
        base_seconds=backoff.base_seconds,
        factor=backoff.factor if backoff.kind == "exponential" else UNSET,
        cap_seconds=backoff.cap_seconds,
        jitter=backoff.jitter,
    )


V = TypeVar("V")


def _or_unset(value: V | None) -> V | UnsetType:
    return UNSET if value is None else value


def _unless(default: V, value: V) -> V | UnsetType:
    return UNSET if value == default else value
