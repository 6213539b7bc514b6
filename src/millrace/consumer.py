"""The consumer of a queue as an immutable value, with the rules for its settings.

The keys of the settings are spelt as on Cloudflare's wire.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from millrace import limits
from millrace.backoff import Backoff, make_backoff
from millrace.errors import InvalidConsumerSettings, InvalidRequest
from millrace.ids import NewSecret, new_push_secret
from millrace.names import check_queue_name
from millrace.ranges import is_number, shown, whole_numbers
from millrace.settlement import Policy

PUSH_URL = re.compile(r'https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!"$-~]*)?')
TYPES = ("worker", "http_pull", "http_push")
RANGES = {
    "batch_size": (1, limits.CONSUMER_BATCH_SIZE),
    "max_retries": (0, limits.MAX_RETRIES),
    "max_wait_time_ms": (0, limits.MAX_WAIT_TIME_MS),
    "max_concurrency": (1, limits.MAX_CONCURRENCY),
    "visibility_timeout_ms": (0, limits.VISIBILITY_TIMEOUT_MS_MAX),
    "retry_delay": (0, limits.DELAY_SECONDS),
    "max_attempts": (1, limits.MAX_ATTEMPTS),
    "head_start_seconds": (0, limits.DELAY_SECONDS),
}
RATE_RANGES = {"rate_limit.messages": (1, limits.RATE_MESSAGES)}
NULLABLE = ("max_concurrency", "max_attempts", "backoff", "flush_on", "rate_limit")  # None stands for the default, none


class RateLimit(msgspec.Struct, frozen=True):
    """A token bucket: so many messages are taken at most at once, and so many anew in each `per_seconds`."""

    messages: int
    per_seconds: float = 1


class ConsumerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue's messages are taken. `max_concurrency` None follows the backlog.

    `max_retries` counts deliveries, `max_attempts` failures that were reported; None sets no limit to those.
    A message of a higher priority goes before those that became ready up to `head_start_seconds` earlier, by level.
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
    rate_limit: RateLimit | None = None
    head_start_seconds: int = limits.HEAD_START_SECONDS


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
    _check_type(type, script_name)
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


def make_consumer_settings(kind: str, given: Mapping[str, Any]) -> ConsumerSettings:
    """Make settings from the given ones and the defaults of the consumer type.

    Raises:
        InvalidConsumerSettings: a value of the wrong type or out of its range.
    """
    given = {key: value for key, value in given.items() if value is not None or key not in NULLABLE}
    given.setdefault("batch_size", limits.PULL_BATCH_SIZE if kind == "http_pull" else limits.WORKER_BATCH_SIZE)
    if given.get("flush_on", "high") != "high":
        raise InvalidConsumerSettings(f"flush_on is {shown(given['flush_on'])}; expected 'high'")
    return ConsumerSettings(
        **whole_numbers(given, RANGES, InvalidConsumerSettings),
        backoff=make_backoff(given["backoff"]) if "backoff" in given else None,
        flush_on=given.get("flush_on"),
        rate_limit=make_rate_limit(given["rate_limit"]) if "rate_limit" in given else None,
    )


def make_rate_limit(given: object) -> RateLimit:
    """Make a rate limit from `messages` and, where it is not one second, `per_seconds`.

    Raises:
        InvalidConsumerSettings: no mapping of these, or a value out of its range.
    """
    if isinstance(given, RateLimit):
        return given
    if not isinstance(given, Mapping) or "messages" not in given:
        raise InvalidConsumerSettings(
            f"rate_limit is {shown(given)}; expected {{'messages': a whole number, 'per_seconds': a number}}"
        )
    per_seconds = given.get("per_seconds", 1)
    if not is_number(per_seconds) or not 0 < per_seconds <= limits.RATE_SECONDS:
        raise InvalidConsumerSettings(
            f"rate_limit.per_seconds is {shown(per_seconds)}; expected a number above 0, up to {limits.RATE_SECONDS}"
        )
    ranged = whole_numbers({"rate_limit.messages": given["messages"]}, RATE_RANGES, InvalidConsumerSettings)
    return RateLimit(ranged["rate_limit.messages"], per_seconds)


def check_dead_letters(queue_name: str, dead_letter_queue: str | None) -> None:
    """Let another queue pass as the dead-letter queue.

    Raises:
        InvalidConsumerSettings: it is the queue itself.
    """
    if dead_letter_queue == queue_name:
        raise InvalidConsumerSettings(f"dead_letter_queue is {queue_name!r}, the queue itself; expected another queue")


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


def _check_type(kind: str, script_name: str) -> None:
    if kind not in TYPES:
        raise InvalidRequest(f"type is {shown(kind)}; expected {' or '.join(map(repr, TYPES))}")
    if kind == "worker" and not script_name:
        raise InvalidRequest("script_name is missing; a consumer of type 'worker' needs one")


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
