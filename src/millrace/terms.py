"""On which terms a client takes messages of a queue."""

from typing import NamedTuple

from millrace import limits
from millrace.errors import InvalidRequest, PullNotEnabled
from millrace.queue import Queue


class Terms(NamedTuple):
    """How many messages a client takes at most, for how long, and whether the consumer's window holds for it."""

    limit: int
    lease_ms: int
    in_window: bool


def pull_terms(
    queue: Queue, batch_size: int | None, visibility_timeout_ms: int | None, *, is_worker: bool = False
) -> Terms:
    """Say on which terms a client may take messages; the consumer's settings serve as defaults.

    A client that `is_worker` stands in for the handler of a consumer of type worker: it gets the batches that the
    handler would get.

    Raises:
        PullNotEnabled: the queue has no consumer of type http_pull, or worker for a worker.
        InvalidRequest: a number out of range.
    """
    kind = queue.consumer.type if queue.consumer else None
    if queue.consumer is None or not (kind == "http_pull" or (is_worker and kind == "worker")):
        raise PullNotEnabled("messages cannot be pulled unless http_pull mode is enabled")
    in_window = kind == "worker"
    settings = queue.consumer.settings
    limit = settings.batch_size if batch_size is None else batch_size
    default_ms = limits.PUSH_LEASE_MS if in_window else settings.visibility_timeout_ms
    lease_ms = default_ms if visibility_timeout_ms is None else visibility_timeout_ms
    check_range("batch_size", limit, 1, limits.CONSUMER_BATCH_SIZE)
    check_range("visibility_timeout_ms", lease_ms, 0, limits.VISIBILITY_TIMEOUT_MS_MAX)
    return Terms(settings.batch_size if in_window else limit, lease_ms, in_window)


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Let a number within its range pass, ends included.

    Raises:
        InvalidRequest: it is outside.
    """
    if not low <= value <= high:
        raise InvalidRequest(f"{name} is {value}; expected {low} to {high}")
