"""Messages of a queue at one server, sent on to another, while both are in use."""

import asyncio
from collections.abc import Callable

import msgspec

from millrace.agent.idle import Idle
from millrace.agent.loop import is_set_within
from millrace.client.deliveries import Delivery
from millrace.client.synchronous import Client
from millrace.edge_jobs.client import EdgeJobClient
from millrace.errors import Conflict, Forbidden, InvalidInput, MillraceError, TooLarge, Unauthenticated
from millrace.telemetry import Telemetry

BATCH_SIZE = 50
LEASE_MS = 120_000  # longer than a client tries to send on one message
REFUSED_SECONDS = 300
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Deliver = Callable[[Delivery], object]


class Bridge:
    """Takes messages from a queue and has them delivered elsewhere; acknowledges those that are safe there.

    Args:
        source: The server that has the queue.
        queue: Its name or id; its consumer is of type http_pull.
        deliver: Sends a message on. It may be asked twice for one, which has the same id then.
        telemetry: Is told what happens.
    """

    def __init__(self, source: Client, queue: str, deliver: Deliver, telemetry: Telemetry) -> None:
        self._source, self._queue, self._deliver, self._telemetry = source, queue, deliver, telemetry

    async def run(self, stopping: asyncio.Event) -> None:
        """Send on until the event.

        Raises:
            Unauthenticated, Forbidden: one of the servers refuses the key.
        """
        idle = Idle()
        while not stopping.is_set():
            if await self._step():
                idle.reset()
            else:
                await is_set_within(stopping, idle.next_seconds())

    async def _step(self) -> int:
        """Send on once; give how many messages were there. A server that is away is tried again."""
        try:
            return await asyncio.to_thread(self.forward)
        except (Unauthenticated, Forbidden):
            raise
        except MillraceError as error:
            self._telemetry.emit("server.unreachable", doing="bridge", reason=str(error))
            return 0

    def forward(self) -> int:
        """Send on what one pull gives; give how many messages that were. What is refused waits there five minutes.

        Raises:
            MillraceError: one of the servers is away or keeps us out; what was not acknowledged comes again.
        """
        deliveries = self._source.receive(self._queue, BATCH_SIZE, LEASE_MS)
        safe = [delivery for delivery in deliveries if self._is_safe(delivery)]
        refused = [delivery for delivery in deliveries if delivery not in safe]
        if deliveries:
            self._source.settle(self._queue, safe, refused, delay_seconds=REFUSED_SECONDS)
            self._telemetry.emit("bridge.forwarded", queue=self._queue, count=len(safe))
        return len(deliveries)

    def _is_safe(self, delivery: Delivery) -> bool:
        try:
            self._deliver(delivery)
        except (*UNREADABLE, InvalidInput, TooLarge, Conflict) as error:
            self._telemetry.emit("bridge.refused", queue=self._queue, id=delivery.id, reason=str(error))
            return False
        return True


def as_job(here: EdgeJobClient) -> Deliver:
    """Make a function that adds the job of a message; the message's id is the job's idempotency key."""

    def add(delivery: Delivery) -> None:
        body = _read(delivery.body)
        here.enqueue(body.run_id, body.tenant_id, body.r2_key, delivery.id)

    return add


def as_message(target: Client, queue: str) -> Deliver:
    """Make a function that sends a message as it is; its id is the idempotency key, which Cloudflare ignores."""

    def send(delivery: Delivery) -> None:
        target.send(queue, delivery.body, delivery.content_type, idempotency_key=delivery.id)

    return send


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    run_id: str
    tenant_id: str
    r2_key: str


def _read(body: object) -> _Body:
    """Read a job, also one that was sent as text."""
    return msgspec.json.decode(body, type=_Body) if isinstance(body, str | bytes) else msgspec.convert(body, _Body)
