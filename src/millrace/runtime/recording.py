"""Notes beside a cron's runs: when an attempt began, when it ended, and why it failed."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from millrace.batch import BatchMessage, MessageBatch
from millrace.errors import StoreUnavailable
from millrace.handlers import Call, outcome_of
from millrace.handlers.scheduled import ScheduledRun, read_run
from millrace.runtime.cron_runs import note_begun, note_ended
from millrace.settlement import Ack, Outcome, Reject, Retry
from millrace.work import Work

T = TypeVar("T")
Write = Callable[[Callable[[Work], None]], Awaitable[None]]


def recorded(call: Call, write: Write, account_id: str, program: str) -> Call:
    """Make a call that also notes what becomes of the runs that it is given; `write` runs a transaction function."""

    async def run(batch: MessageBatch, env: Any) -> None:
        runs = [(message, read) for message in batch.messages if (read := read_run(message)) is not None]
        await write(partial(_note_begun, account_id, program, [read for _, read in runs]))
        raised: BaseException | None = None
        try:
            await call(batch, env)
        except BaseException as error:
            raised = error
            raise
        finally:
            ends = [(read, _failure(message, batch, raised)) for message, read in runs]
            with suppress(StoreUnavailable):  # what was done is done, noted or not
                await write(partial(_note_ended, account_id, program, ends))

    return run


def _note_begun(account_id: str, program: str, runs: list[ScheduledRun], work: Work) -> None:
    for run in runs:
        note_begun(work, account_id, program, run)


def _note_ended(account_id: str, program: str, ends: list[tuple[ScheduledRun, str | None]], work: Work) -> None:
    for run, error in ends:
        note_ended(work, account_id, program, run, error)


def _failure(message: BatchMessage, batch: MessageBatch, raised: BaseException | None) -> str | None:
    """Say why an attempt failed; None when it did not."""
    outcome = message.outcome or batch.outcome or outcome_of(raised)
    return None if isinstance(outcome, Ack) else _named(outcome)


def _named(outcome: Outcome) -> str:
    match outcome:
        case Retry(reason=reason) | Reject(reason=reason):
            return reason or "retried"
        case _:
            return "put off"
