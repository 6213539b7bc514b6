"""`POST /api/enqueue-job`: jobs of any type, one or a list."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace.access.keys import Key
from millrace.access.scopes import Scope, check_scope
from millrace.apps.messaging.exports.allowed import reach_of
from millrace.apps.messaging.jobs import CleanupJob, ExportJob, Job, read_filters
from millrace.apps.messaging.queueing import By, Queued, Rules, queue_jobs
from millrace.apps.messaging.queues import QUEUE
from millrace.apps.messaging.telling import tell_queued
from millrace.bucket import Rate
from millrace.clock import iso_milliseconds
from millrace.coordination import buckets
from millrace.errors import (
    BacklogFull,
    BodyDoesNotFit,
    BodyNotJson,
    Conflict,
    IdempotencyKeyReused,
    MessageTooLarge,
    Overloaded,
    QueueNotFound,
)
from millrace.http.desk import Desk, check_unlimited
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.limits import BATCH_MESSAGES
from millrace.platform import Platform, QueueNeed, ensure_queues
from millrace.work import Work

T = TypeVar("T")

Jobs = Annotated[list[Job], Meta(min_length=1, max_length=BATCH_MESSAGES)]
JOB, JOBS = Shape(Job), Shape(Jobs)


class JobQueued(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job that is in the queue. `scheduledFor` is the time that its sender named."""

    job_id: str
    type: str
    status: Literal["queued"] = "queued"
    scheduled_for: str | None = None


class JobsAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The answer: to one job what there is of it, to a list its `jobs` in their order."""

    success: bool
    job_id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    status: Literal["queued"] | UnsetType = UNSET
    scheduled_for: str | None | UnsetType = UNSET
    jobs: list[JobQueued] | UnsetType = UNSET


class Counter:
    """Where an account's jobs are taken in: its queue is made when it first needs it, and no key asks too often."""

    def __init__(self, platform: Platform, needs: tuple[QueueNeed, ...], key_rate: Rate | None) -> None:
        self.platform, self._needs, self._key_rate = platform, needs, key_rate

    async def write(self, request: Request, fn: Callable[[Work], T]) -> T:
        """Run `fn(work)` in a transaction for a caller who may use the queue, and has not asked too often.

        Raises:
            Forbidden: the key is limited to other queues, or to a tenant.
            Overloaded: it asks too often.
        """
        check_caller(request)
        account_id = request.key.account_id
        limited = partial(self._limited, request, fn)
        try:
            return await self.platform.write(limited)
        except QueueNotFound:
            await ensure_queues(self.platform, account_id, self._needs)
            return await self.platform.write(limited)

    def _limited(self, request: Request, fn: Callable[[Work], T], work: Work) -> T:
        if self._key_rate is not None:
            name = f"messaging {request.key.id}"
            wait_seconds = buckets.take(work.tx, request.key.account_id, name, 1, self._key_rate, work.now_ms)
            if wait_seconds:
                raise Overloaded("this key asks too often", wait_seconds)
        return fn(work)


def check_caller(request: Request) -> None:
    """Let keys pass that may use the queue: messages know no tenants.

    Raises:
        Forbidden: the key is limited to other queues, or to a tenant.
    """
    if request.key.tenant is not None:
        check_unlimited(request, "messages belong to the whole account")
    request.key.check_queue(QUEUE)


def check_jobs(key: Key, jobs: Iterable[Job]) -> None:
    """Let a key's jobs pass unless one exports or cleans the audit trail, which the key may not read.

    Raises:
        Forbidden: one does.
    """
    for job in jobs:
        is_export = isinstance(job, ExportJob) and read_filters(job.filters).source == "audit"
        if is_export or (isinstance(job, CleanupJob) and job.target == "audit_logs"):
            check_scope(key.role, Scope.AUDIT)


class JobRoutes:
    """The route of jobs."""

    def __init__(self, counter: Counter, rules: Rules) -> None:
        self._counter, self._rules = counter, rules

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        refuses = (
            BodyNotJson,
            BodyDoesNotFit,
            Conflict,
            IdempotencyKeyReused,
            MessageTooLarge,
            BacklogFull,
            Overloaded,
        )
        return (
            Route(method="POST", path="/api/enqueue-job", handle=self.enqueue_job, scope=Scope.SEND,
                  takes=Shape(Job | Jobs), gives=JobsAnswer, refuses=refuses, status=202),
        )  # fmt: skip

    async def enqueue_job(self, desk: Desk, request: Request) -> Answer:
        """Put a job into the queue, or a list of them, all or none."""
        is_list = request.body.lstrip()[:1] == b"["
        jobs = JOBS.read(request.body) if is_list else [JOB.read(request.body)]
        check_jobs(request.key, jobs)
        by = By(request.key.id, request.correlation_id, reach_of(request.key))
        account_id = request.key.account_id
        queued = await self._counter.write(request, lambda work: queue_jobs(work, account_id, jobs, self._rules, by))
        tell_queued(desk.telemetry, account_id, queued, request.correlation_id)
        answers = [_shown(one) for one in queued]
        one = msgspec.structs.asdict(answers[0])
        answer = JobsAnswer(success=True, jobs=answers) if is_list else JobsAnswer(success=True, **one)
        return Answer(msgspec.json.encode(answer), 202)


def _shown(queued: Queued) -> JobQueued:
    at = None if queued.due_at_ms is None else iso_milliseconds(queued.due_at_ms)
    return JobQueued(job_id=queued.job_id, type=queued.type, scheduled_for=at)
