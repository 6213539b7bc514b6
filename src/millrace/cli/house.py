"""The rooms below the door, built once and handed to each other."""

from collections.abc import Sequence
from typing import Any

from millrace import __version__
from millrace.access.keys import Key, Keys
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.clock import Clock
from millrace.http import accounts, health, keys, messages, openapi, pages, queues, subscriptions
from millrace.http.app import Door
from millrace.http.desk import Desk
from millrace.http.metrics import MetricsBook
from millrace.http.routes import Route
from millrace.platform import App, Platform
from millrace.runtime.consumer import QueueConsumer
from millrace.sql.store import SqlStore
from millrace.subscriptions import Subscriptions
from millrace.telemetry import Telemetry


class House:
    """Store, catalog, broker and keys of one process."""

    def __init__(self, store: SqlStore, telemetry: Telemetry, clock: Clock) -> None:
        self.store, self.telemetry, self.clock = store, telemetry, clock
        self.catalog = Catalog(store, clock)
        self.broker = Broker(store, clock, telemetry)
        self.keys = Keys(store, clock)
        self.platform = Platform(store, self.catalog, self.broker, telemetry, clock)
        self._version: int | None = None

    def consumer(self, account_id: str, queue_name: str, handler: Any, env: Any) -> QueueConsumer:
        """Make the consumer that feeds a handler."""
        return QueueConsumer(
            self.store,
            self.catalog,
            self.broker,
            self.telemetry,
            self.clock,
            account_id=account_id,
            queue_name=queue_name,
            handler=handler,
            env=env,
        )

    def door(self, applications: Sequence[App], book: MetricsBook, keyless: Key | None) -> Door:
        """Make the HTTP door with every route there is."""
        desk = Desk(
            self.store,
            self.catalog,
            self.broker,
            self.keys,
            Subscriptions(self.store, self.clock),
            self.telemetry,
            self.clock,
        )
        open_routes = health.routes()
        routes: list[Route] = [route for application in applications for route in application.routes]
        for module in (queues, messages, subscriptions, accounts, keys):
            routes += module.ROUTES
        routes += book.routes()
        routes += pages.routes([*open_routes, *routes], __version__)
        routes.append(openapi.route([*open_routes, *routes], __version__))
        return Door(desk, routes, open_routes, keyless)

    async def notice_others(self) -> None:
        """Look keys and queues up anew after another process has written to the file."""
        version = await self.store.foreign_version()
        if version != self._version:
            await self.keys.load()
            self.catalog.forget()
            self._version = version
