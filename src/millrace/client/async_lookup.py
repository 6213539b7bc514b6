"""Queues by name or id: looked up for each act of management, and every few seconds for messages."""

from time import monotonic
from typing import Any, TypeVar

from millrace.client.answers import read_envelope
from millrace.client.async_calls import AsyncCalls
from millrace.client.objects import Object, QueueObject, queue_of
from millrace.client.refusals import missing
from millrace.client.wire import is_id
from millrace.errors import QueueNotFound

T = TypeVar("T")

KNOWN_SECONDS = 5.0  # somebody else may rename a queue, and give its name to another


class AsyncLookup:
    """Which id a queue's name stands for, as far as one client knows."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._ids: dict[str, tuple[str, float]] = {}

    async def queue(self, queue: str) -> QueueObject:
        """Show a queue as it is now.

        Raises:
            QueueNotFound: there is none of this name or id.
        """
        answer = await self._calls.below_account("GET", "/queues", params={"name": queue})
        for row in map(queue_of, read_envelope(answer, list[Object]).result):
            if row["queue_name"] == queue:
                return row
        if not is_id(queue):
            raise missing(QueueNotFound(f"queue {queue!r} does not exist"), 11000, answer.correlation_id)
        return queue_of((await self._calls.v4("GET", f"/queues/{queue}", type=Object)).result)

    async def call(
        self, method: str, queue: str, path: str = "", body: object = None, *, type: type[T], **more: Any
    ) -> T:
        """Call a route of messages and give its result; once more with a new id when the known one is gone."""
        known, known_until = self._ids.get(queue, ("", 0.0))
        if monotonic() >= known_until:
            return await self._call(method, await self._look_up(queue), path, body, type=type, **more)
        try:
            return await self._call(method, known, path, body, type=type, **more)
        except QueueNotFound:
            present = await self._look_up(queue)
            if present == known:
                raise
        return await self._call(method, present, path, body, type=type, **more)

    async def manage(
        self, method: str, queue: str, path: str = "", body: object = None, *, type: type[T], **more: Any
    ) -> T:
        """Call a route of queues and consumers: for the queue that has the name now, and no other."""
        return await self._call(method, await self._look_up(queue), path, body, type=type, **more)

    def forget(self) -> None:
        """Look every queue up again before its next call: names have changed hands."""
        self._ids.clear()

    async def _look_up(self, queue: str) -> str:
        queue_id = (await self.queue(queue))["queue_id"]
        self._ids[queue] = (queue_id, monotonic() + KNOWN_SECONDS)
        return queue_id

    async def _call(self, method: str, queue_id: str, path: str, body: object, *, type: type[T], **more: Any) -> T:
        return (await self._calls.v4(method, f"/queues/{queue_id}{path}", body, type=type, **more)).result
