"""Pulling jobs: a lease on their messages, told to the followers of their runs."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from millrace.apps.jobs import runs
from millrace.apps.jobs.jobs import JobBody, queue_id_of, record
from millrace.apps.jobs.runs import Change
from millrace.apps.jobs.statuses import LEASED
from millrace.apps.jobs.tenants import receive_of_tenant
from millrace.errors import Conflict
from millrace.message import Lease, Message
from millrace.settlement import Reject
from millrace.work import Work


class Pulled(NamedTuple):
    """A job under a new lease. `attempts` counts deliveries, this one included."""

    id: str
    body: JobBody
    attempts: int
    lease: Lease


def pull(work: Work, account_id: str, limit: int, lease_ms: int, tenant: str | None) -> list[Pulled]:
    """Lease up to `limit` jobs, those of a tenant only when there is one; others' jobs are not touched then.

    Raises:
        QueueNotFound, DeliveryPaused: as for `Work.receive`.
    """
    queue_id = queue_id_of(work, account_id)
    if tenant is None:
        pulled = _receive(work, account_id, queue_id, limit, lease_ms)
    else:
        pulled = [
            Pulled(one.id, JobBody(one.run_id, one.tenant_id, one.r2_key), one.attempts, one.lease)
            for one in receive_of_tenant(work, queue_id, account_id, tenant, limit, lease_ms)
        ]
    if pulled:
        jobs = [(job.id, job.lease.key, job.attempts) for job in pulled]
        rows = work.fetch("jobs_leased", (work.now_ms, msgspec.json.encode(jobs).decode()))
        changes = {job_id: Change(LEASED, attempts, error) for job_id, attempts, error in rows}
        runs.tell(work, account_id, {job.body.run_id for job in pulled}, changes)
    return pulled


def _receive(work: Work, account_id: str, queue_id: str, limit: int, lease_ms: int) -> list[Pulled]:
    """Receive messages until there is a job among them."""
    pulled: list[Pulled] = []
    while not pulled:
        messages = work.receive(queue_id, limit, lease_ms)
        if not messages:
            break
        known = _known(work, account_id, messages)
        for message in messages:
            body = _body_of(work, account_id, queue_id, message, is_known=message.id in known)
            if body is not None:
                pulled.append(Pulled(message.id, body, message.attempts, message.lease))
    return pulled


def _known(work: Work, account_id: str, messages: Sequence[Message]) -> set[str]:
    ids = work.tx.array([message.id for message in messages])
    return {row[0] for row in work.fetch("known_jobs", (ids, account_id))}


def _body_of(work: Work, account_id: str, queue_id: str, message: Message, *, is_known: bool) -> JobBody | None:
    """Read a job; adopt what came into the queue by another way and is one, and bury what is none."""
    try:
        body = msgspec.json.decode(message.body, type=JobBody)
        if not is_known:
            record(work, account_id, body, message.id, message.lease.key)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        work.settle(queue_id, [(message.lease, Reject("not a job: expected runId, tenantId and r2Key"))])
        return None
    except Conflict as error:
        work.settle(queue_id, [(message.lease, Reject(str(error)))])
        return None
    return body
