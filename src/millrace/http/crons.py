"""The crons of an account: what runs when, how the last run went, and a run at once."""

import msgspec
from msgspec import UNSET, UnsetType

from millrace.access.scopes import Scope
from millrace.clock import iso_milliseconds
from millrace.errors import BacklogFull, CronNotFound, InvalidRequest, QueueNotFound
from millrace.handlers.scheduled import ScheduledRun
from millrace.http.desk import Desk
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.runtime import cron_runs
from millrace.runtime.cron import next_after
from millrace.work import Work, write


class CronObject(msgspec.Struct, frozen=True, kw_only=True):
    """A cron. `last_status` is waiting, running, retrying, done or failed; the error is that of the last attempt."""

    program: str
    cron: str
    queue: str
    next_run: str | None
    last_run: str | None
    last_status: str | None
    last_error: str | UnsetType = UNSET


class CronList(msgspec.Struct, frozen=True):
    """The crons of the account."""

    crons: list[CronObject]


class RunCron(msgspec.Struct, frozen=True):
    """Which cron is to be run now; `cron` may be left out where the program has one."""

    program: str
    cron: str | None = None


class CronRun(msgspec.Struct, frozen=True):
    """A run that was sent."""

    program: str
    cron: str
    queue: str
    scheduled_time_ms: int


RUN = Shape(RunCron, InvalidRequest)


async def list_crons(desk: Desk, request: Request) -> Answer:
    """List the account's crons."""
    account_id, now_ms = request.key.account_id, desk.clock()

    def read(work: Work) -> list[CronObject]:
        rows = work.fetch("crons_of_account", (account_id,))
        return [
            _shown(work, account_id, program, expression, queue, now_ms)
            for program, expression, queue in rows
            if request.key.reaches(queue)
        ]

    found = await desk.store.read(lambda tx: read(Work(tx, desk.clock)))
    return Answer(msgspec.json.encode(CronList(found)))


async def run_cron(desk: Desk, request: Request) -> Answer:
    """Send a run of a cron now, whatever its expression says."""
    body: RunCron = RUN.read(request.body)
    account_id = request.key.account_id

    def send(work: Work) -> CronRun:
        expression, queue = _chosen(work, account_id, body)
        request.key.check_queue(queue)
        run: ScheduledRun = cron_runs.fire_now(work, account_id, body.program, expression)
        return CronRun(body.program, run.cron, queue, run.scheduled_time_ms)

    sent = await write(desk.store, desk.clock, desk.telemetry, send)
    return Answer(msgspec.json.encode(sent), 202)


def _chosen(work: Work, account_id: str, body: RunCron) -> tuple[str, str]:
    """Give the expression that is meant, and the queue of its runs.

    Raises:
        CronNotFound: the account has no such cron.
        InvalidRequest: the program has several, and none is named.
    """
    rows = [row for row in work.fetch("crons_of_account", (account_id,)) if row[0] == body.program]
    found = [(expression, queue) for _, expression, queue in rows if body.cron in (None, expression)]
    if not found:
        named = f"no cron {body.cron[:80]!r}" if body.cron is not None else "no crons"
        raise CronNotFound(f"program {body.program[:64]!r} has {named}; GET /api/crons lists what there is")
    if len(found) > 1:
        expressions = ", ".join(repr(expression) for expression, _ in found)
        raise InvalidRequest(f"cron is missing; program {body.program!r} has several: {expressions}")
    return found[0]


def _shown(work: Work, account_id: str, program: str, expression: str, queue: str, now_ms: int) -> CronObject:
    next_ms = next_after(expression, now_ms)
    last = cron_runs.last_run(work, account_id, program, expression)
    return CronObject(
        program=program,
        cron=expression,
        queue=queue,
        next_run=None if next_ms is None else iso_milliseconds(next_ms),
        last_run=None if last is None else iso_milliseconds(last.due_at_ms),
        last_status=None if last is None else last.status,
        last_error=UNSET if last is None or last.error is None else last.error,
    )


ROUTES = [
    Route(method="GET", path="/api/crons", handle=list_crons, scope=Scope.MANAGE, gives=CronList),
    Route(method="POST", path="/api/crons/run", handle=run_cron, scope=Scope.MANAGE, takes=RUN, gives=CronRun,
          refuses=(InvalidRequest, CronNotFound, QueueNotFound, BacklogFull), status=202),
]  # fmt: skip
