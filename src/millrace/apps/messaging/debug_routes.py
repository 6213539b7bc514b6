"""`/debug/…` and `/api/messaging/…`: how the queue is doing, and jobs to try it with."""

from datetime import UTC, datetime, timedelta

import msgspec

from millrace.access.scopes import Scope
from millrace.apps.messaging import figures
from millrace.apps.messaging.figures import Failures, QueueStatus
from millrace.apps.messaging.job_routes import JOB, Counter, check_caller
from millrace.apps.messaging.jobs import CleanupJob, EmailJob, ExportJob, Job, SmsJob
from millrace.apps.messaging.providers.mime import sender_of
from millrace.apps.messaging.queueing import By, Queued, Rules, queue_jobs
from millrace.apps.messaging.settings import MessagingSettings
from millrace.apps.messaging.telling import tell_queued
from millrace.errors import (
    BacklogFull,
    BodyDoesNotFit,
    BodyNotJson,
    IdempotencyKeyReused,
    MessageTooLarge,
    Overloaded,
)
from millrace.http.desk import Desk
from millrace.http.request import Request
from millrace.http.routes import Answer, Route
from millrace.ids import new_id

TEST_NUMBER = "+15005550006"  # Twilio's own for tests: it takes every message
HOURS, HOURS_MAX = 24, 24 * 31


class TestJob(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of the jobs that were made."""

    type: str
    job_id: str


class TestJobs(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that were made, one of each type."""

    success: bool = True
    jobs: list[TestJob]


class TestQueued(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The job that was made."""

    success: bool = True
    job_id: str


class DebugRoutes:
    """The routes; those below /debug are there only where the settings want them."""

    def __init__(self, counter: Counter, rules: Rules, settings: MessagingSettings) -> None:
        self._counter, self._rules, self._settings = counter, rules, settings

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        watching = (
            Route(method="GET", path="/api/messaging/status", handle=self.show_status, scope=Scope.WATCH,
                  gives=QueueStatus),
            Route(method="GET", path="/api/messaging/failures", handle=self.show_failures, scope=Scope.WATCH,
                  gives=Failures, query={"hours": {"type": "integer", "minimum": 1, "maximum": HOURS_MAX}}),
        )  # fmt: skip
        return (*watching, *self._debug_routes()) if self._settings.debug_routes else watching

    def _debug_routes(self) -> tuple[Route, ...]:
        refuses = (BodyNotJson, BodyDoesNotFit, IdempotencyKeyReused, MessageTooLarge, BacklogFull, Overloaded)
        return (
            Route(method="GET", path="/debug/queue-status", handle=self.show_status, scope=Scope.WATCH,
                  gives=QueueStatus),
            *(Route(method=method, path="/debug/enqueue-test", handle=self.enqueue_test, scope=Scope.DEBUG,
                    gives=TestJobs, refuses=refuses) for method in ("GET", "POST")),
            Route(method="GET", path="/debug/enqueue", handle=self.enqueue_one, scope=Scope.DEBUG, gives=TestQueued,
                  refuses=refuses),
            Route(method="POST", path="/debug/enqueue", handle=self.enqueue_one, scope=Scope.DEBUG, takes=JOB,
                  gives=TestQueued, refuses=refuses),
        )  # fmt: skip

    async def show_status(self, desk: Desk, request: Request) -> Answer:
        """Show how the queue is doing: counts, failure rate, what happened last, what is configured."""
        check_caller(request)
        account_id, environment = request.key.account_id, self._settings.environment
        status = await self._counter.platform.read(lambda work: figures.status_of_queue(work, account_id, environment))
        return Answer(msgspec.json.encode(status))

    async def show_failures(self, desk: Desk, request: Request) -> Answer:
        """Show the failures of the last hours, by type and reason, with their trend."""
        check_caller(request)
        account_id, hours = request.key.account_id, request.number("hours", HOURS, HOURS_MAX)
        found = await self._counter.platform.read(lambda work: figures.failures(work, account_id, hours))
        return Answer(msgspec.json.encode(found))

    async def enqueue_test(self, desk: Desk, request: Request) -> Answer:
        """Put one job of each type into the queue."""
        queued = await self._queue(desk, request, self._test_jobs(request, desk.clock()))
        return Answer(msgspec.json.encode(TestJobs(jobs=[TestJob(type=one.type, job_id=one.job_id) for one in queued])))

    async def enqueue_one(self, desk: Desk, request: Request) -> Answer:
        """Put one job into the queue: the one of the body, else an e-mail to ourselves."""
        job: Job = (
            JOB.read(request.body)
            if request.body.strip() not in (b"", b"{}")
            else self._test_jobs(request, desk.clock())[0]
        )
        (queued,) = await self._queue(desk, request, [job])
        return Answer(msgspec.json.encode(TestQueued(job_id=queued.job_id)))

    async def _queue(self, desk: Desk, request: Request, jobs: list[Job]) -> list[Queued]:
        account_id, by = request.key.account_id, By(request.key.id, request.correlation_id)
        queued = await self._counter.write(request, lambda work: queue_jobs(work, account_id, jobs, self._rules, by))
        tell_queued(desk.telemetry, account_id, queued, request.correlation_id)
        return queued

    def _test_jobs(self, request: Request, now_ms: int) -> list[Job]:
        number, today = new_id(), datetime.fromtimestamp(now_ms / 1000, UTC)
        ourselves = sender_of(self._settings.mail_from)
        month_ago = (today - timedelta(days=30)).date().isoformat()
        filters = {"startDate": today.date().isoformat(), "endDate": today.date().isoformat()}
        text = "This is a test of the queue."
        return [
            EmailJob(
                message_id=f"test-{number}-email", recipient=ourselves, subject="Test", content=text, priority="high"
            ),
            SmsJob(message_id=f"test-{number}-sms", recipient=TEST_NUMBER, content=text, priority="high"),
            ExportJob(
                export_id=f"test-{number}-export",
                filters=filters,
                user_id=request.key.id,
                format="csv",
                priority="high",
            ),
            CleanupJob(target="temp_files", older_than=month_ago, priority="high"),
        ]
