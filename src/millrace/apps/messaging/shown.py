"""Jobs as they are shown over HTTP, on pages and in queues; content only to those who may read it."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from millrace.apps.messaging.jobs import CleanupJob, EmailJob, ExportJob, Job, SmsJob
from millrace.apps.messaging.rows import Change, Row
from millrace.clock import iso_milliseconds

SCHEDULED = "scheduled"


class MessageStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job without what it holds. `scheduledFor` is the time that its sender named, `nextAttemptAt` that of a retry."""

    message_id: str
    job_id: str | None
    type: str
    status: str
    priority: str
    attempts: int
    created_at: str
    updated_at: str
    scheduled_for: str | None
    next_attempt_at: str | None
    reason: str | None
    provider: str | None
    provider_id: str | None


class MessageShown(MessageStatus, frozen=True, kw_only=True, rename="camel"):
    """A job with what it holds, for those who may read it."""

    recipient: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    details: Any = UNSET


class ChangeShown(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a job's history."""

    number: int
    at: str
    status: str
    attempt: int
    reason: str | None
    provider: str | None
    actor: str


class HistoryShown(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a job so far, oldest first."""

    message_id: str
    history: list[ChangeShown]


def status_word(row: Row, now_ms: int) -> str:
    """Give the status that is shown: what waits for a time that its sender named is scheduled."""
    is_scheduled = (
        row.status == "queued" and not row.attempts and (row.due_at_ms or 0) > now_ms and row.provider is None
    )
    return SCHEDULED if is_scheduled else row.status


def status_of(row: Row, now_ms: int) -> MessageStatus:
    """Show a job without what it holds."""
    return MessageStatus(**_facts(row, now_ms))


def message_of(row: Row, job: Job | None, now_ms: int) -> MessageShown:
    """Show a job with what it holds; None stands for what the reader may not see."""
    held: dict[str, Any] = {}
    match job:
        case EmailJob():
            held = {"recipient": job.recipient, "subject": job.subject, "content": job.content}
        case SmsJob():
            held = {"recipient": job.recipient, "content": job.content}
        case ExportJob() | CleanupJob():
            held = {"details": msgspec.to_builtins(job)}
    return MessageShown(**_facts(row, now_ms), **held)


def change_of(change: Change) -> ChangeShown:
    """Show a line of history."""
    return ChangeShown(
        number=change.number,
        at=iso_milliseconds(change.at_ms),
        status=change.status,
        attempt=change.attempt,
        reason=change.reason,
        provider=change.provider,
        actor=change.actor,
    )


def _facts(row: Row, now_ms: int) -> dict[str, Any]:
    due_at = None if row.due_at_ms is None else iso_milliseconds(row.due_at_ms)
    waits_again = row.status == "queued" and row.attempts > 0
    return {
        "message_id": row.id,
        "job_id": row.job_id,
        "type": row.type,
        "status": status_word(row, now_ms),
        "priority": row.priority,
        "attempts": row.attempts,
        "created_at": iso_milliseconds(row.created_at_ms),
        "updated_at": iso_milliseconds(row.updated_at_ms),
        "scheduled_for": None if waits_again or row.attempts else due_at,
        "next_attempt_at": due_at if waits_again else None,
        "reason": row.reason,
        "provider": row.provider,
        "provider_id": row.provider_id,
    }
