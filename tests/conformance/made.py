"""Queues and messages for the conformance tests, with defaults for what a test does not talk about."""

from itertools import count
from typing import Any

from millrace.consumer import Consumer, ConsumerSettings
from millrace.message import Features, Message, Stamped
from millrace.placing import places_of
from millrace.queue import Queue, QueueSettings
from millrace.settlement import Ack, Outcome, Retry
from millrace.store import Received

numbers = count(1)


def queue(
    name: str = "q",
    *,
    max_retries: int = 3,
    retry_delay: int = 0,
    dead_letter_queue: str | None = None,
    consumer: bool = True,
    account_id: str = "acc",
    taking: dict[str, Any] | None = None,
    **settings: Any,
) -> Queue:
    """Make a queue; `taking` are further settings of its consumer."""
    return Queue(
        id=f"{next(numbers):032x}",
        account_id=account_id,
        name=name,
        created_at_ms=next(numbers),
        modified_at_ms=0,
        settings=QueueSettings(**settings),
        consumer=Consumer(
            id=f"{next(numbers):032x}",
            type="http_pull",
            created_at_ms=0,
            dead_letter_queue=dead_letter_queue,
            settings=ConsumerSettings(max_retries=max_retries, retry_delay=retry_delay, **taking or {}),
        )
        if consumer
        else None,
    )


def stamped(
    now_ms: int, body: bytes = b"1", delay_seconds: float = 0, headers: dict[str, str] | None = None, **features: Any
) -> Stamped:
    return Stamped(
        id=f"{next(numbers):032x}",
        body=body,
        content_type="json",
        sent_at_ms=now_ms,
        visible_at_ms=now_ms + round(delay_seconds * 1000),
        source="http",
        headers=headers,
        features=Features(**features),
    )


class Bench:
    """A store, a clock and one queue: what most promises need."""

    def __init__(self, store: Any, clock: Any, made: Queue) -> None:
        self.store, self.clock, self.queue = store, clock, made

    @classmethod
    async def set_up(cls, store: Any, clock: Any, **settings: Any) -> "Bench":
        made = queue(**settings)
        await store.create_queue(made)
        return cls(store, clock, made)

    async def send(self, *bodies: bytes, delay_seconds: float = 0) -> list[str]:
        messages = [stamped(self.clock(), body, delay_seconds) for body in bodies or (b"1",)]
        await self.store.send(self.queue.id, messages)
        return [message.id for message in messages]

    async def put(self, *bodies: bytes, delay_seconds: float = 0, **features: Any) -> list[tuple[int, str]]:
        """Send messages that have features in common, and give the key and the id of each."""
        messages = [stamped(self.clock(), body, delay_seconds, **features) for body in bodies]
        backlog = await self.store.send(self.queue.id, messages)
        return [(place.key, place.id) for place in places_of(messages, backlog)]

    async def bodies(self, limit: int = 10) -> list[bytes]:
        """Receive, and give what was received."""
        return [message.body for message in await self.receive(limit)]

    async def receive(self, limit: int = 10, lease_seconds: float = 30) -> list[Message]:
        return (await self.take(limit, lease_seconds)).messages

    async def take(self, limit: int = 10, lease_seconds: float = 30, is_ready: Any = None) -> Received:
        return await self.store.receive(self.queue.id, limit, round(lease_seconds * 1000), self.clock(), is_ready)

    async def settle(self, message: Message, outcome: Outcome) -> Any:
        return (await self.store.settle(self.queue.id, [(message.lease, outcome)], self.clock()))[0]

    async def ack(self, message: Message) -> Any:
        return await self.settle(message, Ack())

    async def retry(self, message: Message, delay_seconds: float | None = None) -> Any:
        return await self.settle(message, Retry(delay_seconds))

    async def count(self) -> int:
        return (await self.store.backlog(self.queue.id)).count

    async def of(self, name: str) -> "Bench":
        """The same for another queue of the account."""
        found = await self.store.queue_named(self.queue.account_id, name)
        assert found is not None, name
        return Bench(self.store, self.clock, found)
