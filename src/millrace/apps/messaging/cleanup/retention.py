"""Clean-ups that come by themselves, with a cron: each target as old as its settings let it become."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from millrace.apps.messaging.jobs import CleanupJob, Target
from millrace.apps.messaging.queueing import By, Rules, queue_jobs
from millrace.apps.messaging.settings import MessagingSettings
from millrace.platform import Platform

OWNER = "cron"  # stands for the key
DAY_MS = 86_400_000


def retention(rules: Rules, settings: MessagingSettings) -> Callable[[Platform, str], Awaitable[None]]:
    """Make what queues a clean-up of each target."""

    async def act(platform: Platform, account_id: str) -> None:
        jobs = [
            CleanupJob(target=target, older_than=_ago(platform.clock(), days))
            for target, days in kept_days(settings).items()
        ]
        await platform.write(lambda work: queue_jobs(work, account_id, jobs, rules, By(OWNER)))

    return act


def kept_days(settings: MessagingSettings) -> dict[Target, float]:
    """Give for how many days each target is kept."""
    return {
        "audit_logs": settings.audit_logs_days,
        "message_queue": settings.message_queue_days,
        "temp_files": settings.temp_files_days,
    }


def _ago(now_ms: int, days: float) -> str:
    return datetime.fromtimestamp((now_ms - round(days * DAY_MS)) / 1000, UTC).isoformat(timespec="milliseconds")
