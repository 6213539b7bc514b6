"""The consumer: the jobs of a batch run side by side, and each is settled with the line of history that tells of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from time import monotonic
from typing import Any, NamedTuple

from millrace.apps.messaging import attempts, telling
from millrace.apps.messaging.attempts import Attempt, Closed
from millrace.apps.messaging.ends import End, end_of
from millrace.apps.messaging.jobs import Job
from millrace.apps.messaging.queueing import Rules
from millrace.batch import MessageBatch
from millrace.errors import StoreUnavailable
from millrace.platform import Platform
from millrace.settlement import Postpone

WRITE_SECONDS = 45.0  # less than a lease: what a provider has taken must be on disk before anybody else may try
PAUSE_SECONDS = 0.25
HEAD_START_SECONDS = 0.25  # of a priority before the next; else what a batch has first might arrive last
NOT_WRITTEN = Postpone(1)  # delivered again: what was not begun to be tried then, what is done to be written


class Doing(NamedTuple):
    """What a processor is given: whose job it is, its id, the job, and whether the provider's rate has a place for it."""

    account_id: str
    id: str
    job: Any
    has_turn: bool = False


Process = Callable[[Doing], Awaitable[End]]


class Delivery:
    """The batch handler of the queue. `processes` has a function for each type of job."""

    def __init__(self, platform: Platform, rules: Rules, processes: Mapping[str, Process]) -> None:
        self._platform, self._rules, self._processes = platform, rules, processes
        self._unwritten: dict[str, End] = {}  # what was done, though the store could not be told

    async def __call__(self, batch: MessageBatch, env: Any) -> None:
        """Try all jobs of a batch and settle each by itself."""
        account_id: str = env.ACCOUNT_ID
        begun = await self._begin(account_id, batch)
        for attempt in begun:
            telling.tell_begun(self._platform.telemetry, account_id, batch.queue, attempt)
        tried = self._start(account_id, begun)
        for error in await asyncio.gather(*tried, return_exceptions=True):  # all of them, whatever one of them raises
            if isinstance(error, BaseException):
                raise error

    async def _begin(self, account_id: str, batch: MessageBatch) -> list[Attempt]:
        """Write that the jobs are being tried; while the store is away none is, which costs them nothing."""
        try:
            return await self._platform.write(partial(attempts.begin, account_id, batch.messages, self._rules))
        except StoreUnavailable:
            for message in batch.messages:
                message.note(NOT_WRITTEN)
            raise

    def _start(self, account_id: str, begun: Sequence[Attempt]) -> list[asyncio.Task[None]]:
        """Start all attempts; a lower priority, which comes later in a batch, gives the earlier ones a head start."""
        tasks: list[asyncio.Task[None]] = []
        for place, (_, group) in enumerate(groupby(begun, key=lambda attempt: attempt.message.priority)):
            earlier, seconds = [*tasks], place * HEAD_START_SECONDS
            tasks += [asyncio.create_task(self._try_after(earlier, seconds, account_id, attempt)) for attempt in group]
        return tasks

    async def _try_after(
        self, earlier: Sequence[asyncio.Task[None]], seconds: float, account_id: str, attempt: Attempt
    ) -> None:
        if earlier:
            await asyncio.wait(earlier, timeout=seconds)
        await self._try(account_id, attempt)

    async def _try(self, account_id: str, attempt: Attempt) -> None:
        began = monotonic()
        done = self._unwritten.get(attempt.message.id)
        end = attempt.end or done or await self._run(account_id, attempt)
        if end.is_success:
            self._unwritten[attempt.message.id] = end
        closed = await self._close(account_id, attempt, end)
        if closed is None:
            attempt.message.note(NOT_WRITTEN if end.is_success else end.outcome)
            return
        self._unwritten.pop(attempt.message.id, None)
        duration_ms = (monotonic() - began) * 1000
        telling.tell_ended(self._platform.telemetry, account_id, attempt, end, closed, duration_ms)

    async def _run(self, account_id: str, attempt: Attempt) -> End:
        job: Job | None = attempt.job
        assert job is not None
        try:
            return await self._processes[attempt.type](Doing(account_id, attempt.id, job, attempt.has_turn))
        except Exception as error:  # noqa: BLE001 - whatever a processor raises, it is this job's end alone
            return end_of(error)

    async def _close(self, account_id: str, attempt: Attempt, end: End) -> Closed | None:
        """Settle and write, trying again while the store is away; None when it stays away."""
        until = monotonic() + WRITE_SECONDS
        while True:
            try:
                closed = await self._platform.write(partial(attempts.close, account_id, attempt, end, self._rules))
            except StoreUnavailable:
                if monotonic() >= until:
                    return None
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                attempt.message.is_settled = True
                return closed
