"""How the queue is doing: counts by state, what happened last, which failures there are and how often."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from millrace.apps.messaging import rows
from millrace.apps.messaging.queues import DEAD_LETTERS
from millrace.apps.messaging.rows import DONE, FAILED, Row
from millrace.apps.messaging.shown import SCHEDULED, status_word
from millrace.clock import iso_milliseconds
from millrace.sql import queue_state, queues
from millrace.work import Work

RECENT = 20
READ_FAILURES = 10_000
HOUR_MS = 3_600_000
UNKNOWN = "unknown"  # stands for no reason
ACTIVE = ("queued", "processing", *DONE, *FAILED)  # what was ever queued and not cancelled


class Activity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job and what became of it last."""

    job_id: str | None
    message_id: str
    type: str
    status: str
    at: str
    attempts: int


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Jobs by state: `total` is the sum of the next five. `failureRate` is failed / (done + failed), 0 when there are none.

    Removals of files that exports have set for later are nobody's jobs, and count when they are due. `environment` says what is configured, never how.
    """

    total: int
    queued: int
    processing: int
    failed: int
    done: int
    scheduled: int
    dead_lettered: int
    failure_rate: float
    recent_activity: list[Activity]
    environment: Mapping[str, Any]


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failures of one type and status for one reason. `trend` counts them hour by hour, the last hour last."""

    type: str
    status: str
    reason: str
    count: int
    first: str
    last: str
    trend: list[int]


class Failures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The failures of the last hours, by type and reason, the most frequent first."""

    hours: int
    failed: int
    ended: int
    failure_rate: float
    groups: list[FailureGroup]


def status_of_queue(work: Work, account_id: str, environment: Mapping[str, Any]) -> QueueStatus:
    """Count an account's jobs, and tell what happened last."""
    counts = counts_by_status(work, account_id)
    done, failed = sum(counts.get(word, 0) for word in DONE), sum(counts.get(word, 0) for word in FAILED)
    queued, processing = counts["queued"], counts.get("processing", 0)
    scheduled = counts[SCHEDULED] - work.fetch("outbound_removals", (account_id, work.now_ms))[0][0]
    return QueueStatus(
        total=queued + processing + failed + done + scheduled,
        queued=queued,
        processing=processing,
        failed=failed,
        done=done,
        scheduled=scheduled,
        dead_lettered=count_dead_letters(work, account_id),
        failure_rate=rate_of(failed, done + failed),
        recent_activity=[_activity(row, work.now_ms) for row in recent(work, account_id)],
        environment=environment,
    )


def counts_by_status(work: Work, account_id: str) -> dict[str, int]:
    """Count an account's jobs by the status that is shown; those that are queued or scheduled are there in any case."""
    counts: dict[str, int] = dict(work.fetch("outbound_counts", (account_id,)))
    scheduled = work.fetch("outbound_scheduled", (account_id, work.now_ms))[0][0]
    return {**counts, "queued": counts.get("queued", 0) - scheduled, SCHEDULED: scheduled}


def count_dead_letters(work: Work, account_id: str) -> int:
    """Count what lies in the account's dead-letter queue."""
    queue = queues.named(work.tx, account_id, DEAD_LETTERS)
    return queue_state.load(work.tx, queue.id).backlog_count if queue is not None else 0


def recent(work: Work, account_id: str, limit: int = RECENT) -> list[Row]:
    """Give the jobs that changed last, the latest first."""
    found: list[Row] = []
    for status in ACTIVE:
        bindings = {
            "account_id": account_id,
            "status": status,
            "limit": limit,
            "before_ms": rows.LAST_MS,
            "before_id": "",
        }
        found += [Row(*row) for row in work.fetch("outbound_of_status", bindings)]
    return sorted(found, key=lambda row: (row.updated_at_ms, row.id), reverse=True)[:limit]


def failures(work: Work, account_id: str, hours: int) -> Failures:
    """Group the failures of the last hours by type and reason; of the newest 10,000."""
    since_ms = work.now_ms - hours * HOUR_MS
    failed, ended = failure_counts(work, account_id, since_ms)
    found = work.fetch("outbound_failures", {"account_id": account_id, "since_ms": since_ms, "limit": READ_FAILURES})
    return Failures(
        hours=hours,
        failed=failed,
        ended=ended,
        failure_rate=rate_of(failed, ended),
        groups=group(found, work.now_ms, hours),
    )


def failure_counts(work: Work, account_id: str, since_ms: int) -> tuple[int, int]:
    """Count the jobs that failed since then, and those that ended, failed ones among them."""
    counts: dict[str, int] = dict(work.fetch("outbound_ended_since", (account_id, since_ms)))
    failed = sum(counts.get(word, 0) for word in FAILED)
    return failed, failed + sum(counts.get(word, 0) for word in DONE)


def group(found: Iterable[tuple[str, str, str | None, int]], now_ms: int, hours: int) -> list[FailureGroup]:
    """Put failures (type, status, reason, time) together that are of one kind, the most frequent first."""
    times: dict[tuple[str, str, str], list[int]] = {}
    for kind, status, reason, at_ms in found:
        times.setdefault((kind, status, reason or UNKNOWN), []).append(at_ms)
    groups = [
        FailureGroup(
            type=kind,
            status=status,
            reason=reason,
            count=len(at),
            first=iso_milliseconds(min(at)),
            last=iso_milliseconds(max(at)),
            trend=_trend(at, now_ms, hours),
        )
        for (kind, status, reason), at in times.items()
    ]
    return sorted(groups, key=lambda one: (-one.count, one.type, one.reason))


def rate_of(failed: int, ended: int) -> float:
    """Give the share of failures, 0 when nothing has ended."""
    return failed / ended if ended else 0.0


def _trend(at: Iterable[int], now_ms: int, hours: int) -> list[int]:
    counts = [0] * hours
    for at_ms in at:
        age_hours = max(0, now_ms - at_ms) // HOUR_MS
        if age_hours < hours:
            counts[hours - 1 - age_hours] += 1
    return counts


def _activity(row: Row, now_ms: int) -> Activity:
    return Activity(
        job_id=row.job_id,
        message_id=row.id,
        type=row.type,
        status=status_word(row, now_ms),
        at=iso_milliseconds(row.updated_at_ms),
        attempts=row.attempts,
    )
