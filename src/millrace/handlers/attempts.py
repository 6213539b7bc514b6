"""One attempt at a step of a workflow: its function is called, and what came of it becomes a note."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from millrace import limits
from millrace.clock import Clock
from millrace.errors import InvalidInput
from millrace.handlers.calls import contained, plainly
from millrace.handlers.durations import StepRetries
from millrace.handlers.ends import PermanentError, RetryLater
from millrace.handlers.journal import StepNote

ERROR_CHARACTERS = 2_000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a step is run; `seconds` is the time limit of one attempt."""

    retries: StepRetries
    seconds: float
    is_concurrent: bool


async def attempt(note: StepNote, call: Callable[[], Any], options: Options, clock: Clock) -> StepNote:
    """Call a step's function once and tell what came of it; one that is to be tried again waits."""
    attempts = note.attempts + 1
    try:
        async with asyncio.timeout(options.seconds) as limit:
            value = await _called(call)
        result = to_json(value, f"the result of step {note.name!r}")
    except Exception as error:  # noqa: BLE001 - whatever a step raises is noted
        sentence = f"it took longer than {options.seconds:g} s" if limit.expired() else describe(error)
        if _is_final(error) or attempts > options.retries.limit:
            return replace(note, status="errored", attempts=attempts, error=sentence, wakes_at_ms=None)
        wakes_at_ms = clock() + round(_delay_seconds(error, attempts, options.retries) * 1000)
        return replace(note, attempts=attempts, error=sentence, wakes_at_ms=wakes_at_ms)
    return replace(note, status="complete", attempts=attempts, result=result, error=None, wakes_at_ms=None)


def to_json(value: object, subject: str) -> str:
    """Give a value as JSON.

    Raises:
        InvalidInput: it cannot be written as JSON, or has more than 1,000,000 bytes; `subject` names it.
    """
    try:
        text = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{subject} cannot be written as JSON: {error}") from None
    if len(text) > limits.WORKFLOW_VALUE_BYTES:
        raise InvalidInput(f"{subject} has {len(text)} bytes; at most {limits.WORKFLOW_VALUE_BYTES} are allowed")
    return text.decode()


def describe(error: BaseException) -> str:
    """Give an error's name and sentence, as far as a row should hold them."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the user's own __str__
        text = ""
    sentence = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return sentence[:ERROR_CHARACTERS].encode("utf-8", "replace").decode()


async def _called(call: Callable[[], Any]) -> Any:
    """Call an async function, or a plain one in a thread; what that gives may be awaited, too, as a lambda's is."""
    function = getattr(call, "func", call)
    given = call() if inspect.iscoroutinefunction(function) else await contained(asyncio.to_thread(plainly, call))
    return await contained(given) if inspect.isawaitable(given) else given


def _is_final(error: Exception) -> bool:
    """Judge Cloudflare's error by its name, for a program brings its own."""
    return isinstance(error, PermanentError) or type(error).__name__ == "NonRetryableError"


def _delay_seconds(error: Exception, attempts: int, retries: StepRetries) -> float:
    asked = error.delay_seconds if isinstance(error, RetryLater) else None
    return retries.delay_after(attempts) if asked is None else asked
