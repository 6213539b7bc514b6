# Generated from src/millrace/client/async_lookup.py by scripts/sync_client.py; do not edit.
"""Queues by name or id: looked up once, and anew when a server no longer knows them."""

from typing import Any, TypeVar

from millrace.client.objects import Object, QueueObject, queue_of
from millrace.client.sync_calls import Calls
from millrace.client.wire import is_id
from millrace.errors import QueueNotFound

T = TypeVar("T")


class Lookup:
    """Which id a queue's name stands for, as far as one client knows."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._ids: dict[str, str] = {}

    def queue(self, queue: str) -> QueueObject:
        """Show a queue as it is now.

        Raises:
            QueueNotFound: there is none of this name or id.
        """
        rows = (self._calls.v4("GET", "/queues", type=list[Object], params={"name": queue})).result
        for row in map(queue_of, rows):
            if row["queue_name"] == queue:
                return row
        if not is_id(queue):
            raise QueueNotFound(f"queue {queue!r} does not exist")
        return queue_of((self._calls.v4("GET", f"/queues/{queue}", type=Object)).result)

    def call(self, method: str, queue: str, path: str = "", body: object = None, *, type: type[T], **more: Any) -> T:
        """Call a route below a queue and give its result; once more with a new id when the known one is gone."""
        known = self._ids.get(queue)
        if known is None:
            return self._call(method, self._look_up(queue), path, body, type=type, **more)
        try:
            return self._call(method, known, path, body, type=type, **more)
        except QueueNotFound:
            self.forget(queue)
            if self._look_up(queue) == known:
                raise
        return self._call(method, self._ids[queue], path, body, type=type, **more)

    def forget(self, queue: str) -> None:
        """Look this queue up again before its next call."""
        self._ids.pop(queue, None)

    def _look_up(self, queue: str) -> str:
        self._ids[queue] = (self.queue(queue))["queue_id"]
        return self._ids[queue]

    def _call(self, method: str, queue_id: str, path: str, body: object, *, type: type[T], **more: Any) -> T:
        return (self._calls.v4(method, f"/queues/{queue_id}{path}", body, type=type, **more)).result
