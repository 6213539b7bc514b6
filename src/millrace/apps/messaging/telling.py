"""What telemetry is told of jobs: that they are queued, that one is tried, and how that ended."""

from millrace.apps.messaging.attempts import Attempt, Closed
from millrace.apps.messaging.ends import End
from millrace.apps.messaging.queueing import CORRELATION, Queued
from millrace.apps.messaging.queues import QUEUE
from millrace.telemetry import Telemetry


def tell_queued(telemetry: Telemetry, account_id: str, queued: list[Queued], correlation_id: str) -> None:
    """Tell that jobs are in the queue."""
    for one in queued:
        telemetry.emit(
            "job.queued",
            account_id=account_id,
            queue=QUEUE,
            type=one.type,
            job_id=one.job_id,
            correlation_id=correlation_id,
        )


def tell_begun(telemetry: Telemetry, account_id: str, queue: str, attempt: Attempt) -> None:
    """Tell that a job is being tried."""
    if attempt.end is None:
        telemetry.emit(
            "job.begun",
            account_id=account_id,
            queue=queue,
            type=attempt.type,
            job_id=attempt.message.id,
            attempt=attempt.number,
        )


def tell_ended(
    telemetry: Telemetry, account_id: str, attempt: Attempt, end: End, closed: Closed, duration_ms: float
) -> None:
    """Tell how a try of a job ended: what nobody expected with its error."""
    message = attempt.message
    about = {"account_id": account_id, "queue": QUEUE, "correlation_id": message.headers.get(CORRELATION, "")}
    if end.error is not None:
        error = type(end.error).__name__
        telemetry.emit("message.failed", **about, message_id=message.id, attempts=message.attempts, error=error)
    if closed.outcome is not None and (attempt.end is None or not end.is_success):
        telemetry.emit(
            "job.ended",
            **about,
            type=attempt.type,
            job_id=message.id,
            attempt=attempt.number,
            duration_ms=duration_ms,
            outcome=closed.outcome,
            reason=closed.reason,
            trail=[[change.at_ms, change.status, change.reason] for change in closed.trail],
        )
