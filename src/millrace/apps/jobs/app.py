"""The jobs application as a value: its queues, its routes, its ways in."""

import msgspec

from millrace.apps.jobs.job_routes import JobRoutes
from millrace.apps.jobs.jobs import NEEDS
from millrace.apps.jobs.run_routes import RunRoutes
from millrace.apps.jobs.statuses import VIEW
from millrace.apps.jobs.sweep import sweep
from millrace.apps.jobs.tokens import make_admit
from millrace.apps.jobs.turnstile import Turnstile
from millrace.apps.jobs.upload_routes import UploadRoutes, UploadRules
from millrace.platform import App, Cron, Platform
from millrace.resources.objects.contract import ObjectStore
from millrace.sql.schemas import Schema

SCHEMA = Schema("jobs", "millrace.apps.jobs")
SITEVERIFY = "https://challenges.cloudflare.com/turnstile/v0/siteverify"
TYPES = (
    "application/pdf",
    "application/json",
    "application/xml",
    "text/plain",
    "text/markdown",
    "text/html",
    "text/csv",
    "text/xml",
)
MAX_BYTES = 100_000_000


class JobsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the application goes by. `account_id` is whose JWT_SECRET, Turnstile and objects are.

    The sweep runs when `cron` is due; an empty expression follows the crons of the wrangler file.
    """

    account_id: str
    jwt_secret: str | None = None
    turnstile_secret: str | None = None
    turnstile_url: str = SITEVERIFY
    public_url: str | None = None
    upload_types: tuple[str, ...] = TYPES
    upload_max_bytes: int = MAX_BYTES
    cron: str = ""


def app(platform: Platform, settings: JobsSettings, objects: ObjectStore) -> App:
    """Make the application."""
    turnstile = _turnstile(platform, settings)
    rules = UploadRules(settings.upload_types, settings.upload_max_bytes, settings.public_url, settings.account_id)
    runs = RunRoutes(platform, objects)
    admit = make_admit(
        settings.account_id, platform.clock, jwt_secret=settings.jwt_secret, has_turnstile=turnstile is not None
    )
    return App(
        queues=NEEDS,
        routes=(
            *JobRoutes(platform).routes(),
            *UploadRoutes(platform, objects, rules, turnstile).routes(),
            *runs.routes(),
        ),
        sockets=runs.sockets(),
        admissions=dict.fromkeys(("jobs", "uploads", "runs"), admit),
        crons=(Cron(name="jobs", expression=settings.cron, act=sweep),),
        views=(VIEW,),
        close=None if turnstile is None else turnstile.outbound.aclose,
    )


def _turnstile(platform: Platform, settings: JobsSettings) -> Turnstile | None:
    if settings.turnstile_secret is None:
        return None
    outbound = platform.outbound.reaching(settings.turnstile_url)
    return Turnstile(outbound, settings.turnstile_url, settings.turnstile_secret)
