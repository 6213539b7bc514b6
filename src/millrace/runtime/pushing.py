"""Consumers of type http_push, wherever they are: each gets a loop of ours as soon as it is there."""

from collections.abc import Callable

from millrace.catalog import Catalog
from millrace.queue import Queue
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.runner import Runner
from millrace.store import Store


class Pushing:
    """Runs a consumer for each queue that is pushed to a URL; `make` makes it."""

    def __init__(self, store: Store, catalog: Catalog, runner: Runner, make: Callable[[Queue], QueueConsumer]) -> None:
        self._store, self._catalog, self._runner, self._make = store, catalog, runner, make
        self._running: dict[tuple[str, str], QueueConsumer] = {}
        self._seen: int | None = None

    async def follow(self) -> None:
        """Start and stop consumers after what has changed since the last call; nothing is read if nothing has."""
        generation = self._catalog.generation
        if generation == self._seen:
            return
        wanted = {(queue.id, queue.name): queue for queue in await self._store.pushed_queues()}
        for key in self._running.keys() - wanted.keys():
            self._running.pop(key).stop()
        for key in wanted.keys() - self._running.keys():
            self._running[key] = consumer = self._make(wanted[key])
            self._runner.add(consumer)
        self._seen = generation
