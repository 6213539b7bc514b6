"""The queues of the accounts: made, changed, looked up. Messages are the broker's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from millrace.audit import Entry, entry_of
from millrace.clock import Clock
from millrace.consumer import Consumer, check_dead_letters, make_consumer
from millrace.errors import ConsumerExists, ConsumerNotFound, InvalidRequest, QueueNameTaken, QueueNotFound
from millrace.ids import NewId, NewSecret, new_id, new_push_secret
from millrace.names import check_queue_name
from millrace.queue import Queue, QueueSettings, change_queue_settings, check_backlog_limits, check_forwards
from millrace.store import Store


class Catalog:
    """Queues by account, with what was looked up kept in memory until it changes."""

    def __init__(
        self, store: Store, clock: Clock, new_id: NewId = new_id, new_secret: NewSecret = new_push_secret
    ) -> None:
        self._store, self._clock, self._new_id, self._new_secret = store, clock, new_id, new_secret
        self._known: dict[str, Queue] = {}
        self._generation = 0

    async def queue(self, account_id: str, queue_id: str) -> Queue:
        """Give a queue of the account.

        Raises:
            QueueNotFound: the account has none of that id.
        """
        queue = self._known.get(queue_id)
        if queue is None:
            generation = self._generation
            queue = await self._store.queue(account_id, queue_id)
            if generation == self._generation:  # else it may have changed while we read
                self._known[queue_id] = queue
        if queue.account_id != account_id:
            raise QueueNotFound(f"Queue {queue_id[:64]!r} does not exist.")
        return queue

    async def queue_named(self, account_id: str, name: str) -> Queue:
        """Give the account's queue of exactly that name.

        Raises:
            QueueNotFound: the account has none of that name.
        """
        queue = await self._store.queue_named(account_id, name)
        if queue is None:
            raise QueueNotFound(f"Queue {name[:64]!r} does not exist.")
        return queue

    async def queues(self, account_id: str, names: Sequence[str] = ()) -> list[Queue]:
        """Give the account's queues, oldest first; with names, only those that bear one exactly."""
        if names:
            found = [await self._store.queue_named(account_id, name) for name in dict.fromkeys(names)]
            return sorted((queue for queue in found if queue), key=lambda queue: (queue.created_at_ms, queue.id))
        return await self._store.queues(account_id)

    async def create(
        self,
        account_id: str,
        name: str,
        settings: Mapping[str, Any],
        *,
        jurisdiction: str | None = None,
        defaults: QueueSettings | None = None,
        consumer: Mapping[str, Any] | None = None,
    ) -> Queue:
        """Create a queue; `consumer` holds the arguments of `make_consumer`.

        Raises:
            InvalidQueueName: see `check_queue_name`.
            InvalidQueueSettings: a setting out of its range.
            InvalidConsumerSettings: one of the consumer's.
            QueueNameTaken: the account has a queue of that name.
        """
        now_ms = self._clock()
        made = change_queue_settings(defaults or QueueSettings(), settings)
        check_forwards(name, made.forwards)
        queue = Queue(
            id=self._new_id(),
            account_id=account_id,
            name=check_queue_name(name),
            created_at_ms=now_ms,
            modified_at_ms=now_ms,
            jurisdiction=jurisdiction,
            settings=made,
        )
        if consumer is not None:
            queue = msgspec.structs.replace(queue, consumer=self._make_consumer(queue, self._new_id(), consumer))
        return await self._store.create_queue(queue, self._entry(account_id, "queue.created"))

    async def ensure(
        self,
        account_id: str,
        name: str,
        defaults: QueueSettings | None = None,
        consumer: Mapping[str, Any] | None = None,
    ) -> Queue:
        """Give the account's queue of that name, created when it is missing, with its consumer if one is given."""
        queue = await self._store.queue_named(account_id, name)
        if queue is not None:
            return queue
        try:
            return await self.create(account_id, name, {}, defaults=defaults, consumer=consumer)
        except QueueNameTaken:  # somebody was quicker
            return await self.queue_named(account_id, name)

    async def change(
        self,
        account_id: str,
        queue_id: str,
        *,
        name: str | None = None,
        settings: Mapping[str, Any],
        replace: bool = False,
    ) -> Queue:
        """Rename a queue and change its settings; `replace` returns unnamed settings to their defaults, pause excepted.

        Raises:
            QueueNotFound, QueueNameTaken, InvalidQueueName, InvalidQueueSettings: as their names say.
        """
        if name is not None:
            check_queue_name(name)

        def changed(queue: Queue) -> Queue:
            if queue.consumer is not None and name is not None:
                check_dead_letters(name, queue.consumer.dead_letter_queue)
            present = _defaults_of(queue.settings) if replace else queue.settings
            made = change_queue_settings(present, settings)
            check_forwards(name or queue.name, made.forwards)
            return msgspec.structs.replace(
                queue,
                name=name or queue.name,
                modified_at_ms=self._clock(),
                settings=made,
            )

        return await self._update(account_id, queue_id, "queue.changed", changed)

    async def delete(self, account_id: str, queue_id: str) -> None:
        """Delete a queue with its messages, leases and consumer.

        Raises:
            QueueNotFound: the account has none of that id.
        """
        try:
            await self._store.delete_queue(account_id, queue_id, self._entry(account_id, "queue.deleted"))
        finally:  # whoever cancels us does not take the deletion back
            self.forget(queue_id)

    async def attach(self, account_id: str, queue_id: str, given: Mapping[str, Any]) -> Consumer:
        """Give the queue its consumer; `given` holds the arguments of `make_consumer`.

        Raises:
            ConsumerExists: it has one, of either type.
            InvalidRequest, InvalidConsumerSettings, QueueNotFound: as their names say.
        """

        def attached(queue: Queue) -> Queue:
            consumer = self._make_consumer(queue, self._new_id(), given)
            if queue.consumer is not None:
                raise ConsumerExists("workers.api.error.consumer_exists")
            return msgspec.structs.replace(queue, consumer=consumer, modified_at_ms=self._clock())

        return _consumer_of(await self._update(account_id, queue_id, "consumer.attached", attached))

    async def replace_consumer(
        self, account_id: str, queue_id: str, consumer_id: str, given: Mapping[str, Any]
    ) -> Consumer:
        """Replace the settings of the consumer; what is not given returns to its default.

        The secret stays, if none is given, and so does the note of which script attached it.

        Raises:
            ConsumerNotFound: the queue's consumer is not this one.
            InvalidRequest: it is of another type.
        """

        def replaced(queue: Queue) -> Queue:
            present = _consumer_of(queue, consumer_id)
            consumer = self._make_anew(queue, present, {"applied_by": present.applied_by, **given})
            if consumer.type != present.type:
                raise InvalidRequest(f"the consumer is of type {present.type}; to change its type, delete it first")
            return msgspec.structs.replace(queue, consumer=consumer, modified_at_ms=self._clock())

        return _consumer_of(await self._update(account_id, queue_id, "consumer.changed", replaced))

    async def set_consumer(self, account_id: str, queue_id: str, given: Mapping[str, Any]) -> None:
        """Give the queue this consumer in place of the one it may have.

        The id stays as long as the type does, and so does the secret, if none is given.
        """

        def set_to(queue: Queue) -> Queue:
            present = queue.consumer
            if present is not None and present.type == given["type"]:
                consumer = self._make_anew(queue, present, given)
            else:
                consumer = self._make_consumer(queue, self._new_id(), given)
            return msgspec.structs.replace(queue, consumer=consumer, modified_at_ms=self._clock())

        await self._update(account_id, queue_id, "consumer.changed", set_to)

    async def adjust_consumer(self, queue: Queue, consumer_id: str, settings: Mapping[str, Any]) -> None:
        """Change these settings of the consumer, checked ones, and leave the others and all else as they are.

        Raises:
            ConsumerNotFound: the queue's consumer is not this one any more.
        """

        def adjusted(queue: Queue) -> Queue:
            present = _consumer_of(queue, consumer_id)
            made = msgspec.structs.replace(present.settings, **settings)
            consumer = msgspec.structs.replace(present, settings=made)
            return msgspec.structs.replace(queue, consumer=consumer, modified_at_ms=self._clock())

        await self._update(queue.account_id, queue.id, "consumer.changed", adjusted)

    async def detach(self, account_id: str, queue_id: str, consumer_id: str) -> None:
        """Remove the consumer; messages stay, and leases run on.

        Raises:
            ConsumerNotFound: the queue's consumer is not this one.
        """

        def detached(queue: Queue) -> Queue:
            _consumer_of(queue, consumer_id)
            return msgspec.structs.replace(queue, consumer=None, modified_at_ms=self._clock())

        await self._update(account_id, queue_id, "consumer.detached", detached)

    async def add_producer(self, account_id: str, queue_id: str, script: str) -> Queue:
        """Note that a script produces into the queue."""
        return await self._update(account_id, queue_id, "producer.added", lambda queue: _with_producer(queue, script))

    async def remove_producer(self, account_id: str, queue_id: str, script: str) -> Queue:
        """Note that a script produces into the queue no more."""
        return await self._update(
            account_id, queue_id, "producer.removed", lambda queue: _without_producer(queue, script)
        )

    async def set_backlog_limits(
        self, account_id: str, queue_id: str, max_messages: int | None, max_bytes: int | None
    ) -> Queue:
        """Limit the backlog by messages and bytes; None lifts a limit.

        Raises:
            InvalidQueueSettings: a limit is negative.
        """
        check_backlog_limits(max_messages, max_bytes)

        def limited(queue: Queue) -> Queue:
            settings = msgspec.structs.replace(
                queue.settings, max_backlog_messages=max_messages, max_backlog_bytes=max_bytes
            )
            return msgspec.structs.replace(queue, settings=settings)

        return await self._update(account_id, queue_id, "queue.changed", limited)

    @property
    def generation(self) -> int:
        """A number that rises whenever something may have changed."""
        return self._generation

    def forget(self, queue_id: str | None = None) -> None:
        """Look a queue, or all of them, up anew next time."""
        self._generation += 1
        if queue_id is None:
            self._known.clear()
        else:
            self._known.pop(queue_id, None)

    async def _update(self, account_id: str, queue_id: str, act: str, change: Callable[[Queue], Queue]) -> Queue:
        try:
            return await self._store.update_queue(account_id, queue_id, change, self._entry(account_id, act))
        finally:  # whoever cancels us does not take the change back
            self.forget(queue_id)

    def _entry(self, account_id: str, act: str) -> Entry:
        return entry_of(account_id, self._clock(), act, "")  # the transaction knows the queue's name

    def _make_consumer(self, queue: Queue, consumer_id: str, given: Mapping[str, Any]) -> Consumer:
        return make_consumer(
            id=consumer_id, queue_name=queue.name, now_ms=self._clock(), new_secret=self._new_secret, **given
        )

    def _make_anew(self, queue: Queue, present: Consumer, given: Mapping[str, Any]) -> Consumer:
        """Make the consumer from what is given, with the id, the time and, as far as none is given, the old secret."""
        if given["type"] == present.type and given.get("secret") is None:
            given = {**given, "secret": present.secret}
        consumer = self._make_consumer(queue, present.id, given)
        return msgspec.structs.replace(consumer, created_at_ms=present.created_at_ms)


def _defaults_of(settings: QueueSettings) -> QueueSettings:
    """Reset what Cloudflare has, but for the pause; the rest is not its to reset."""
    fresh = QueueSettings()
    return msgspec.structs.replace(
        settings, delivery_delay=fresh.delivery_delay, message_retention_period=fresh.message_retention_period
    )


def _with_producer(queue: Queue, script: str) -> Queue:
    return msgspec.structs.replace(queue, producers=tuple(dict.fromkeys((*queue.producers, script))))


def _without_producer(queue: Queue, script: str) -> Queue:
    return msgspec.structs.replace(queue, producers=tuple(name for name in queue.producers if name != script))


def _consumer_of(queue: Queue, consumer_id: str | None = None) -> Consumer:
    consumer = queue.consumer
    if consumer is None or consumer_id not in (None, consumer.id):
        raise ConsumerNotFound(f"Consumer {(consumer_id or '')[:64]!r} does not exist on queue {queue.name!r}.")
    return consumer
