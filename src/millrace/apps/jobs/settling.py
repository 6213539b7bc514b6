"""Acks and extensions of jobs. What becomes of a failed one the engine decides; there is no second rule here."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from millrace.apps.jobs import runs
from millrace.apps.jobs.jobs import queue_id_of
from millrace.apps.jobs.runs import Change
from millrace.apps.jobs.statuses import DONE, FAILED, LEASED, PENDING, Seen, lock, look, status_of
from millrace.message import Lease
from millrace.settlement import Ack, Outcome, Postpone, Released, Removed, Retry, Settlement
from millrace.sql import settling
from millrace.work import Work

UPLOAD_GRACE_MS = 3_600_000  # for so long after a job was made its object may still be on the way
UNKNOWN = "unknown"


class Asked(NamedTuple):
    """What a client says of one job. With `lease_id` it counts for that lease only."""

    id: str
    lease_id: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one job: `status` is the one it has now, `reason` says why nothing was changed.

    Reasons: unknown_id, not_leased, stale_lease, lapsed, already_settled.
    """

    id: str
    ok: bool
    status: str
    reason: str | None = None


class Report(NamedTuple):
    """How jobs ended: all of a batch the same. A failed one may be postponed, for seconds."""

    status: Literal["done", "failed"]
    error: str | None = None
    postpone_seconds: int | None = None


def settle(work: Work, account_id: str, asked: Sequence[Asked], report: Report, tenant: str | None) -> list[Verdict]:
    """Settle jobs, each by itself, and give one verdict for each.

    Raises:
        QueueNotFound: the account has no queue of jobs.
    """
    queue_id = queue_id_of(work, account_id)
    seen = _look(work, account_id, asked, tenant)
    claims = {one: claim(seen.get(one.id), one.lease_id) for one in asked}
    outcomes = {
        job_id: (lease, outcome_of(report, work.now_ms - seen[job_id].created_at_ms))
        for job_id, lease in _leases(claims).items()
    }
    settlements = zip(outcomes, work.settle(queue_id, list(outcomes.values())), strict=True)
    changes = {job_id: _change(seen[job_id], end, report) for job_id, end in settlements if end is not None}
    _write(work, account_id, seen, changes)
    refusals = _refusals(claims, changes)
    return [_verdict(work, account_id, one, seen.get(one.id), changes, refusals, report.status) for one in asked]


def extend(work: Work, account_id: str, asked: Sequence[Asked], lease_ms: int, tenant: str | None) -> list[Verdict]:
    """Let the leases of jobs end `lease_ms` from now, and give one verdict for each.

    Raises:
        QueueNotFound: the account has no queue of jobs.
    """
    queue_id = queue_id_of(work, account_id)
    seen = _look(work, account_id, asked, tenant)
    claims = {one: claim(seen.get(one.id), one.lease_id) for one in asked}
    leases = _leases(claims)
    extended = settling.extend(work.tx, queue_id, list(leases.values()), work.now_ms + lease_ms)
    still = [job_id for job_id, lease in leases.items() if lease in extended]
    changes = {job_id: Change(LEASED, seen[job_id].attempts) for job_id in still}
    refusals = _refusals(claims, changes)
    return [_verdict(work, account_id, one, seen.get(one.id), changes, refusals, None) for one in asked]


def claim(seen: Seen | None, lease_id: str | None) -> Lease | str:
    """Give the lease that a client speaks for, or the reason why it has none.

    Without a lease id it speaks for the latest one, even after that has lapsed.
    """
    if seen is None:
        return "unknown_id"
    if seen.key is None:
        ended_by = None if seen.ended_by is None else str(Lease(seen.message_key, seen.ended_by))
        return "already_settled" if lease_id in (None, ended_by) else "stale_lease"
    if seen.receipt is None:
        return "not_leased" if lease_id is None else "stale_lease"
    lease = Lease(seen.key, seen.receipt)
    return lease if lease_id in (None, str(lease)) else "stale_lease"


def outcome_of(report: Report, age_ms: int) -> Outcome:
    """Give what the engine is told of a job that was made `age_ms` ago.

    A failure that only asks for time costs no attempt while the upload may still be on its way; nor does one that asks
    for none, since the job was not tried: however old a job, agents that stop do not use it up.
    """
    if report.status == "done":
        return Ack()
    if report.postpone_seconds is not None and (report.postpone_seconds == 0 or age_ms < UPLOAD_GRACE_MS):
        return Postpone(report.postpone_seconds)
    return Retry(report.postpone_seconds, report.error)


def _look(work: Work, account_id: str, asked: Sequence[Asked], tenant: str | None) -> Mapping[str, Seen]:
    """Read the jobs that the caller may know of, as they are until this has ended."""
    ids = {one.id for one in asked}
    lock(work, account_id, ids)
    seen = look(work, account_id, ids)
    return {job_id: job for job_id, job in seen.items() if tenant in (None, job.tenant_id)}


def _leases(claims: Mapping[Asked, Lease | str]) -> Mapping[str, Lease]:
    """Give the leases by job: an id may be there twice, once with a stale lease."""
    return {one.id: lease for one, lease in claims.items() if isinstance(lease, Lease)}


def _refusals(claims: Mapping[Asked, Lease | str], changes: Mapping[str, Change]) -> Mapping[Asked, str]:
    refused = {one: found for one, found in claims.items() if isinstance(found, str) or one.id not in changes}
    return {one: found if isinstance(found, str) else "lapsed" for one, found in refused.items()}


def _change(seen: Seen, end: Settlement, report: Report) -> Change:
    match end:
        case Removed(reason=None):
            return Change(DONE, seen.attempts)
        case Released(attempts=attempts):
            return Change(PENDING, attempts, report.error)
        case _:
            return Change(FAILED, seen.attempts, report.error)


def _write(work: Work, account_id: str, seen: Mapping[str, Seen], changes: Mapping[str, Change]) -> None:
    """Store ends and errors, and tell of them."""
    if not changes:
        return
    rows = [
        (job_id, None, None, change.error)
        if change.status == PENDING
        else (job_id, change.status, seen[job_id].receipt, change.error)
        for job_id, change in changes.items()
    ]
    work.apply("jobs_settled", (work.now_ms, msgspec.json.encode(rows).decode()))
    for job_id, change in changes.items():
        if change.status == FAILED:
            work.note(account_id, "job.failed", f"job {job_id}", run=seen[job_id].run_id, attempts=change.attempts)
    runs.tell(work, account_id, {seen[job_id].run_id for job_id in changes}, changes)


def _verdict(
    work: Work,
    account_id: str,
    one: Asked,
    seen: Seen | None,
    changes: Mapping[str, Change],
    refusals: Mapping[Asked, str],
    wanted: str | None,
) -> Verdict:
    """Say what became of one job; what was settled so before counts as settled so now."""
    if seen is None:
        return Verdict(id=one.id, ok=False, status=UNKNOWN, reason="unknown_id")
    reason = refusals.get(one)
    if reason is None:
        return Verdict(id=one.id, ok=True, status=changes[one.id].status)
    status = changes[one.id].status if one.id in changes else status_of(work, account_id, seen)
    if reason == "already_settled" and status == wanted:
        return Verdict(id=one.id, ok=True, status=status)
    return Verdict(id=one.id, ok=False, status=status, reason=reason)


def store_missing(work: Work, account_id: str, job_ids: Sequence[str]) -> None:
    """Store what became of jobs that left the queue without us, unless somebody has done it meanwhile."""
    seen = {job_id: job for job_id, job in look(work, account_id, job_ids).items() if job.status(work.now_ms) is None}
    ends = {job.id: Change(status_of(work, account_id, job), job.attempts, job.error) for job in seen.values()}
    _write(work, account_id, seen, ends)
