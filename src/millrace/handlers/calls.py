"""Calling a handler so that it may be async or not, take one to three arguments, and end in any way."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from millrace import limits
from millrace.batch import MessageBatch
from millrace.handlers.bodies import batch_reader, fits
from millrace.handlers.signatures import arguments_of
from millrace.handlers.threads import for_thread

Handler = Callable[..., Any]
Call = Callable[[MessageBatch, Any], Awaitable[None]]


class Context:
    """What a handler is given beside the batch and its bindings."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._awaited: list[Future[None]] = []

    def wait_until(self, awaitable: Awaitable[Any]) -> None:
        """Have this finish before the batch counts as handled; if it fails, the batch fails.

        It may be called from a plain function, too, which runs in a thread.
        """
        if inspect.isawaitable(awaitable):  # what a plain function sends is done already
            self._awaited.append(asyncio.run_coroutine_threadsafe(contained(awaitable), self._loop))

    async def finish(self) -> BaseException | None:
        """Wait for all that was given to `wait_until`, also meanwhile; give the first of their errors."""
        errors: list[BaseException] = []
        while self._awaited:
            waiting, self._awaited = self._awaited, []
            ends = await asyncio.gather(*map(asyncio.wrap_future, waiting), return_exceptions=True)
            errors += [end for end in ends if isinstance(end, BaseException)]
        return errors[0] if errors else None

    def cancel(self) -> None:
        """Give up what was given to `wait_until`."""
        for future in self._awaited:
            future.cancel()


def as_call(handler: Handler) -> Call:
    """Make one async call of a handler that takes (batch), (batch, env) or (batch, env, ctx), async or not.

    A handler of `MessageBatch[Order]` is shown the messages whose bodies are one; the others are rejected.

    Raises:
        ConfigurationError: it cannot be called so, or no body can be read as the type it asks for.
    """
    make = getattr(handler, "_queue_handler", None)  # a Python Worker's class says itself how it is called
    handler = make(handler) if make is not None else handler
    run = runner(handler, "batch")
    read = batch_reader(handler)

    async def call(batch: MessageBatch, env: Any) -> None:
        if read is not None:
            batch = batch.only([message for message in batch.messages if fits(message, batch, read)])
            if not batch.messages:
                return
        await run(batch, env)

    return call


def runner(function: Handler, first: str) -> Callable[[Any, Any], Awaitable[None]]:
    """Make one async call of a function that takes (`first`), (`first`, env) or (`first`, env, ctx), async or not.

    A plain function runs in a thread, so that it cannot stop the loop; threads are made as they are needed.

    Raises:
        ConfigurationError: it cannot be called so.
    """
    count = arguments_of(function, first)
    threads = ThreadPoolExecutor(limits.MAX_CONCURRENCY, "millrace-handler")
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

    async def run(given: Any, env: Any) -> None:
        context = Context()
        arguments = (given, env if is_async else for_thread(env), context)[:count]
        try:
            await contained(function(*arguments) if is_async else _in_thread(threads, function, arguments))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                context.cancel()
            await context.finish()  # an error of what was left behind must not hide this one
            raise
        if failure := await context.finish():
            raise failure

    return run


async def _in_thread(threads: ThreadPoolExecutor, function: Handler, arguments: tuple[Any, ...]) -> None:
    """Call a plain function in a thread; if what it gives is to be awaited, as a decorator's may be, await that."""
    result = await asyncio.get_running_loop().run_in_executor(threads, partial(plainly, function, *arguments))
    if inspect.isawaitable(result):
        await result


def plainly(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a plain function in a thread; no future can hold a StopIteration, so its end would never be heard of."""
    try:
        return function(*arguments)
    except StopIteration as error:
        raise RuntimeError("the handler raised StopIteration") from error


async def contained(awaitable: Awaitable[Any]) -> Any:
    """Let work of a handler end itself, but not the server, nor look as if the server had cancelled it."""
    try:
        return await awaitable
    except Exception:
        raise
    except SystemExit as error:
        raise RuntimeError(f"the handler called exit({error.code})") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("the handler raised CancelledError") from error
    except BaseException as error:
        raise RuntimeError(f"the handler raised {type(error).__name__}") from error
