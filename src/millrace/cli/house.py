"""The rooms below the door, built once and handed to each other."""

from collections.abc import Sequence
from typing import Any

from millrace import __version__
from millrace.access.cipher import MasterKey
from millrace.access.keys import Key, Keys
from millrace.access.secrets import Secrets
from millrace.alerting import routes as alert_routes
from millrace.alerting.metrics import firing
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.cli.alerting import make_changing
from millrace.clock import Clock, wall_ms
from millrace.coordination import sweep as coordination
from millrace.dashboard import routes as dashboard
from millrace.dashboard.sessions import Sessions
from millrace.handlers import Call
from millrace.http import (
    accounts,
    audit,
    consumers,
    crons,
    health,
    keys,
    leases,
    messages,
    openapi,
    pages,
    queues,
    redrive,
    scheduled,
    secrets,
    sql,
    subscriptions,
)
from millrace.http.app import Door
from millrace.http.desk import Desk
from millrace.http.metrics import MetricsBook
from millrace.http.routes import Route
from millrace.http.tail import Tail
from millrace.platform import App, Platform
from millrace.queue import Queue
from millrace.resources.outbound import Outbound
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.feed import QueueFeed
from millrace.runtime.push import Pusher, Target
from millrace.runtime.waiting import WaitingRoom
from millrace.sql.store import SqlStore
from millrace.subscriptions import Subscriptions
from millrace.telemetry import Telemetry
from millrace.views import Views
from millrace.workflows import routes as workflow_routes

MODULES = (queues, redrive, consumers, messages, scheduled, leases, subscriptions, accounts, keys, crons, audit)


class House:
    """Store, catalog, broker, keys and secrets of one process."""

    def __init__(
        self, store: SqlStore, telemetry: Telemetry, clock: Clock, outbound: Outbound, master_key: MasterKey
    ) -> None:
        self.store, self.telemetry, self.clock, self.outbound = store, telemetry, clock, outbound
        self.catalog = Catalog(store, clock)
        self.broker = Broker(store, clock, telemetry)
        self.keys = Keys(store, clock)
        self.secrets = Secrets(store, clock, master_key)
        self.room = WaitingRoom(store, self.catalog, self.broker, telemetry, clock)
        self.platform = Platform(store, self.catalog, self.broker, telemetry, clock, outbound)
        self._version: int | None = None

    def consumer(self, account_id: str, queue_name: str, call: Call, env: Any, **limits: Any) -> QueueConsumer:
        """Make the consumer that feeds a handler; `limits` are those of `QueueConsumer`."""
        return QueueConsumer(self.feed(account_id, queue_name), call, self.telemetry, env=env, **limits)

    def push_consumer(self, queue: Queue) -> QueueConsumer:
        """Make the consumer that pushes a queue to its URL."""
        feed = self.feed(queue.account_id, queue.name, "http_push")
        last = queue

        def target() -> Target:
            nonlocal last
            present = feed.present()
            if present.consumer is not None and present.consumer.url is not None:  # else it was removed meanwhile
                last = present
            return _target(last)

        pusher = Pusher(self.outbound, self.telemetry, wall_ms, target, account_id=queue.account_id)
        return QueueConsumer(feed, pusher.call, self.telemetry, slots=pusher)

    def feed(self, account_id: str, queue_name: str, consumer_type: str = "worker") -> QueueFeed:
        """Make the feed of a queue."""
        return QueueFeed(
            self.store,
            self.catalog,
            self.broker,
            self.clock,
            account_id=account_id,
            queue=queue_name,
            consumer_type=consumer_type,
        )

    def door(
        self,
        applications: Sequence[App],
        book: MetricsBook,
        keyless: Key | None,
        account_id: str,
        *,
        is_whole: bool = True,
    ) -> Door:
        """Make the HTTP door with every route there is, or only with those that watch a process which is not whole.

        `account_id` is the account that the server itself belongs to.
        """
        desk = Desk(
            self.store,
            self.catalog,
            self.broker,
            self.keys,
            Subscriptions(self.store, self.clock),
            self.telemetry,
            self.clock,
            self.room,
            self.outbound,
        )
        open_routes = health.routes()
        book.add(firing)
        if not is_whole:
            return Door(desk, book.routes(), open_routes, keyless, is_whole=False)
        routes = [*self._routes(applications), *book.routes()]
        routes += Tail(self.telemetry, self.clock, account_id).routes()
        routes += pages.routes([*open_routes, *routes], __version__)
        routes.append(openapi.route([*open_routes, *routes], __version__))
        sessions = Sessions(self.keys, self.clock, keyless)
        added = [page for application in applications for page in application.pages]
        admissions = {word: admit for application in applications for word, admit in application.admissions.items()}
        return Door(
            desk,
            [*routes, *dashboard.routes(sessions, routes, added)],  # no part of the API that the documents tell of
            open_routes,
            keyless,
            sockets=[socket for application in applications for socket in application.sockets],
            admissions={**admissions, "dashboard": sessions.admit},
            signed=[admit for application in applications for admit in application.signed],
        )

    def _routes(self, applications: Sequence[App]) -> list[Route]:
        """Give the routes of the applications and of the engine."""
        routes = [route for application in applications for route in application.routes]
        for module in MODULES:
            routes += module.ROUTES
        routes += secrets.routes(self.secrets)
        views = [view for application in applications for view in application.views]
        routes.append(sql.route(Views(self.store, self.clock, views)))
        routes += alert_routes.routes(make_changing(self.platform, applications))
        return routes + workflow_routes.routes(self.platform)

    async def forget_ended(self) -> None:
        """Remove locks, claims, keys and states whose time is over, in chunks."""
        while await coordination.sweep(self.store, self.clock()):
            pass

    async def notice_others(self) -> None:
        """Look keys and queues up anew after another process has written to the file."""
        version = await self.store.foreign_version()
        if version != self._version:
            await self.keys.load()
            self.catalog.forget()
            self._version = version


def _target(queue: Queue) -> Target:
    consumer = queue.consumer
    assert consumer is not None
    assert consumer.url is not None
    assert consumer.secret is not None
    return Target(url=consumer.url, secret=consumer.secret, policy=consumer.policy)
