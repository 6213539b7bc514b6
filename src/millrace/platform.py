"""What an application is given (Platform), and what it gives back (App). Applications are values."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import msgspec

from millrace.alerting.measuring import FailureRate
from millrace.alerting.notices import Tell
from millrace.bindings import Count, Env, QueueBinding, Send
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.clock import Clock
from millrace.consumer import make_consumer_settings
from millrace.dashboard.pages import Page
from millrace.errors import ConsumerNotFound
from millrace.handlers import Handler
from millrace.handlers.workflow import WorkflowFunction
from millrace.handlers.workflow_binding import WorkflowBinding
from millrace.http.routes import Admit, Route, Socket
from millrace.message import Backlog, Outgoing
from millrace.queue import Queue, QueueSettings
from millrace.resources.outbound import Outbound
from millrace.store import Store
from millrace.telemetry import Telemetry
from millrace.views import View
from millrace.work import Work, write
from millrace.workflows.binding import workflow_ask

T = TypeVar("T")


class QueueNeed(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that an application wants to find: made when it is missing, and left alone afterwards.

    `consumer` holds the arguments of `millrace.consumer.make_consumer`. `follows` names settings of it that are
    changed afterwards, too, as long as the consumer is the application's own: those that the server's settings decide.
    """

    name: str
    settings: QueueSettings = QueueSettings()
    consumer: Mapping[str, Any] | None = None
    follows: tuple[str, ...] = ()


class Cron(msgspec.Struct, frozen=True, kw_only=True):
    """What an application does again and again: `act(platform, account_id)` whenever the expression is due, in UTC.

    An empty expression follows the crons of the wrangler file, as far as the file has no handler for them. Each run is
    a message in the queue `crons-<name>`, so a run that raises is tried again, and buried in the end.
    """

    name: str
    expression: str
    act: Callable[["Platform", str], Awaitable[None]]


class App(msgspec.Struct, frozen=True, kw_only=True):
    """A program for Millrace: its queues, its handlers by queue name, its workflows by name, its routes, its pages.

    `admissions` are an application's own ways of letting callers in, by the first segment of the path; a tenant's keys
    get to these paths, and no others. `signed` let in callers without a key, by a signature in the URL. Alert rules may ask for the `failure_rates` of its queues, and for its ways of telling somebody, by their names: `notices`.
    """

    handlers: Mapping[str, Handler] = {}
    workflows: Mapping[str, WorkflowFunction] = {}
    queues: tuple[QueueNeed, ...] = ()
    routes: tuple[Route, ...] = ()
    sockets: tuple[Socket, ...] = ()
    admissions: Mapping[str, Admit] = {}
    signed: tuple[Admit, ...] = ()
    crons: tuple[Cron, ...] = ()
    views: tuple[View, ...] = ()
    sweeps: tuple[
        Callable[["Platform", str], Awaitable[None]], ...
    ] = ()  # once a minute for each account, by one server
    close: Callable[[], Awaitable[None]] | None = None  # called when the server has stopped
    pages: tuple[Page, ...] = ()
    failure_rates: Mapping[str, FailureRate] = {}
    notices: Mapping[str, Tell] = {}


class Platform(NamedTuple):
    """The rooms that an application may use."""

    store: Store
    catalog: Catalog
    broker: Broker
    telemetry: Telemetry
    clock: Clock
    outbound: Outbound

    async def write(self, fn: Callable[[Work], T]) -> T:
        """Run `fn(work)` in a transaction of its own; its result is given once it is on disk.

        What `fn` raises undoes all of it. It may run twice, and must not wait.

        Raises:
            StoreUnavailable: it could not be committed; nothing was changed.
        """
        return await write(self.store, self.clock, self.telemetry, fn)

    async def read(self, fn: Callable[[Work], T]) -> T:
        """Run `fn(work)` that only reads."""
        return await self.store.read(lambda tx: fn(Work(tx, self.clock)))

    def env(self, account_id: str, bindings: Mapping[str, str], variables: Mapping[str, Any] | None = None) -> Env:
        """Make bindings (name to queue name) of an account, beside plain variables."""
        queues = {
            name: QueueBinding(self._sender(account_id, queue), self._counter(account_id, queue))
            for name, queue in bindings.items()
        }
        return Env({**(variables or {}), **queues})

    def workflow(self, account_id: str, name: str) -> WorkflowBinding:
        """Make the binding of an account's workflow; `millrace.workflows.instances.create` does it in a transaction."""
        return WorkflowBinding(workflow_ask(self, account_id, name))

    def sends(self, account_id: str, bindings: Mapping[str, str]) -> dict[str, Send]:
        """Make the ways that the messages of bindings (name to queue name) take, for handlers elsewhere."""
        return {name: self._sender(account_id, queue) for name, queue in bindings.items()}

    def counts(self, account_id: str, bindings: Mapping[str, str]) -> dict[str, Count]:
        """Make the counting of their backlogs, likewise."""
        return {name: self._counter(account_id, queue) for name, queue in bindings.items()}

    def _counter(self, account_id: str, queue_name: str) -> Count:
        async def count() -> Backlog:
            return await self.broker.backlog(await self.catalog.queue_named(account_id, queue_name))

        return count

    def _sender(self, account_id: str, queue_name: str) -> Send:
        async def send(messages: list[Outgoing], delay_seconds: float | None) -> Backlog:
            queue = await self.catalog.queue_named(account_id, queue_name)
            return await self.broker.send_batch(queue, messages, delay_seconds=delay_seconds)

        return send


async def ensure_queues(platform: Platform, account_id: str, needs: tuple[QueueNeed, ...]) -> None:
    """Make the queues of an application that the account does not have yet, and let consumers follow the settings."""
    for need in needs:  # queue and consumer at once: a start that is killed between them would leave one without it
        queue = await platform.catalog.ensure(account_id, need.name, need.settings, need.consumer)
        if need.follows and need.consumer is not None:
            await _follow(platform, queue, need.consumer, need.follows)


async def _follow(platform: Platform, queue: Queue, needed: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Change those settings of the consumer that are not as needed, if nobody else has attached it."""
    consumer, wanted = queue.consumer, make_consumer_settings(needed["type"], needed["settings"])
    if consumer is None or consumer.applied_by != needed.get("applied_by"):
        return
    changed = {name: getattr(wanted, name) for name in names}
    if any(getattr(consumer.settings, name) != value for name, value in changed.items()):
        with suppress(ConsumerNotFound):  # somebody has attached another one meanwhile
            await platform.catalog.adjust_consumer(queue, consumer.id, changed)
