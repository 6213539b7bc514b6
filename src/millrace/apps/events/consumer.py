"""What becomes of queued events when the application consumes them itself."""

from collections.abc import Awaitable, Callable
from typing import Any

from millrace.apps.events.producer import CORRELATION
from millrace.batch import BatchMessage, MessageBatch
from millrace.telemetry import Telemetry

FORCED = "_force_dlq"


def log_events(telemetry: Telemetry) -> Callable[[MessageBatch, Any], Awaitable[None]]:
    """Make the handler that writes one line for each event and is done with it."""

    async def handle(batch: MessageBatch, env: Any) -> None:
        for message in batch.messages:
            if is_forced(message.body):
                message.reject("dlq_routing")
                continue
            tell_of(telemetry, env.ACCOUNT_ID, batch.queue, message)
            message.ack()

    return handle


def tell_of(telemetry: Telemetry, account_id: str, queue: str, message: BatchMessage[Any]) -> None:
    """Tell that an event has arrived."""
    body = message.body
    telemetry.emit(
        "event.received",
        account_id=account_id,
        event_id=body.get("event_id", "") if isinstance(body, dict) else "",
        message_id=message.id,
        queue=queue,
        attempts=message.attempts,
        correlation_id=message.headers.get(CORRELATION, ""),
    )


def is_forced(body: object) -> bool:
    """Say whether an event bears the marker that sends it to the dead-letter queue."""
    payload = body.get("payload") if isinstance(body, dict) else None
    return isinstance(payload, dict) and payload.get(FORCED) is True
