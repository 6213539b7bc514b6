"""The applications: the only place that names them. Each is its part of the database, and a function that makes it."""

from collections.abc import Callable

import msgspec

from millrace.apps import events
from millrace.apps.events.app import EventsSettings
from millrace.config import Settings
from millrace.platform import App, Platform
from millrace.sql.migrate import Schema


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One application as the server knows it; `schema` None needs no tables of its own."""

    make: Callable[[Platform, Settings], App]
    schema: Schema | None = None


def _events(platform: Platform, settings: Settings) -> App:
    return events.app(platform, EventsSettings(settings.debug_routes, settings.events_consumer))


APPLICATIONS = (Application(make=_events),)
SCHEMAS = tuple(application.schema for application in APPLICATIONS if application.schema is not None)
