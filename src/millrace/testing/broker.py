"""The broker of a test: the rules and the database of a server, without a server, and a clock that stands still."""

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, Unpack

from millrace.bindings import Env, SendOptions, make_outgoing, read_outgoing
from millrace.cli.handlers import load_handlers
from millrace.errors import ConfigurationError, QueueNotFound
from millrace.handlers import Handler
from millrace.message import Backlog
from millrace.platform import App, Platform, QueueNeed
from millrace.queue import Queue
from millrace.testing.blocking import BlockingBroker
from millrace.testing.clock import ManualClock
from millrace.testing.looking import Waiting, look
from millrace.testing.rooms import Rooms, open_rooms
from millrace.testing.sent import SentRecord
from millrace.testing.setup import ACCOUNT, Setup
from millrace.testing.tally import Report
from millrace.wrangler.file import WranglerFile
from millrace.wrangler.reading import read_wrangler

MAX_DELIVERIES = 10_000
LIMIT_SECONDS = 30 * 86_400
HANDLER_SECONDS = 60


class MemoryBroker:
    """Queues, consumers and handlers for a test: `async with` it, or `with` it in a test that is not async.

    Nothing is delivered until the test says so, and nothing waits: time is `clock`. Ids are counted from 1.

    Args:
        handlers: By queue name, as in an App. Their queues are made with the consumer that `serve --app` gives them.
        queues: More queues, by name.
        consumers: Settings by queue name, in the API's spelling: `{"orders": {"max_retries": 1,
            "dead_letter_queue": "dead"}}`.
        bindings: Queue names by binding name. Without it any name in capitals is one: INVOICES of `invoices`.
        variables: Plain variables of `env`.
        clock: The clock, if it is not to be a new one.
        handler_seconds: How long a handler may take with one batch, by the machine's clock.
        file: A wrangler file that was read; its handlers are not loaded.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler] | None = None,
        *,
        queues: Iterable[str | QueueNeed] = (),
        consumers: Mapping[str, Mapping[str, Any]] | None = None,
        bindings: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
        clock: ManualClock | None = None,
        handler_seconds: float = HANDLER_SECONDS,
        file: WranglerFile | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self._setup = Setup(
            handlers=handlers or {},
            queues=tuple(QueueNeed(name=need) if isinstance(need, str) else need for need in queues),
            consumers=consumers or {},
            bindings=bindings,
            variables=variables or {},
            handler_seconds=handler_seconds,
            file=file,
        )
        self._record = SentRecord()
        self.sent = self._record.sent
        self.assert_sent = self._record.assert_sent
        self.assert_nothing_sent = self._record.assert_nothing_sent
        self._closing = AsyncExitStack()
        self._open: Rooms | None = None

    @classmethod
    def of(cls, app: App, *, handlers: Mapping[str, Handler] | None = None, **more: Any) -> Self:
        """Make the broker of a program; `handlers` stand in for some of its own."""
        queues = (*app.queues, *more.pop("queues", ()))
        return cls({**app.handlers, **(handlers or {})}, queues=queues, **more)

    @classmethod
    def from_wrangler(
        cls,
        path: str | Path,
        environment: str | None = None,
        *,
        handlers: Mapping[str, Handler] | None = None,
        bindings: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Self:
        """Make the broker of a wrangler file with the handlers that it names, which run in this process.

        What is given stands in for what the file says.

        Raises:
            ConfigurationError: the file is wrong, or a handler cannot be imported.
        """
        file = read_wrangler(Path(path), environment)
        named = {producer.binding: producer.queue for producer in file.producers}
        return cls(
            {**load_handlers(file), **(handlers or {})},
            bindings={**named, **(bindings or {})},
            variables={**file.variables, **(variables or {})},
            file=file,
            **more,
        )

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise ConfigurationError("this broker is open already; make another one")
        self._record.clear()
        self._open = await self._closing.enter_async_context(open_rooms(self._setup, self.clock, self._record))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = None
        await self._closing.aclose()

    def __enter__(self) -> BlockingBroker:
        self._blocking = BlockingBroker(self)
        return self._blocking.__enter__()

    def __exit__(self, *raised: object) -> None:
        self._blocking.__exit__(*raised)

    @property
    def env(self) -> Env:
        """What handlers get as `env`."""
        return self._rooms.env

    @property
    def platform(self) -> Platform:
        """Catalog, broker and store below, for what has no verb here; the account is `local`."""
        return self._rooms.platform

    async def send(
        self,
        queue: str,
        body: object,
        *,
        content_type: str = "json",
        delay_seconds: float | None = None,
        **options: Unpack[SendOptions],
    ) -> str:
        """Send one message as `env.NAME.send` does, and give its id.

        Raises:
            QueueNotFound: no such queue here.
            InvalidMessage, MessageTooLarge, BacklogFull: as in a server.
        """
        message = make_outgoing(body, content_type, delay_seconds, **options)
        return (await self.platform.broker.send(await self._queue(queue), message)).id

    async def send_batch(
        self, queue: str, messages: Iterable[Mapping[str, Any]], *, delay_seconds: float | None = None
    ) -> Backlog:
        """Send 1 to 100 messages, all or none, each a mapping as `env.NAME.send_batch` takes it."""
        outgoing = [read_outgoing(message) for message in messages]
        return await self.platform.broker.send_batch(await self._queue(queue), outgoing, delay_seconds=delay_seconds)

    async def messages(self, queue: str) -> list[Waiting]:
        """Give the messages in a queue, oldest first, ready or delayed."""
        return await look(self.platform.store, self.platform.catalog, await self._queue(queue), self.clock())

    async def backlog(self, queue: str) -> Backlog:
        """Count the messages in a queue, ready or delayed."""
        await self._rooms.deliveries.sweep()
        return await self.platform.broker.backlog(await self._queue(queue))

    async def dead_letters(self, queue: str) -> list[Waiting]:
        """Give what was buried out of a queue and still lies in its dead-letter queue, oldest first.

        Raises:
            ConfigurationError: the queue has no dead-letter queue.
        """
        consumer = (await self._queue(queue)).consumer
        if consumer is None or consumer.dead_letter_queue is None:
            raise ConfigurationError(f"queue {queue!r} has no dead-letter queue; name one in consumers")
        return [message for message in await self.messages(consumer.dead_letter_queue) if message.origin == queue]

    async def drain(self, *queues: str, raise_errors: bool = True, max_deliveries: int = MAX_DELIVERIES) -> Report:
        """Deliver what is ready at the present time, in full batches and the rest, until nothing is.

        All queues with handlers take turns, unless some are named. What the handlers send is delivered, too, and what
        comes back without a delay.

        Raises:
            ExceptionGroup: a handler raised something else than PermanentError or RetryLater. Its batch is settled;
                what comes after it is not delivered. With `raise_errors=False` the report has the errors instead.
            NeverIdle: more than `max_deliveries` were made.
            ConfigurationError: a queue that is named has no handler.
        """
        __tracebackhide__ = True
        return await self._rooms.deliveries.drain(queues, max_deliveries, raise_errors=raise_errors)

    async def run_until_idle(
        self,
        *queues: str,
        limit_seconds: float = LIMIT_SECONDS,
        max_deliveries: int = MAX_DELIVERIES,
        raise_errors: bool = True,
    ) -> Report:
        """Drain, move the clock on to when the next message is due, and so on until the handlers have had all.

        Raises:
            NeverIdle: there is more to come after `limit_seconds` of the clock, or more than `max_deliveries` were made.
            ExceptionGroup, ConfigurationError: as `drain` does.
        """
        __tracebackhide__ = True
        deliveries = self._rooms.deliveries
        return await deliveries.run_until_idle(queues, limit_seconds, max_deliveries, raise_errors=raise_errors)

    @property
    def _rooms(self) -> Rooms:
        if self._open is None:
            raise ConfigurationError("this broker is not open; use `async with MemoryBroker(…) as broker`, or `with`")
        return self._open

    async def _queue(self, name: str) -> Queue:
        catalog = self.platform.catalog
        try:
            return await catalog.queue_named(ACCOUNT, name)
        except QueueNotFound:
            known = ", ".join(queue.name for queue in await catalog.queues(ACCOUNT)) or "none"
            raise QueueNotFound(f"there is no queue {name!r}; there are: {known}") from None
