"""From an event to a message in a queue."""

from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from functools import partial
from inspect import isawaitable
from typing import Annotated, Any, NamedTuple, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace.clock import iso_milliseconds, wall_ms
from millrace.errors import MillraceError
from millrace.telemetry import Telemetry

CORRELATION = "X-Correlation-ID"


OBJECT = Meta(extra_json_schema={"type": "object"})


class QueuedEvent(msgspec.Struct, frozen=True):
    """The message as it lies in the queue. `payload` and `metadata` are objects, kept byte for byte."""

    event_id: str
    payload: Annotated[Any, OBJECT]
    timestamp: str
    metadata: Annotated[Any, OBJECT] | UnsetType = UNSET


class Sent(dict[str, Any]):
    """`success`, whether the event is in the queue, else `error`. It may be awaited, as it need not be."""

    def __await__(self) -> Generator[None, None, Self]:
        yield from ()
        return self


class EventEnv(NamedTuple):
    """The bindings that the application works with; a user's own `env` serves as well."""

    EVENT_QUEUE: Any


def send_event_to_queue(
    env: Any,
    event_id: str,
    payload: Mapping[str, Any] | msgspec.Raw,
    metadata: Mapping[str, Any] | msgspec.Raw | None,
    correlation_id: str,
    *,
    timestamp: str | None = None,
    telemetry: Telemetry | None = None,
    account_id: str | None = None,
) -> Sent | Coroutine[Any, Any, Sent]:
    """Put an event into `env.EVENT_QUEUE` and say whether it is on disk there; never raise.

    Async bindings, those of handlers, give the result when it is awaited; those of a `Client` give it at once.

    Args:
        env: Has the binding EVENT_QUEUE.
        event_id: A UUID.
        payload: What happened.
        metadata: What is known about it, or None.
        correlation_id: Travels beside the body, to the consumer's logs.
        timestamp: When it was accepted, ISO 8601 with milliseconds and `Z`; now, when it is not given.
        telemetry: Told about the outcome.
        account_id: Whose event it is, for those who follow the log of their account.
    """
    timestamp = timestamp or iso_milliseconds(wall_ms())
    event = QueuedEvent(event_id, payload, timestamp, UNSET if metadata is None else metadata)
    about = {"event_id": event_id, "correlation_id": correlation_id, "timestamp": timestamp}
    if account_id is not None:
        about["account_id"] = account_id
    tell = partial(_tell, telemetry, about)
    try:
        sending = env.EVENT_QUEUE.send(event, headers={CORRELATION: correlation_id})
    except Exception as error:  # noqa: BLE001 - the contract: a result, whatever went wrong
        return tell(error)
    return _awaited(sending, tell) if isawaitable(sending) else tell(None)


async def _awaited(sending: Awaitable[object], tell: Callable[[Exception | None], Sent]) -> Sent:
    try:
        await sending
    except Exception as error:  # noqa: BLE001 - as above
        return tell(error)
    return tell(None)


def _tell(telemetry: Telemetry | None, about: dict[str, str], error: Exception | None) -> Sent:
    if error is None:
        if telemetry is not None:
            telemetry.emit("event.queued", **about)
        return Sent(success=True)
    reason = str(error) if isinstance(error, MillraceError) else type(error).__name__
    if telemetry is not None:
        telemetry.emit("event.refused", error=reason, **about)
    return Sent(success=False, error=reason)
