"""A queue of a server elsewhere as the feed of a consumer in this process."""

import asyncio
import base64
from collections.abc import Coroutine, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

import msgspec

from millrace import limits
from millrace.client.async_calls import AsyncCalls
from millrace.client.wire import quoted
from millrace.consumer import ConsumerSettings
from millrace.errors import DeliveryPaused, PullNotEnabled, QueueNotFound, UnexpectedAnswer
from millrace.message import PRIORITIES, Backlog, ContentType, Lease, Message
from millrace.runtime.feed import Taken
from millrace.runtime.waits import at_most
from millrace.settlement import Ack, Outcome, Postpone, Reject, Retry

T = TypeVar("T")

KINDS = ("worker", "http_pull")  # consumers that we may stand in for
SETTINGS_SECONDS = 5.0  # how long what was looked up is good for
IDLE_SECONDS = 2.0  # between looks at a queue that has nothing for us
ANSWER_SECONDS = 10.0  # for a settlement, and beyond the time that a pull may be held
GRACE_SECONDS = 0.5  # for a pull under way when the consumer stops
LEASE_MS_MIN = 1_000  # a lease of nothing would deliver the same messages for ever


class _Consumer(msgspec.Struct):
    type: str
    settings: dict[str, Any]


class _QueueSettings(msgspec.Struct):
    delivery_paused: bool = False


class _Queue(msgspec.Struct):
    queue_id: str
    queue_name: str
    consumers: list[_Consumer]
    settings: _QueueSettings


class _PulledMessage(msgspec.Struct):
    id: str
    lease_id: str
    attempts: int
    timestamp_ms: int
    body: str
    metadata: dict[str, str]
    priority: str = "normal"
    ordering_key: str | None = None
    headers: dict[str, str] | None = None


class _Pulled(msgspec.Struct):
    message_backlog_count: int
    messages: list[_PulledMessage]


class _Settled(msgspec.Struct):
    warnings: dict[str, str]


class RemoteFeed:
    """Receives by pulls that wait, settles by acks that are confirmed. Give it calls that are made once only."""

    confirms_first = True
    longest_pause_seconds = 15.0
    failed_event = "server.unreachable"

    def __init__(self, calls: AsyncCalls, queue: str) -> None:
        self._calls, self.queue = calls, queue
        self.account_id = ""
        self.lease_ms = limits.PUSH_LEASE_MS
        self._queue_id = ""
        self._settings: ConsumerSettings | None = None
        self._look_up_at = 0.0
        self._stopping = asyncio.Event()

    async def settings(self) -> ConsumerSettings | None:
        """Give the consumer's settings, looked up again after five seconds, or when a call says they changed."""
        if monotonic() >= self._look_up_at:
            self._settings = await self._look_up()
            self._look_up_at = monotonic() + (SETTINGS_SECONDS if self._settings else 0)
        return self._settings

    async def receive(self, settings: ConsumerSettings) -> Taken:
        """Take a batch, which the server holds back until there is one, up to 20 seconds."""
        body = {
            "batch_size": settings.batch_size,
            "visibility_timeout_ms": self.lease_ms,
            "wait_seconds": limits.PULL_WAIT_SECONDS,
            "worker": True,
        }
        call = self._call("pull", body, _Pulled, timeout=limits.PULL_WAIT_SECONDS + ANSWER_SECONDS)
        began = monotonic()
        try:
            pulled = await self._unless_stopped(call)
        except (DeliveryPaused, PullNotEnabled, QueueNotFound):
            self._look_up_at = 0
            pulled = None
        if pulled is None or not pulled.messages:
            if monotonic() - began < IDLE_SECONDS:  # a server that does not hold it back must not be asked at once
                self._look_up_at = 0
            return Taken([])
        # The count that a server shows has the messages of this batch in it, as the one of a store has.
        return Taken([_message(given) for given in pulled.messages], Backlog(pulled.message_backlog_count, 0, 0))

    async def wait(self) -> None:
        """Wait a little where there is nothing to take; the server makes us wait everywhere else."""
        if self._look_up_at == 0 or self._settings is None:
            self._look_up_at = 0
            await at_most(IDLE_SECONDS, self._stopping)

    async def settle(self, outcomes: Sequence[tuple[Lease, Outcome]]) -> int:
        """Apply outcomes and have that confirmed."""
        settled = await self._call("ack", _ack_body(outcomes), _Settled, timeout=self._seconds_within_lease())
        return len(settled.warnings)

    async def extend(self, leases: Sequence[Lease]) -> None:
        """Let leases end later."""
        body = {"lease_ids": [str(lease) for lease in leases], "visibility_timeout_ms": self.lease_ms}
        await self._call("extend", body, dict[str, Any], timeout=self._seconds_within_lease())

    def wake(self) -> None:
        """Do nothing: nobody waits while there is something to take."""

    def stop(self) -> None:
        """Let go of the pull under way; the server gives back what it had for us."""
        self._stopping.set()

    async def _look_up(self) -> ConsumerSettings | None:
        envelope = await self._calls.v4("GET", "/queues", type=list[_Queue], params={"name": self.queue})
        found = next((queue for queue in envelope.result if queue.queue_name == self.queue), None)
        if found is None:
            raise QueueNotFound(f"queue {self.queue!r} does not exist")
        self.account_id, self._queue_id = await self._calls.account_id(), found.queue_id
        if not found.consumers or found.settings.delivery_paused:
            return None
        consumer = found.consumers[0]
        if consumer.type not in KINDS:
            return None
        self.lease_ms = limits.PUSH_LEASE_MS
        if consumer.type == "http_pull":
            self.lease_ms = max(LEASE_MS_MIN, consumer.settings.get("visibility_timeout_ms", self.lease_ms))
        return msgspec.convert(consumer.settings, ConsumerSettings)

    async def _call(self, verb: str, body: Mapping[str, Any], type: type[T], timeout: float | None = None) -> T:
        path = f"/queues/{quoted(self._queue_id)}/messages/{verb}"
        return (await self._calls.v4("POST", path, body, type=type, timeout=timeout)).result

    def _seconds_within_lease(self) -> float:
        """Give the time for an answer that leaves time for another try while the lease lasts."""
        return max(0.5, min(ANSWER_SECONDS, self.lease_ms / 3000))

    async def _unless_stopped(self, call: Coroutine[Any, Any, T]) -> T | None:
        """Let a call end by itself; once the consumer stops it has half a second left."""
        if self._stopping.is_set():
            call.close()
            return None
        calling = asyncio.ensure_future(call)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                await asyncio.wait({calling}, timeout=GRACE_SECONDS)
            return calling.result() if calling.done() else None
        finally:
            stopping.cancel()
            calling.cancel()


def _message(given: _PulledMessage) -> Message:
    lease = Lease.parse(given.lease_id)
    if lease is None:
        raise UnexpectedAnswer(f"lease_id {given.lease_id[:40]!r} is none of a Millrace server's")
    content_type = given.metadata.get("CF-Content-Type", "json")
    is_text = content_type == ContentType.TEXT
    return Message(
        id=given.id,
        lease=lease,
        attempts=given.attempts,
        failures=0,
        sent_at_ms=given.timestamp_ms,
        content_type=content_type,
        body=given.body.encode() if is_text else base64.b64decode(given.body),
        source=given.metadata.get("CF-sourceMessageSource", ""),
        headers=given.headers,
        priority=PRIORITIES[given.priority],
        ordering_key=given.ordering_key,
    )


def _ack_body(outcomes: Sequence[tuple[Lease, Outcome]]) -> dict[str, list[dict[str, Any]]]:
    body: dict[str, list[dict[str, Any]]] = {"acks": []}
    for lease, outcome in outcomes:
        entry: dict[str, Any] = {"lease_id": str(lease)}
        match outcome:
            case Ack():
                body["acks"].append(entry)
            case Retry(delay_seconds=delay_seconds, reason=reason):
                entry |= {"delay_seconds": delay_seconds} if delay_seconds is not None else {}
                entry |= {"reason": reason} if reason else {}
                body.setdefault("retries", []).append(entry)
            case Reject(reason=reason):
                body.setdefault("rejects", []).append(entry | {"reason": reason})
            case Postpone(delay_seconds=delay_seconds):
                body.setdefault("postpones", []).append(entry | {"delay_seconds": delay_seconds})
    return body
