"""A handler that runs the instances of a workflow: each delivery goes as far as it can, and the rest is another one."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from millrace import limits
from millrace.batch import BatchMessage
from millrace.errors import ConfigurationError, StoreUnavailable
from millrace.handlers.attempts import describe, to_json
from millrace.handlers.calls import contained
from millrace.handlers.journal import Begun, Journal, Pause
from millrace.handlers.per_message import EachMessage, each
from millrace.handlers.runs import Run
from millrace.handlers.signatures import name_of, signature_of
from millrace.handlers.steps import WorkflowStep
from millrace.settlement import Postpone

WorkflowFunction = Callable[..., Awaitable[Any]]

STEP_ARGUMENTS, ALL_ARGUMENTS = 2, 3
STORE_SECONDS = 1  # until a delivery that could write nothing is repeated
EXPECTED = "expected `async def run(event, step)` or `async def run(event, step, env)`"
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class WorkflowEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What started an instance: its id, its parameters, and when it was created (UTC)."""

    id: str
    payload: Any
    timestamp: datetime


def workflow_handler(function: WorkflowFunction, journal: Journal, unit_seconds: float = 1) -> EachMessage:
    """Make the handler of a workflow's queue out of `async def run(event, step)` or `run(event, step, env)`.

    `unit_seconds` is what a number of a step's options stands for.

    Raises:
        ConfigurationError: it cannot be called so.
    """
    count = _arguments_of(function)

    async def handle(message: BatchMessage[Any], env: Any) -> None:
        instance_id = message.body.get("id") if isinstance(message.body, dict) else None
        if not isinstance(instance_id, str):
            message.reject('expected {"id": …}, which creating an instance sends')
            return
        try:
            await go_on(message, instance_id, env)
        except StoreUnavailable:
            message.note(Postpone(STORE_SECONDS))  # a full disk is no death of this instance's
            raise

    async def go_on(message: BatchMessage[Any], instance_id: str, env: Any) -> None:
        begun = await journal.begin(instance_id, message.id)
        if begun is None:
            return
        run = Run(instance_id, begun, journal)
        if message.attempts > limits.WORKFLOW_DEATHS:
            pause: Pause | None = _given_up(message.attempts)
        else:
            arguments = (_event(instance_id, begun), WorkflowStep(run, unit_seconds), env)
            pause = await _go(function, arguments[:count], run)
        if pause is None or not await journal.end(instance_id, begun.version, pause):
            message.note(Postpone(0))  # a later run counts, or somebody has ended it: the next delivery will see
        elif pause.wakes_at_ms is not None:
            seconds = (pause.wakes_at_ms - run.now_ms()) / 1000
            message.note(Postpone(min(max(0.0, seconds), limits.DELAY_SECONDS)))

    return each(handle)


async def _go(function: WorkflowFunction, arguments: tuple[Any, ...], run: Run) -> Pause | None:
    """Run the function as far as it goes; None when this run does not count any more."""
    running = asyncio.ensure_future(contained(function(*arguments)))
    has_ended = await run.drive(running)
    if run.is_fenced:
        return None
    if not has_ended:
        return run.pause()
    try:
        return Pause(status="complete", output=to_json(running.result(), "what the workflow returned"))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is how this instance ends
        return Pause(status="errored", error=describe(error))


def _event(id: str, begun: Begun) -> WorkflowEvent:
    created_at = datetime.fromtimestamp(begun.created_at_ms / 1000, UTC)
    return WorkflowEvent(id=id, payload=msgspec.json.decode(begun.params), timestamp=created_at)


def _given_up(attempts: int) -> Pause:
    return Pause(status="errored", error=f"its process ended {attempts - 1} times in the middle of a run")


def _arguments_of(function: Any) -> int:
    """Count how many of (event, step, env) a function is to be given."""
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
    if not callable(function) or not is_async:
        raise ConfigurationError(f"workflow {name_of(function)} is not async; {EXPECTED}")
    parameters = signature_of(function).parameters.values()
    takes = sum(parameter.kind in POSITIONAL for parameter in parameters)
    needs = sum(parameter.kind in POSITIONAL and parameter.default is parameter.empty for parameter in parameters)
    if takes < STEP_ARGUMENTS or needs > ALL_ARGUMENTS:
        raise ConfigurationError(f"workflow {name_of(function)} takes {signature_of(function)}; {EXPECTED}")
    return min(takes, ALL_ARGUMENTS)
