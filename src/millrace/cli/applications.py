"""The applications: the only place that names them. Each is its part of the database, and a function that makes it."""

from collections.abc import Callable

import msgspec

from millrace.apps import events
from millrace.apps.events.app import SCHEMA as EVENTS
from millrace.apps.events.app import EventsSettings
from millrace.apps.jobs.app import SCHEMA as JOBS
from millrace.apps.jobs.app import TYPES, JobsSettings
from millrace.apps.jobs.app import app as make_jobs
from millrace.config import Settings
from millrace.errors import ConfigurationError
from millrace.platform import App, Platform
from millrace.resources.objects.choice import make_objects
from millrace.resources.objects.s3 import R2Settings
from millrace.sql.schemas import Schema

BUCKET = ("endpoint", "access_key_id", "secret_access_key", "bucket")


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One application as the server knows it; `schema` None needs no tables of its own."""

    name: str
    make: Callable[[Platform, Settings], App]
    schema: Schema | None = None


def _events(platform: Platform, settings: Settings) -> App:
    return events.app(platform, EventsSettings(settings.debug_routes, settings.events_consumer))


def _jobs(platform: Platform, settings: Settings) -> App:
    jobs = JobsSettings(
        account_id=settings.account_id,
        jwt_secret=settings.jwt_secret,
        turnstile_secret=settings.turnstile_secret,
        turnstile_url=settings.turnstile_url,
        public_url=settings.public_url,
        upload_types=settings.upload_types or TYPES,
        upload_max_bytes=settings.upload_max_bytes,
        cron=settings.jobs_cron or "",
    )
    return make_jobs(platform, jobs, make_objects(settings.data / "objects", _bucket(settings)))


def _bucket(settings: Settings) -> R2Settings | None:
    """Give the settings of the bucket when there are any.

    Raises:
        ConfigurationError: only some of them are set.
    """
    found = {name: getattr(settings, f"r2_{name}") for name in BUCKET}
    missing = [f"R2_{name.upper()}" for name, value in found.items() if value is None]
    if len(missing) == len(BUCKET):
        return None
    if missing:
        raise ConfigurationError(f"not set, although other R2_* are: {', '.join(missing)}; set all of them, or none")
    return R2Settings(**found)


APPLICATIONS = (
    Application(name="events", make=_events, schema=EVENTS),
    Application(name="jobs", make=_jobs, schema=JOBS),
)
SCHEMAS = tuple(application.schema for application in APPLICATIONS if application.schema is not None)
