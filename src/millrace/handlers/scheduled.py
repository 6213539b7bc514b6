"""Handlers of crons: functions that are called with a controller when a cron is due, not with a batch."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from millrace.batch import BatchMessage, MessageBatch, check_reason
from millrace.handlers.bodies import note_failure
from millrace.handlers.calls import Call, Handler, runner


class ScheduledRun(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a run's message."""

    cron: str
    scheduled_time_ms: int


class ScheduledController:
    """What a handler of crons is given: which cron is due, and when it was due."""

    type = "scheduled"

    def __init__(self, run: ScheduledRun, attempts: int) -> None:
        self._run, self.attempts = run, attempts
        self.retries = True

    @property
    def cron(self) -> str:
        """The expression, as it was written."""
        return self._run.cron

    @property
    def scheduled_time(self) -> datetime:
        """When the run was due (UTC); a run that is late, or comes again, has the time of the first."""
        return datetime.fromtimestamp(self._run.scheduled_time_ms / 1000, UTC)

    @property
    def scheduled_time_ms(self) -> int:
        """The same in epoch milliseconds."""
        return self._run.scheduled_time_ms

    def no_retry(self) -> None:
        """Have this run not tried again, should it fail."""
        self.retries = False


def as_scheduled_call(handler: Handler) -> Call:
    """Make the call of a batch handler out of (controller), (controller, env) or (controller, env, ctx), async or not.

    Raises:
        ConfigurationError: it cannot be called so.
    """
    run = runner(handler, "controller")

    async def call(batch: MessageBatch, env: Any) -> None:
        for message in batch.messages:
            await _hand_over(run, message, batch, env)

    return call


async def _hand_over(run: Any, message: BatchMessage, batch: MessageBatch, env: Any) -> None:
    """Hand one run over; what it raises is its own, so that others in the batch are not run again."""
    read = read_run(message)
    if read is None:
        message.reject("this is no run of a cron")
        return
    controller = ScheduledController(read, message.attempts)
    try:
        await run(controller, env)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the outcome
        if not controller.retries:
            message.reject(check_reason(type(error).__name__))
        note_failure(message, batch, error)
    else:
        message.ack()


def read_run(message: BatchMessage[Any]) -> ScheduledRun | None:
    """Read the body of a run's message; None when somebody has sent something else."""
    try:
        return msgspec.json.decode(message.raw_body, type=ScheduledRun)
    except msgspec.DecodeError:
        return None
