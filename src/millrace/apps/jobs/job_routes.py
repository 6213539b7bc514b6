"""`/jobs/…`: enqueue, pull, ack, extend, stats."""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from millrace.access.scopes import Scope
from millrace.apps.jobs import answers, jobs, pulling, settling, statuses
from millrace.apps.jobs.filenames import folder_of, is_of_another_tenant
from millrace.apps.jobs.jobs import NEEDS, QUEUE, JobBody
from millrace.apps.jobs.settling import Asked, Report, Verdict
from millrace.clock import iso_milliseconds
from millrace.errors import (
    BacklogFull,
    BodyDoesNotFit,
    BodyNotJson,
    Conflict,
    DeliveryPaused,
    Forbidden,
    IdempotencyKeyReused,
    InvalidMessage,
    QueueNotFound,
)
from millrace.http.desk import Desk
from millrace.http.request import Request, Shape
from millrace.http.routes import IDEMPOTENCY_KEY, Answer, Route
from millrace.idempotency import KEY
from millrace.limits import IDEMPOTENCY_KEY_CHARACTERS, REASON_CHARACTERS
from millrace.platform import Platform, ensure_queues
from millrace.work import Work

T = TypeVar("T")

PULL_JOBS, PULL_JOBS_MAX = 10, 100
LEASE_SECONDS, LEASE_SECONDS_MAX = 60, 43_200
IDS = 1_000
ERROR_CHARACTERS = 10_000  # taken; the first 500 are kept
POSTPONE_SECONDS = 3_600

Id = Annotated[str, Meta(max_length=128)]
Ids = Annotated[list[Id], Meta(max_length=IDS)]
# Floats, since there are clients that write 10 as 10.0.
LeaseSeconds = Annotated[float, Meta(ge=1, le=LEASE_SECONDS_MAX, multiple_of=1)]


class PullBody(msgspec.Struct, frozen=True, rename="camel"):
    """How many jobs, and for how long; null asks for the default."""

    max: Annotated[float, Meta(ge=1, le=PULL_JOBS_MAX, multiple_of=1)] | None = None
    visibility_seconds: LeaseSeconds | None = None


class AckBody(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How jobs ended. `leaseIds` stand in the order of `ids`; null asks for no certain lease."""

    ids: Ids
    status: Literal["done", "failed"]
    lease_ids: Annotated[list[Id | None], Meta(max_length=IDS)] | None = None
    error: Annotated[str, Meta(max_length=ERROR_CHARACTERS)] | None = None
    postpone_seconds: Annotated[float, Meta(ge=0, le=POSTPONE_SECONDS, multiple_of=1)] | None = None


class ExtendBody(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Whose leases end how many seconds from now."""

    ids: Ids
    visibility_seconds: LeaseSeconds
    lease_ids: Annotated[list[Id | None], Meta(max_length=IDS)] | None = None


ENQUEUE, PULL, ACK, EXTEND = Shape(JobBody), Shape(PullBody), Shape(AckBody), Shape(ExtendBody)


async def write_jobs(platform: Platform, account_id: str, fn: Callable[[Work], T]) -> T:
    """Run `fn(work)` in a transaction; an account's queues of jobs are made when it first needs them."""
    try:
        return await platform.write(fn)
    except QueueNotFound:
        await ensure_queues(platform, account_id, NEEDS)
        return await platform.write(fn)


def key_hash_of(request: Request) -> bytes | None:
    """Give the hash of the request's idempotency key, if it has one.

    Raises:
        InvalidMessage: it is not 1 to 255 printable ASCII characters.
    """
    key = request.head.idempotency_key
    if key is None:
        return None
    if KEY.fullmatch(key) is None:
        raise InvalidMessage(
            f"the idempotency key is {key[:40]!r}, {len(key)} characters; "
            f"expected 1 to {IDEMPOTENCY_KEY_CHARACTERS} printable ASCII characters"
        )
    return jobs.hash_of_key(key, request.key.tenant)


def check_tenant(request: Request, tenant_id: str, r2_key: str | None = None) -> None:
    """Let it pass when the key may speak for the tenant, and name this object.

    What an agent reads becomes the text of the run, so a tenant's key does not name what others have uploaded.

    Raises:
        Forbidden: it is another tenant's, or limited to other queues.
    """
    request.key.check_queue(QUEUE)
    if request.key.tenant not in (None, tenant_id):
        raise Forbidden(f"this key is limited to tenant {request.key.tenant!r}")
    if request.key.tenant is not None and r2_key is not None and is_of_another_tenant(r2_key, tenant_id):
        raise Forbidden(
            f"r2Key is {r2_key[:80]!r}; of our own objects this key names those below {folder_of(tenant_id)!r}"
        )


class JobRoutes:
    """The routes of the job queue."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        wrong = (BodyNotJson, BodyDoesNotFit)
        return (
            Route(method="POST", path="/jobs/enqueue", handle=self.enqueue_job, scope=Scope.SEND, takes=ENQUEUE,
                  gives=answers.Enqueued, headers={"Idempotency-Key": IDEMPOTENCY_KEY},
                  refuses=(*wrong, InvalidMessage, Conflict, IdempotencyKeyReused, BacklogFull)),
            Route(method="POST", path="/jobs/pull", handle=self.pull_jobs, scope=Scope.TAKE, takes=PULL,
                  gives=answers.PulledJobs, refuses=(*wrong, DeliveryPaused)),
            Route(method="POST", path="/jobs/ack", handle=self.ack_jobs, scope=Scope.TAKE, takes=ACK,
                  gives=answers.JobResults, refuses=wrong),
            Route(method="POST", path="/jobs/extend", handle=self.extend_jobs, scope=Scope.TAKE, takes=EXTEND,
                  gives=answers.JobResults, refuses=wrong),
            Route(method="GET", path="/jobs/stats", handle=self.show_stats, scope=Scope.READ, gives=answers.JobStats),
        )  # fmt: skip

    async def enqueue_job(self, desk: Desk, request: Request) -> Answer:
        """Put a job into the queue. Its run is made when it is not there yet."""
        body: JobBody = ENQUEUE.read(request.body)
        check_tenant(request, body.tenant_id, body.r2_key)
        account_id, key_hash = request.key.account_id, key_hash_of(request)

        def enqueue(work: Work) -> tuple[str, str]:
            added = jobs.add(work, account_id, body, key_hash)
            earlier = None if added.is_new else statuses.look(work, account_id, [added.id]).get(added.id)
            return added.id, statuses.status_of(work, account_id, earlier) if earlier else statuses.PENDING

        job_id, status = await write_jobs(self._platform, account_id, enqueue)
        return _answer(answers.Enqueued(job_id=job_id, run_id=body.run_id, status=status))

    async def pull_jobs(self, desk: Desk, request: Request) -> Answer:
        """Lease jobs: nobody else gets them before the lease ends."""
        body: PullBody = PULL.read(request.body)
        request.key.check_queue(QUEUE)
        account_id, tenant = request.key.account_id, request.key.tenant
        limit, lease_ms = int(body.max or PULL_JOBS), int(body.visibility_seconds or LEASE_SECONDS) * 1000
        pulled = await write_jobs(
            self._platform, account_id, lambda work: pulling.pull(work, account_id, limit, lease_ms, tenant)
        )
        return _answer(answers.PulledJobs([_shown(job) for job in pulled]))

    async def ack_jobs(self, desk: Desk, request: Request) -> Answer:
        """Say how jobs ended. A failed one is pending again until its fifth delivery has failed."""
        body: AckBody = ACK.read(request.body)
        request.key.check_queue(QUEUE)
        account_id, tenant = request.key.account_id, request.key.tenant
        asked = _asked(body.ids, body.lease_ids)
        postpone_seconds = None if body.postpone_seconds is None else int(body.postpone_seconds)
        error = body.error and body.error[:REASON_CHARACTERS].replace(
            "\0", "\ufffd"
        )  # which PostgreSQL has no text for
        report = Report(body.status, error, postpone_seconds)
        return _results(
            await write_jobs(
                self._platform, account_id, lambda work: settling.settle(work, account_id, asked, report, tenant)
            )
        )

    async def extend_jobs(self, desk: Desk, request: Request) -> Answer:
        """Let leases end later, while a job takes its time."""
        body: ExtendBody = EXTEND.read(request.body)
        request.key.check_queue(QUEUE)
        account_id, tenant = request.key.account_id, request.key.tenant
        asked, lease_ms = _asked(body.ids, body.lease_ids), int(body.visibility_seconds) * 1000
        return _results(
            await write_jobs(
                self._platform, account_id, lambda work: settling.extend(work, account_id, asked, lease_ms, tenant)
            )
        )

    async def show_stats(self, desk: Desk, request: Request) -> Answer:
        """Count jobs by status; for a key of one tenant, that tenant's."""
        request.key.check_queue(QUEUE)
        account_id, tenant = request.key.account_id, request.key.tenant
        counts = await self._platform.read(lambda work: statuses.count(work, account_id, tenant))
        return _answer(answers.JobStats(counts, iso_milliseconds(desk.clock())))


def _asked(ids: list[str], lease_ids: list[str | None] | None) -> list[Asked]:
    if lease_ids is None:
        return [Asked(job_id) for job_id in ids]
    if len(lease_ids) != len(ids):
        raise BodyDoesNotFit(f"leaseIds has {len(lease_ids)} entries; expected one for each of the {len(ids)} ids")
    return [Asked(*pair) for pair in zip(ids, lease_ids, strict=True)]


def _shown(job: pulling.Pulled) -> answers.PulledJob:
    body = job.body
    return answers.PulledJob(
        id=job.id,
        run_id=body.run_id,
        tenant_id=body.tenant_id,
        r2_key=body.r2_key,
        attempts=job.attempts,
        lease_id=str(job.lease),
    )


def _results(verdicts: list[Verdict]) -> Answer:
    return _answer(answers.JobResults(results=verdicts))


def _answer(value: object) -> Answer:
    return Answer(msgspec.json.encode(value))
