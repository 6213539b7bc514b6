"""Taking the jobs of one tenant.

They lie in the one queue among all others', so they are found by the index of their own rows: ten thousand jobs of
another tenant in front cost nothing. Once found they are leased as `receive` leases.
"""

from collections.abc import Sequence
from typing import NamedTuple

from millrace.errors import DeliveryPaused
from millrace.ids import new_receipt
from millrace.message import Lease
from millrace.settlement import is_last_delivery
from millrace.sql import limiting, queue_state
from millrace.sql.queue_state import QueueState
from millrace.sql.transaction import Row
from millrace.work import Work


class Taken(NamedTuple):
    """A job that was leased."""

    id: str
    run_id: str
    tenant_id: str
    r2_key: str
    attempts: int
    lease: Lease


def receive_of_tenant(
    work: Work, queue_id: str, account_id: str, tenant: str, limit: int, lease_ms: int
) -> list[Taken]:
    """Lease up to `limit` ready jobs of the tenant, in order of arrival.

    Raises:
        QueueNotFound: no such queue.
        DeliveryPaused: the queue is paused.
    """
    state = queue_state.load(work.tx, queue_id)
    if state.queue.settings.delivery_paused:
        raise DeliveryPaused(f"Delivery of queue '{state.queue.name}' is paused (queue_delivery_paused).")
    rate = limiting.find(work.tx, state, work.now_ms)
    if rate is not None and not rate.may_take:
        return []
    rows: Sequence[Row] = _find(work, account_id, tenant, limit)
    if rate is not None:
        rows = limiting.take(work.tx, state, rate, rows)
    receipt = new_receipt()
    jobs = [
        Taken(job_id, run_id, tenant_id, r2_key, attempts + 1, Lease(key, receipt))
        for job_id, run_id, tenant_id, r2_key, attempts, key in rows
    ]
    _lease(work, state, jobs, receipt, work.now_ms + lease_ms)
    return jobs


def _find(work: Work, account_id: str, tenant: str, limit: int) -> list[Row]:
    bindings = {"account_id": account_id, "tenant_id": tenant, "now_ms": work.now_ms}
    rows: list[Row] = work.fetch("jobs_of_tenant", {**bindings, "limit": limit})
    if len(rows) < limit:  # some may have been redriven
        rows += work.fetch("failed_of_tenant", {**bindings, "limit": limit - len(rows)})
    return rows


def _lease(work: Work, state: QueueState, jobs: list[Taken], receipt: int, until_ms: int) -> None:
    last = [job.lease.key for job in jobs if is_last_delivery(job.attempts, state.policy)]
    others = [job.lease.key for job in jobs if not is_last_delivery(job.attempts, state.policy)]
    if last:
        work.apply("lease", (until_ms, until_ms, receipt, True, work.tx.array(last)))
    if others:
        work.apply("lease", (until_ms + state.retry_delay_ms, until_ms, receipt, False, work.tx.array(others)))
