"""The consumers of queues, as Cloudflare's v4 API has them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace import limits
from millrace.access.scopes import Scope
from millrace.consumer import PUSH_URL
from millrace.errors import (
    ConsumerExists,
    ConsumerNotFound,
    InvalidConsumerSettings,
    InvalidQueueName,
    InvalidRequest,
    QueueNotFound,
)
from millrace.http.desk import Desk, queue_of
from millrace.http.envelope import ConsumerObject, consumer_object, page, success
from millrace.http.queues import DelaySeconds, Q, named
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.names import QUEUE_NAME

C = f"{Q}/{{queue_id}}/consumers"

DeadLetterName = Annotated[str, Meta(extra_json_schema={"pattern": f"^({QUEUE_NAME.pattern})?$"})]
PushUrl = Annotated[
    str, Meta(extra_json_schema={"pattern": f"^{PUSH_URL.pattern}$", "maxLength": limits.PUSH_URL_CHARACTERS})
]


class BackoffBody(msgspec.Struct, frozen=True):
    """A rule for the delays of retries; a factor goes with exponential only."""

    kind: Literal["fixed", "linear", "exponential"]
    base_seconds: Annotated[float, Meta(ge=0, le=limits.DELAY_SECONDS)]
    factor: Annotated[float, Meta(ge=1, le=limits.BACKOFF_FACTOR)] | UnsetType = UNSET
    cap_seconds: Annotated[float, Meta(ge=0, le=limits.DELAY_SECONDS)] | UnsetType = UNSET
    jitter: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET


class RateLimitBody(msgspec.Struct, frozen=True):
    """So many messages at most in each `per_seconds`, 1 if it is left out."""

    messages: Annotated[float, Meta(ge=1, le=limits.RATE_MESSAGES, multiple_of=1)]
    per_seconds: Annotated[float, Meta(gt=0, le=limits.RATE_SECONDS)] | UnsetType = UNSET


class ConsumerSettingsBody(msgspec.Struct, frozen=True):
    """Settings of a consumer, each optional."""

    batch_size: Annotated[float, Meta(ge=1, le=limits.CONSUMER_BATCH_SIZE, multiple_of=1)] | UnsetType = UNSET
    max_retries: Annotated[float, Meta(ge=0, le=limits.MAX_RETRIES, multiple_of=1)] | UnsetType = UNSET
    max_wait_time_ms: Annotated[float, Meta(ge=0, le=limits.MAX_WAIT_TIME_MS, multiple_of=1)] | UnsetType = UNSET
    max_concurrency: Annotated[float, Meta(ge=1, le=limits.MAX_CONCURRENCY, multiple_of=1)] | None | UnsetType = UNSET
    visibility_timeout_ms: (
        Annotated[float, Meta(ge=0, le=limits.VISIBILITY_TIMEOUT_MS_MAX, multiple_of=1)] | UnsetType
    ) = UNSET
    retry_delay: DelaySeconds | UnsetType = UNSET
    max_attempts: Annotated[float, Meta(ge=1, le=limits.MAX_ATTEMPTS, multiple_of=1)] | None | UnsetType = UNSET
    backoff: BackoffBody | None | UnsetType = UNSET
    flush_on: Literal["high"] | None | UnsetType = UNSET
    rate_limit: RateLimitBody | None | UnsetType = UNSET
    head_start_seconds: Annotated[float, Meta(ge=0, le=limits.HEAD_START_SECONDS_MAX, multiple_of=1)] | UnsetType = (
        UNSET
    )


class ConsumerBody(msgspec.Struct, frozen=True):
    """A consumer; a worker needs a script name, http_push a URL."""

    type: Literal["worker", "http_pull", "http_push"]
    script_name: str | None = None
    environment_name: str | None = None
    dead_letter_queue: DeadLetterName | None = None
    settings: ConsumerSettingsBody | None = None
    url: PushUrl | None = None
    secret: str | None = None


PARTS = tuple((place, InvalidConsumerSettings) for place in ("$.settings", "$.url", "$.secret"))
CONSUMER = Shape(ConsumerBody, InvalidRequest, PARTS)


async def create_consumer(desk: Desk, request: Request) -> Answer:
    """Give a queue its consumer."""
    body: ConsumerBody = CONSUMER.read(request.body)
    queue = await queue_of(desk, request)
    _check_consumer(desk, request, body)
    consumer = await desk.catalog.attach(queue.account_id, queue.id, _consumer_arguments(body))
    return success(consumer_object(queue, consumer, secret=consumer.secret))


async def list_consumers(desk: Desk, request: Request) -> Answer:
    """List the consumer of a queue, if it has one."""
    queue = await queue_of(desk, request)
    shown = [consumer_object(queue, queue.consumer)] if queue.consumer else []
    return page(shown, 1, limits.QUEUES_PER_PAGE)


async def get_consumer(desk: Desk, request: Request) -> Answer:
    """Show a consumer."""
    queue = await queue_of(desk, request)
    if queue.consumer is None or queue.consumer.id != request.params["consumer_id"]:
        raise ConsumerNotFound(f"Consumer {request.params['consumer_id'][:64]!r} does not exist.")
    return success(consumer_object(queue, queue.consumer))


async def replace_consumer(desk: Desk, request: Request) -> Answer:
    """Replace a consumer's settings; what is left out returns to its default."""
    body: ConsumerBody = CONSUMER.read(request.body)
    queue = await queue_of(desk, request)
    _check_consumer(desk, request, body)
    consumer = await desk.catalog.replace_consumer(
        queue.account_id, queue.id, request.params["consumer_id"], _consumer_arguments(body)
    )
    return success(consumer_object(queue, consumer))


async def delete_consumer(desk: Desk, request: Request) -> Answer:
    """Remove a consumer; the messages stay."""
    queue = await queue_of(desk, request)
    await desk.catalog.detach(queue.account_id, queue.id, request.params["consumer_id"])
    return success(None)


def _check_consumer(desk: Desk, request: Request, body: ConsumerBody) -> None:
    """Refuse what the consumer itself cannot know: queues beyond the key, addresses beyond the door."""
    if body.dead_letter_queue:
        request.key.check_queue(body.dead_letter_queue)
    if body.url is not None:
        desk.outbound.check(body.url)


def _consumer_arguments(body: ConsumerBody) -> dict[str, Any]:
    return {
        "type": body.type,
        "script_name": body.script_name or "",
        "environment_name": body.environment_name,
        "dead_letter_queue": body.dead_letter_queue or "",
        "settings": named(body.settings),
        "url": body.url,
        "secret": body.secret,
    }


REFUSES = (InvalidRequest, InvalidConsumerSettings, InvalidQueueName, QueueNotFound)

ROUTES = [
    Route(method="POST", path=C, handle=create_consumer, scope=Scope.MANAGE,
          takes=CONSUMER, gives=ConsumerObject, refuses=(*REFUSES, ConsumerExists)),
    Route(method="GET", path=C, handle=list_consumers, scope=Scope.READ,
          gives=ConsumerObject, is_page=True, refuses=(QueueNotFound,)),
    Route(method="GET", path=f"{C}/{{consumer_id}}", handle=get_consumer, scope=Scope.READ,
          gives=ConsumerObject, refuses=(QueueNotFound, ConsumerNotFound)),
    Route(method="PUT", path=f"{C}/{{consumer_id}}", handle=replace_consumer,
          scope=Scope.MANAGE, takes=CONSUMER, gives=ConsumerObject, refuses=(*REFUSES, ConsumerNotFound)),
    Route(method="DELETE", path=f"{C}/{{consumer_id}}", handle=delete_consumer,
          scope=Scope.MANAGE, gives=None, refuses=(QueueNotFound, ConsumerNotFound)),
]  # fmt: skip
