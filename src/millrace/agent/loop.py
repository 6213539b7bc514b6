"""The agent's loop: pull, work, store, settle; until it is told to stop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from millrace.agent.idle import Idle
from millrace.agent.leases import Held, kept, leases_of
from millrace.agent.pipeline import Process
from millrace.agent.text import NoText
from millrace.agent.verdict import DONE, RELEASED, Verdict, too_long, verdict_of
from millrace.edge_jobs.client import EdgeJobClient
from millrace.edge_jobs.job import Content, Job
from millrace.errors import Forbidden, MillraceError, Unauthenticated
from millrace.telemetry import Telemetry

GRACE_SECONDS = 20.0
JOB_SECONDS = 3_600

End = Literal["stopped", "left_behind", "too_long"]


class Agent:
    """Works on jobs one after the other; run several agents for more at once.

    Args:
        client: Stores and settles, however long it takes.
        brief: Pulls and extends; it gives up at once, since the next try comes soon.
        read: Gives the object of a job.
        process: Makes something of it.
        telemetry: Is told what happens.
        lease_seconds: How long a lease lasts when nobody extends it.
        job_seconds: How long one job may take.
        grace_seconds: How long the job that is worked on may take after the stop.
    """

    def __init__(
        self,
        client: EdgeJobClient,
        brief: EdgeJobClient,
        read: Callable[[Job], Content],
        process: Process,
        telemetry: Telemetry,
        *,
        lease_seconds: int,
        job_seconds: float = JOB_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._client, self._brief, self._telemetry = client, brief, telemetry
        self._read, self._process = read, process
        self._lease_seconds, self._job_seconds, self._grace_seconds = lease_seconds, job_seconds, grace_seconds

    async def run(self, stopping: asyncio.Event) -> End:
        """Work until the event, or until a job takes too long; a thread that still works then is left behind.

        Raises:
            Unauthenticated, Forbidden: the token is refused.
        """
        idle = Idle()
        while not stopping.is_set():
            jobs = await self._pull()
            if not jobs:
                await is_set_within(stopping, idle.next_seconds())
                continue
            idle.reset()
            if not await self._work_on_all(jobs, stopping):
                return "left_behind" if stopping.is_set() else "too_long"
        return "stopped"

    async def _pull(self) -> list[Job]:
        """Take jobs; none when the server cannot give any now."""
        try:
            return await asyncio.to_thread(self._brief.pull)
        except (Unauthenticated, Forbidden):
            raise
        except MillraceError as error:
            self._telemetry.emit("server.unreachable", doing="pull", reason=str(error))
            return []

    async def _work_on_all(self, jobs: list[Job], stopping: asyncio.Event) -> bool:
        """Work on jobs until the event, and give back what is left then; False when a thread goes on."""
        held, has_ended = Held(jobs), True
        async with kept(held, self._brief, self._lease_seconds, self._telemetry):
            for job in jobs:
                if stopping.is_set():
                    break
                has_ended = await self._work_on(job, stopping)
                if has_ended or not stopping.is_set():
                    held.drop(job)
                if not has_ended:
                    break
        if held.jobs:
            await self._settle(held.jobs, RELEASED)
        return has_ended

    async def _work_on(self, job: Job, stopping: asyncio.Event) -> bool:
        """Work on one job and settle it; False when its thread goes on, since it takes too long."""
        working = asyncio.ensure_future(asyncio.to_thread(self._make, job))
        if not await ends_in_time(working, stopping, self._job_seconds, self._grace_seconds):
            if not stopping.is_set():
                await self._settle([job], too_long(self._job_seconds))
            return False
        error = working.exception()
        await self._settle([job], DONE if error is None else verdict_of(error), error)
        return True

    def _make(self, job: Job) -> None:
        """Process a job and store what was found, in a thread."""
        try:
            found = self._process(job, partial(self._read, job)) or {}
        except (SystemExit, StopIteration) as error:  # the one would end the agent, the other no future can hold
            raise RuntimeError(f"the pipeline raised {error!r}") from error
        if found:
            self._client.store_result(job.run_id, found.get("text"), found.get("result"))

    async def _settle(self, jobs: list[Job], verdict: Verdict, error: BaseException | None = None) -> None:
        """Tell the server what became of jobs; if it cannot be told, their leases lapse, and they come again."""
        ack = partial(self._client.ack, [job.id for job in jobs], verdict.status, verdict.error, leases_of(jobs))
        try:
            results = await asyncio.to_thread(ack, postpone_seconds=verdict.postpone_seconds)
        except MillraceError as failure:
            self._telemetry.emit("server.unreachable", doing="ack", reason=str(failure))
            return
        runs = {job.id: job.run_id for job in jobs}
        for result in results:
            fields = {"job": result.id, "run": runs.get(result.id), "status": result.status}
            if not result.ok:
                self._telemetry.emit("job.ack_refused", **fields, reason=result.reason)
            elif verdict.status == "done":
                self._telemetry.emit("job.done", **fields)
            else:
                self._telemetry.emit(event_of(verdict), **fields, reason=verdict.error, **traced(error))


def event_of(verdict: Verdict) -> str:
    """Name what is told of a job that is not done."""
    return "job.failed" if verdict.postpone_seconds is None else "job.postponed"


def traced(error: BaseException | None) -> dict[str, BaseException]:
    """Give the error for the log where its sentence alone would not say where it came from."""
    return {} if error is None or isinstance(error, MillraceError | NoText) else {"error": error}


async def ends_in_time(
    working: "asyncio.Future[Any]", stopping: asyncio.Event, seconds: float, grace_seconds: float
) -> bool:
    """Wait so long for the end of work, after the event only for the grace; say whether it came."""
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            await asyncio.wait({working}, timeout=grace_seconds)
    finally:
        stop.cancel()
    return working.done()


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but not longer; say whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
