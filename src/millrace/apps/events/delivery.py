"""From the queue of events to those who subscribed: a workflow for each event, a step for each subscription.

The workflow's id is the event's, so an event that is delivered again starts no second one. A step that is repeated,
because the process died before its result was on disk, bears the same deduplication key.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from millrace.apps.events import subscriptions
from millrace.apps.events.consumer import is_forced, tell_of
from millrace.apps.events.queues import EVENT_BYTES
from millrace.batch import BatchMessage, MessageBatch
from millrace.errors import QueueNotFound, SubscriptionNotFound
from millrace.handlers.steps import WorkflowStep
from millrace.handlers.workflow import WorkflowEvent, WorkflowFunction
from millrace.message import ContentType, Outgoing
from millrace.platform import Platform
from millrace.work import Work
from millrace.workflows import instances

WORKFLOW = "process-event"
RETRIES = {"limit": 20, "delay": 10, "backoff": "exponential"}  # 10 s to a day: a subscriber's queue may be full
NO_EVENT = (
    "no event; expected JSON with \"event_id\", 1 to 100 of A-Z, a-z, 0-9, '_' and '-', and an object \"payload\""
)


class Params(msgspec.Struct, frozen=True):
    """What an instance is created with: the event byte for byte, and what travelled beside it."""

    event: msgspec.Raw
    headers: dict[str, str] = {}


class Seen(msgspec.Struct, frozen=True):
    """The same as the workflow sees it; somebody may have created the instance by hand."""

    event: dict[str, Any]
    headers: dict[str, str] = {}


def start_workflows(platform: Platform) -> Callable[[MessageBatch, Any], Awaitable[None]]:
    """Make the handler that starts a workflow for each event; all of a batch in one transaction."""

    async def handle(batch: MessageBatch, env: Any) -> None:
        events: list[BatchMessage] = []
        for message in batch.messages:
            if is_forced(message.body):
                message.reject("dlq_routing")
            elif not _is_event(message):
                message.reject(NO_EVENT)
            else:
                events.append(message)

        def create(work: Work) -> None:
            for message in events:
                params = Params(msgspec.Raw(message.raw_body), message.headers)
                instances.create(work, env.ACCOUNT_ID, WORKFLOW, id=_event_id(message.body), params=params)

        await platform.write(create)
        for message in events:
            tell_of(platform.telemetry, env.ACCOUNT_ID, batch.queue, message)

    return handle


def process_event(platform: Platform) -> WorkflowFunction:
    """Make the workflow that puts an event into the queue of every subscription that wants it."""

    async def run(event: WorkflowEvent, step: WorkflowStep, env: Any) -> dict[str, list[str]]:
        account_id, body = env.ACCOUNT_ID, msgspec.convert(event.payload, Seen).event

        async def match() -> list[str]:
            return await platform.read(lambda work: subscriptions.matching(work, account_id, body))

        async def deliver(subscription_id: str) -> bool:
            return await platform.write(lambda work: _hand_over(work, account_id, event.id, subscription_id))

        wanted = await step.do("match", match, retries=RETRIES)
        delivering = (step.do(f"deliver-{one}", partial(deliver, one), retries=RETRIES) for one in wanted)
        ends = await asyncio.gather(*delivering, return_exceptions=True)  # none must miss it because of another
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return {"delivered": [one for one, end in zip(wanted, ends, strict=True) if end]}

    return run


def _hand_over(work: Work, account_id: str, event_id: str, subscription_id: str) -> bool:
    """Send an event into the queue of a subscription; False if that is gone."""
    text = instances.look(work, account_id, WORKFLOW, event_id).params
    params = msgspec.json.decode(text, type=Params)  # from the row: the bytes as they came
    outgoing = Outgoing(body=bytes(params.event), headers=params.headers or None, dedupe_key=event_id)
    with suppress(SubscriptionNotFound, QueueNotFound):
        found = subscriptions.look(work, account_id, subscription_id)
        work.send(found.queue_id, [outgoing], max_bytes=EVENT_BYTES)
        return True
    return False


def _is_event(message: BatchMessage) -> bool:
    body = message.body if message.content_type == ContentType.JSON else None
    has_payload = isinstance(body, dict) and isinstance(body.get("payload"), dict)
    return has_payload and instances.ID.fullmatch(_event_id(body)) is not None


def _event_id(body: object) -> str:
    event_id = body.get("event_id") if isinstance(body, dict) else None
    return event_id if isinstance(event_id, str) else ""
