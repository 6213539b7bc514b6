"""Queues and their consumers, as an account's owner manages them."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from itertools import count
from types import NoneType
from typing import Any, Unpack

from millrace import limits
from millrace.client.answers import is_last
from millrace.client.async_calls import AsyncCalls
from millrace.client.async_lookup import AsyncLookup
from millrace.client.objects import (
    ConsumerObject,
    ConsumerSettings,
    Object,
    QueueObject,
    QueueSettings,
    Redriven,
    consumer_of,
    named,
    queue_of,
)
from millrace.client.refusals import missing
from millrace.client.wire import at_ms, given, several
from millrace.errors import ConsumerNotFound

REDRIVE_SECONDS = 900  # all messages of a queue are moved before it answers


class AsyncQueues:
    """What a client can do with queues and consumers."""

    def __init__(self, calls: AsyncCalls, lookup: AsyncLookup) -> None:
        self._calls, self._lookup = calls, lookup

    async def queues(self) -> AsyncIterator[QueueObject]:
        """Go through the queues, oldest first; a page is asked for when its first queue is wanted."""
        seen = 0
        for page in count(1):
            params = {"page": page, "per_page": limits.QUEUES_PER_PAGE}
            answer = await self._calls.v4("GET", "/queues", type=list[Object], params=params)
            for row in answer.result:
                yield queue_of(row)
            seen += len(answer.result)
            if is_last(answer, seen, page):
                return

    async def queue(self, queue: str) -> QueueObject:
        """Show a queue.

        Raises:
            QueueNotFound: there is none of this name or id.
        """
        return await self._lookup.queue(queue)

    async def create_queue(
        self, name: str, *, jurisdiction: str | None = None, **settings: Unpack[QueueSettings]
    ) -> QueueObject:
        """Create a queue; a setting that is not given has the server's default.

        Raises:
            QueueNameTaken, InvalidQueueName, InvalidQueueSettings: it is not created.
        """
        body = {"queue_name": name, **given(jurisdiction=jurisdiction, settings=named(settings, QueueSettings) or None)}
        created = (await self._calls.v4("POST", "/queues", body, type=Object, once=True)).result
        self._lookup.forget()
        return queue_of(created)

    async def change_queue(
        self, queue: str, *, name: str | None = None, **settings: Unpack[QueueSettings]
    ) -> QueueObject:
        """Rename a queue, or change the settings that are given, or both."""
        body = given(queue_name=name, settings=named(settings, QueueSettings) or None)
        changed = await self._lookup.manage("PATCH", queue, "", body, type=Object)
        if name is not None:
            self._lookup.forget()
        return queue_of(changed)

    async def delete_queue(self, queue: str) -> None:
        """Delete a queue with its messages and its consumer."""
        await self._lookup.manage("DELETE", queue, type=NoneType)
        self._lookup.forget()

    async def pause(self, queue: str) -> QueueObject:
        """Have nothing delivered until `resume`."""
        return await self.change_queue(queue, delivery_paused=True)

    async def resume(self, queue: str) -> QueueObject:
        """Have messages delivered again."""
        return await self.change_queue(queue, delivery_paused=False)

    async def purge(self, queue: str) -> QueueObject:
        """Delete all messages of a queue for good."""
        body = {"delete_messages_permanently": True}
        return queue_of(await self._lookup.manage("POST", queue, "/purge", body, type=Object))

    async def redrive(
        self,
        queue: str,
        *,
        reason: str | None = None,
        origin: str | None = None,
        sent_after: datetime | None = None,
        sent_before: datetime | None = None,
        ids: Iterable[str] | None = None,
        limit: int | None = None,
        per_second: float | None = None,
    ) -> int:
        """Move dead letters back to the queues they came from; give how many. Cloudflare has no such call.

        Args:
            queue: Where they were buried.
            reason: Only those whose reason has this text in it.
            origin: Only those that came from the queue of this name.
            sent_after: Only those that were first sent then or later; it has a time zone, as the next.
            sent_before: Only those that were first sent earlier.
            ids: Only these messages.
            limit: At most so many.
            per_second: Let so many become ready in each second, instead of all at once.
        """
        words = given(reason=reason, origin=origin, ids=None if ids is None else list(several("ids", ids)))
        body = words | given(
            sent_after=None if sent_after is None else at_ms("sent_after", sent_after),
            sent_before=None if sent_before is None else at_ms("sent_before", sent_before),
            limit=limit,
            per_second=per_second,
        )
        more: dict[str, Any] = {"timeout": REDRIVE_SECONDS, "once": True}
        return (await self._lookup.manage("POST", queue, "/redrive", body or None, type=Redriven, **more)).redriven

    async def consumer(self, queue: str) -> ConsumerObject | None:
        """Show a queue's consumer, if it has one."""
        found = await self._lookup.manage("GET", queue, "/consumers", type=list[Object])
        return consumer_of(found[0]) if found else None

    async def create_consumer(
        self,
        queue: str,
        *,
        type: str,
        script_name: str | None = None,
        url: str | None = None,
        secret: str | None = None,
        dead_letter_queue: str | None = None,
        **settings: Unpack[ConsumerSettings],
    ) -> ConsumerObject:
        """Give a queue its consumer.

        Args:
            queue: The queue whose messages it takes.
            type: worker (with script_name), http_pull, or http_push (with url, perhaps secret), which is ours.
            script_name: Whose handler is called.
            url: Where batches are posted to.
            secret: What they are signed with; the server makes one when none is given, and shows it this once.
            dead_letter_queue: The name of the queue for what could not be handled.
            settings: What is not given has the server's default.

        Raises:
            ConsumerExists: a queue has at most one.
            InvalidConsumerSettings: a setting is out of range.
        """
        words = given(script_name=script_name, url=url, secret=secret, dead_letter_queue=dead_letter_queue)
        body = {"type": type, **words, **given(settings=named(settings, ConsumerSettings) or None)}
        return consumer_of(await self._lookup.manage("POST", queue, "/consumers", body, type=Object, once=True))

    async def replace_consumer(
        self,
        queue: str,
        *,
        type: str,
        script_name: str | None = None,
        url: str | None = None,
        secret: str | None = None,
        dead_letter_queue: str | None = None,
        **settings: Unpack[ConsumerSettings],
    ) -> ConsumerObject:
        """Set all of a queue's consumer anew, as `create_consumer` does; what is not given has its default again.

        Raises:
            ConsumerNotFound: the queue has none.
        """
        words = given(script_name=script_name, url=url, secret=secret, dead_letter_queue=dead_letter_queue)
        body = {"type": type, **words, **given(settings=named(settings, ConsumerSettings) or None)}
        path = await self._consumer_path(queue)
        return consumer_of(await self._lookup.manage("PUT", queue, path, body, type=Object))

    async def delete_consumer(self, queue: str) -> None:
        """Take a queue's consumer away; its messages stay.

        Raises:
            ConsumerNotFound: the queue has none.
        """
        await self._lookup.manage("DELETE", queue, await self._consumer_path(queue), type=NoneType)

    async def _consumer_path(self, queue: str) -> str:
        consumer = await self.consumer(queue)
        if consumer is None:
            raise missing(ConsumerNotFound(f"queue {queue!r} has no consumer"), 11005)
        return f"/consumers/{consumer['consumer_id']}"
