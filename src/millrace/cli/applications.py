"""The applications: the only place that names them. Each is its part of the database, and a function that makes it."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from millrace.access.cipher import Cipher, MasterKey
from millrace.apps import events
from millrace.apps.events.app import SCHEMA as EVENTS
from millrace.apps.events.app import EventsSettings
from millrace.apps.events.queues import NEEDS as EVENT_QUEUES
from millrace.apps.jobs.app import SCHEMA as JOBS
from millrace.apps.jobs.app import TYPES, JobsSettings
from millrace.apps.jobs.app import app as make_jobs
from millrace.apps.jobs.jobs import NEEDS as JOB_QUEUES
from millrace.apps.messaging.app import SCHEMA as MESSAGING
from millrace.apps.messaging.app import app as make_messaging
from millrace.apps.messaging.queues import needs as message_queues
from millrace.apps.messaging.settings import MessagingSettings, ResendSettings, SmtpSettings, TwilioSettings
from millrace.config import Settings
from millrace.errors import ConfigurationError
from millrace.messaging_config import read_rate
from millrace.platform import App, Platform, QueueNeed
from millrace.resources.objects.choice import make_objects
from millrace.resources.objects.s3 import R2Settings
from millrace.sql.schemas import Schema


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One application as the server knows it; `schema` None needs no tables of its own.

    `queues` gives what the made one has as `queues`, where nothing is to be made.
    """

    name: str
    make: Callable[[Platform, Settings], App]
    queues: Callable[[Settings], tuple[QueueNeed, ...]]
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


def _messaging(platform: Platform, settings: Settings) -> App:
    objects = make_objects(settings.data / "objects", _bucket(settings))
    return make_messaging(platform, _messaging_settings(settings), objects, _cipher(settings))


def _cipher(settings: Settings) -> Cipher | None:
    return MasterKey(settings.master_key, None if settings.store else settings.data).find()


def _message_queues(settings: Settings) -> tuple[QueueNeed, ...]:
    return message_queues(settings.retry_base_seconds)


def _messaging_settings(settings: Settings) -> MessagingSettings:
    return MessagingSettings(
        account_id=settings.account_id,
        folder=settings.data,
        environment=_configured(settings),
        public_url=settings.public_url,
        mail_from=settings.smtp_from,
        smtp=_smtp(settings),
        resend=_resend(settings),
        twilio=_twilio(settings),
        delivery_secret=settings.delivery_webhook_secret,
        provider_seconds=settings.provider_seconds,
        retry_base_seconds=settings.retry_base_seconds,
        debug_routes=settings.debug_routes,
        key_rate=read_rate(settings.message_key_rate),
        recipient_rate=read_rate(settings.message_recipient_rate),
        email_rate=read_rate(settings.email_rate),
        sms_rate=read_rate(settings.sms_rate),
        cleanup_cron=settings.cleanup_cron or "",
        audit_logs_days=settings.retention_audit_logs_days,
        message_queue_days=settings.retention_message_queue_days,
        temp_files_days=settings.retention_temp_files_days,
        link_seconds=settings.export_link_seconds,
    )


def _configured(settings: Settings) -> dict[str, Any]:
    """Say what is configured, and nothing of how."""
    has_twilio = _twilio(settings) is not None
    has_files = settings.smtp_host is None and settings.resend_api_key is None
    return {
        "environment": settings.environment or settings.sentry_environment,
        "store": "postgresql" if settings.store else "sqlite",
        "bindings": {"MESSAGE_QUEUE": True},
        "providers": {
            "smtp": settings.smtp_host is not None,
            "resend": settings.resend_api_key is not None,
            "twilio": has_twilio,
            "emailFiles": has_files,
            "smsFiles": not has_twilio,
        },
        "sentry": settings.sentry_dsn is not None,
        "masterKey": _cipher(settings) is not None,
        "publicUrl": settings.public_url is not None,
        "debugRoutes": settings.debug_routes,
    }


def _smtp(settings: Settings) -> SmtpSettings | None:
    if settings.smtp_host is None:
        return None
    return SmtpSettings(
        host=settings.smtp_host,
        port=settings.smtp_port,
        user=settings.smtp_user,
        password=settings.smtp_password,
        tls=settings.smtp_tls,
        connections=settings.smtp_connections,
    )


def _resend(settings: Settings) -> ResendSettings | None:
    if settings.resend_api_key is None:
        return None
    return ResendSettings(
        api_key=settings.resend_api_key,
        api_base=settings.resend_api_base,
        webhook_secret=settings.resend_webhook_secret,
    )


def _twilio(settings: Settings) -> TwilioSettings | None:
    """Give the settings of Twilio when there are any.

    Raises:
        ConfigurationError: only some of them are set.
    """
    found = _all_or_none(settings, "twilio", ("account_sid", "auth_token", "from_number"))
    return None if found is None else TwilioSettings(**found, api_base=settings.twilio_api_base)


def _bucket(settings: Settings) -> R2Settings | None:
    """Give the settings of the bucket when there are any.

    Raises:
        ConfigurationError: only some of them are set.
    """
    found = _all_or_none(settings, "r2", ("endpoint", "access_key_id", "secret_access_key", "bucket"))
    return None if found is None else R2Settings(**found)


def _all_or_none(settings: Settings, prefix: str, names: Sequence[str]) -> dict[str, str] | None:
    """Give settings that belong together by their names without the prefix, None where none of them is set.

    Raises:
        ConfigurationError: only some of them are set.
    """
    found: dict[str, str | None] = {name: getattr(settings, f"{prefix}_{name}") for name in names}
    missing = [f"{prefix}_{name}".upper() for name, value in found.items() if value is None]
    if 0 < len(missing) < len(found):
        others = f"{prefix.upper()}_*"
        raise ConfigurationError(
            f"not set, although other {others} are: {', '.join(missing)}; set all of them, or none"
        )
    return None if missing else {name: value for name, value in found.items() if value is not None}


APPLICATIONS = (
    Application(name="events", make=_events, queues=lambda settings: EVENT_QUEUES, schema=EVENTS),
    Application(name="jobs", make=_jobs, queues=lambda settings: JOB_QUEUES, schema=JOBS),
    Application(name="messaging", make=_messaging, queues=_message_queues, schema=MESSAGING),
)
SCHEMAS = tuple(application.schema for application in APPLICATIONS if application.schema is not None)
