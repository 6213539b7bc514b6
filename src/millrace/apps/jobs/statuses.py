"""What state a job is in: told by its message as long as there is one, else by what was stored at its end."""

from collections.abc import Iterable
from typing import NamedTuple

from millrace.views import View
from millrace.work import Work

PENDING, LEASED, DONE, FAILED = "pending", "leased", "done", "failed"
STATUSES = (PENDING, LEASED, DONE, FAILED)
LAST_TENANT = "\U0010ffff"  # sorts behind every name

# The same conditions as in the statement job_counts; a test holds them together.
VIEW = View(
    name="jobs",
    columns=("id", "run_id", "tenant_id", "r2_key", "status", "attempts", "error", "created_at", "updated_at"),
    tables=("jobs_rows", "messages", "queues"),
    select="""
        select
            j.id, j.run_id, j.tenant_id, j.r2_key,
            case
                when m.lease_ends_at_ms > now_ms() then 'leased'
                when m.is_last and m.visible_at_ms <= now_ms() then 'failed'
                when m.key is not null then 'pending'
                when j.outcome is not null then j.outcome
                when j.message_key >> 43 = (select lane from main.queues where account_id = :account_id and name = 'jobs')
                and not exists (
                    select 1
                    from main.queues d
                    join main.messages b on b.key = (d.lane << 43) | (j.message_key & ((1 << 43) - 1))
                    where d.account_id = :account_id and d.name = 'jobs-dlq' and b.id = j.id
                ) then 'done'
                else 'failed'
            end,
            coalesce(m.attempts, j.attempts), j.error, iso(j.created_at_ms), iso(j.updated_at_ms)
        from main.jobs_rows j
        left join main.messages m
            on m.key = j.message_key and m.id = j.id
            and m.lane = (select lane from main.queues where account_id = :account_id and name = 'jobs')
        where j.account_id = :account_id
    """,
)


class Seen(NamedTuple):
    """A job's row, and its message if that is where it was put. `ended_by` is the receipt of the ack that ended it."""

    id: str
    run_id: str
    tenant_id: str
    r2_key: str
    counted: int
    outcome: str | None
    ended_by: int | None
    error: str | None
    created_at_ms: int
    message_key: int
    key: int | None
    receipt: int | None
    lease_ends_at_ms: int | None
    visible_at_ms: int | None
    is_last: int | None
    delivered: int | None

    @property
    def attempts(self) -> int:
        """Deliveries begun so far."""
        return self.counted if self.delivered is None else self.delivered

    def status(self, now_ms: int) -> str | None:
        """Give the status, or None for a job that left the queue unseen."""
        if self.key is None or self.visible_at_ms is None:
            return self.outcome
        if self.lease_ends_at_ms is not None and self.lease_ends_at_ms > now_ms:
            return LEASED
        return FAILED if self.is_last and self.visible_at_ms <= now_ms else PENDING


def look(work: Work, account_id: str, job_ids: Iterable[str]) -> dict[str, Seen]:
    """Read jobs of the account, by id; those that are not there are left out."""
    bindings = (account_id, work.tx.array(job_ids))
    return {row[0]: Seen(*row) for row in work.fetch("jobs_with_messages", bindings)}


def lock(work: Work, account_id: str, job_ids: Iterable[str]) -> None:
    """Let no other server deliver or settle these jobs before this transaction has ended."""
    if work.tx.shares:
        work.fetch("lock_messages_of_jobs", (work.tx.array(job_ids), account_id))


def status_of(work: Work, account_id: str, seen: Seen) -> str:
    """Say what state a job is in.

    One that left the queue without us was acknowledged there, over /client/v4; unless it lies among the dead letters, or
    the queue was purged.
    """
    return seen.status(work.now_ms) or work.fetch("status_of_missing", (account_id, seen.id))[0][0]


def count(work: Work, account_id: str, tenant: str | None) -> dict[str, int]:
    """Count the account's jobs, or a tenant's, by status."""
    bindings = {
        "account_id": account_id,
        "now_ms": work.now_ms,
        "first_tenant": tenant or "",
        "last_tenant": tenant or LAST_TENANT,
    }
    counts = dict.fromkeys(STATUSES, 0)
    for status, number in work.fetch("job_counts", bindings):
        counts[status] += number
    return counts
