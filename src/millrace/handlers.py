"""Handlers: functions that are called with a batch, and what their end means."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from millrace import limits
from millrace.batch import MessageBatch, check_delay_seconds, check_reason
from millrace.settlement import Ack, Outcome, Reject, Retry

Handler = Callable[..., Any]
Call = Callable[[MessageBatch, Any], Awaitable[None]]


class PermanentError(Exception):
    """Raise it when no further delivery can succeed: the messages go to the dead-letter queue."""


class RetryLater(Exception):
    """Raise it to have the messages delivered again after so many seconds, 0 to 86,400."""

    def __init__(self, delay_seconds: float) -> None:
        super().__init__(f"retry in {delay_seconds} s")
        self.delay_seconds = check_delay_seconds(delay_seconds)


class Context:
    """What a handler is given beside the batch and its bindings."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._awaited: list[Future[None]] = []

    def wait_until(self, awaitable: Awaitable[Any]) -> None:
        """Have this finish before the batch counts as handled; if it fails, the batch fails.

        It may be called from a plain function, too, which runs in a thread.
        """
        self._awaited.append(asyncio.run_coroutine_threadsafe(_contained(awaitable), self._loop))

    async def finish(self) -> None:
        """Wait for all that was given to `wait_until`, then raise the first of their errors."""
        ends = await asyncio.gather(*map(asyncio.wrap_future, self._awaited), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end


async def _contained(awaitable: Awaitable[Any]) -> None:
    """Let work of a handler end itself, but not the server."""
    try:
        await awaitable
    except SystemExit as error:
        raise RuntimeError(f"the handler called exit({error.code})") from error


def as_call(handler: Handler) -> Call:
    """Make one async call of a handler that takes (batch), (batch, env) or (batch, env, ctx), async or not.

    A plain function runs in a thread, so that it cannot stop the loop; threads are made as they are needed.
    """
    count = _arguments_of(handler)
    threads = ThreadPoolExecutor(limits.MAX_CONCURRENCY, "millrace-handler")
    is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)

    async def call(batch: MessageBatch, env: Any) -> None:
        context = Context()
        arguments = (batch, env, context)[:count]
        try:
            await _contained(handler(*arguments) if is_async else _in_thread(threads, handler, arguments))
        finally:
            await context.finish()

    return call


async def _in_thread(threads: ThreadPoolExecutor, handler: Handler, arguments: tuple[Any, ...]) -> None:
    """Call a plain function in a thread; if what it gives is to be awaited, as a decorator's may be, await that."""
    result = await asyncio.get_running_loop().run_in_executor(threads, partial(handler, *arguments))
    if inspect.isawaitable(result):
        await result


def outcome_of(error: BaseException | None) -> Outcome:
    """Say what a handler's end means for the messages it did not speak for."""
    match error:
        case None:
            return Ack()
        case PermanentError():
            return Reject(check_reason(str(error) or "PermanentError"))
        case RetryLater():
            return Retry(error.delay_seconds)
        case _:
            return Retry(reason=type(error).__name__)


def _arguments_of(handler: Handler) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(handler).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return 3
    return max(1, min(3, sum(parameter.kind in kinds for parameter in parameters)))
