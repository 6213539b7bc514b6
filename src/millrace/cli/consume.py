"""`millrace consume`: handlers in this process, for the queues of a server elsewhere."""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import msgspec

from millrace import limits
from millrace.bindings import Env
from millrace.cli.environment import environment
from millrace.cli.handlers import load_handlers
from millrace.cli.prepare import prepare
from millrace.cli.processes import run_processes
from millrace.cli.signals import leave_behind, stop_on_signals
from millrace.client.address import server_of
from millrace.client.async_calls import AsyncCalls
from millrace.client.asynchronous import AsyncClient
from millrace.client.feed import RemoteFeed
from millrace.client.retries import NONE
from millrace.clock import wall_ms
from millrace.config import read_handler_seconds
from millrace.errors import ConfigurationError
from millrace.handlers import Call, Handler, as_call
from millrace.logs import LINES, LogLines
from millrace.programs import load_object
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.watchdog import Watchdog
from millrace.telemetry import Telemetry
from millrace.wrangler.file import WranglerFile
from millrace.wrangler.reading import read_wrangler

PARENT_SECONDS = 1.0
SAME_SIGNAL_SECONDS = 1.0  # a supervisor may signal a forked process, and its parent passes on the same signal
ANSWER_SECONDS = 30.0


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does: handlers by queue, for a server, with a key; the file names bindings and variables."""

    calls: dict[str, Call]
    url: str
    token: str | None
    file: WranglerFile | None
    handler_seconds: float


def run(arguments: argparse.Namespace) -> int:
    """Consume until a signal comes."""
    environment()
    work = _read(arguments)
    if arguments.processes == 1:
        return _run_one(work)
    parent = os.getpid()
    return run_processes(arguments.processes, lambda: _run_one(work, parent))


def _read(arguments: argparse.Namespace) -> Work:
    if not arguments.config and not (arguments.queue and arguments.handler):
        arguments.refuse("give --queue and --handler, or --config with a wrangler file that names handlers")
    file = read_wrangler(arguments.config, arguments.environment) if arguments.config else None
    url, token = server_of(os.environ, arguments.url, arguments.token)
    return Work(
        calls={queue: as_call(made) for queue, made in _handlers(file, arguments.queue, arguments.handler).items()},
        url=url,
        token=token,
        file=file,
        handler_seconds=arguments.handler_seconds or read_handler_seconds(os.environ) or limits.HANDLER_SECONDS,
    )


def _handlers(file: WranglerFile | None, queue: str | None, reference: str | None) -> dict[str, Handler]:
    """Load what is to be run: the one handler that was named, or those of the file."""
    if reference is not None:
        if queue is None:
            raise ConfigurationError("--handler needs --queue, the queue it is for")
        return {queue: cast(Handler, load_object(reference, Path.cwd()))}
    assert file is not None, "without a file there is a handler"
    handlers = load_handlers(file)
    if queue is None and handlers:
        return handlers
    if queue not in handlers:
        known = ", ".join(handlers) or "none"
        raise ConfigurationError(f"{file.path} has no handler for {queue or 'any queue'}; it has handlers for: {known}")
    return {queue: handlers[queue]}


def _run_one(work: Work, parent: int | None = None) -> int:
    import uvloop

    return uvloop.run(consume(work, parent))


async def consume(work: Work, parent: int | None = None) -> int:
    """Consume until a signal comes or the process `parent`, that forked this one, is gone; give the exit code.

    Raises:
        Unauthenticated, Forbidden: the key is refused.
    """
    async with AsyncExitStack() as stack:
        telemetry = Telemetry()
        lines = LogLines(sys.stdout.buffer, wall_ms)
        stack.callback(lines.close)
        telemetry.subscribe(lines, *LINES)
        stopping = _stop_when_told(telemetry, lines, parent, stack)
        client = await stack.enter_async_context(AsyncClient(work.url, work.token))
        calls = AsyncCalls(
            work.url, work.token, None, retries=NONE, timeout_seconds=ANSWER_SECONDS, chance=random.random
        )
        stack.push_async_callback(calls.close)
        stack.callback(Watchdog(telemetry).stop)
        if not await _is_prepared(client, work, telemetry, stopping):
            return 0
        env = env_of(client, work.file)
        consumers = [
            QueueConsumer(RemoteFeed(calls, queue), call, telemetry, env=env, handler_seconds=work.handler_seconds)
            for queue, call in work.calls.items()
        ]
        telemetry.emit("consumer.started", url=work.url, queues=list(work.calls), process=os.getpid())
        await _run_until(stopping, consumers)
        telemetry.emit("consumer.stopped")
    await leave_behind()
    return 0


def _stop_when_told(telemetry: Telemetry, lines: LogLines, parent: int | None, stack: AsyncExitStack) -> asyncio.Event:
    """Give an event that a signal sets, or the end of the parent."""
    if parent is None:
        return stop_on_signals(telemetry, lines)
    stopping = stop_on_signals(telemetry, lines, SAME_SIGNAL_SECONDS)
    stack.callback(asyncio.create_task(_stop_without(parent, stopping)).cancel)
    return stopping


async def _stop_without(parent: int, stopping: asyncio.Event) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells a process that its parent has ended
        await asyncio.sleep(PARENT_SECONDS)
    stopping.set()


async def _is_prepared(client: AsyncClient, work: Work, telemetry: Telemetry, stopping: asyncio.Event) -> bool:
    """See that each queue is there and has a consumer, however long the server stays away; False when stopped."""
    preparing = asyncio.create_task(prepare(client, list(work.calls), work.file, telemetry))
    waiting = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({preparing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if preparing.done():
            preparing.result()
        return not stopping.is_set()
    finally:
        preparing.cancel()
        waiting.cancel()


def env_of(client: AsyncClient, file: WranglerFile | None) -> Env:
    """Make what handlers get as `env`; what only a server has is refused by its name."""
    if file is None:
        return client.bindings()
    env, missing = client.bindings(file=file), {other.binding for other in file.others}

    def refuse(name: str) -> None:
        if name in missing:
            raise AttributeError(
                f"{name} is there for handlers of `millrace serve` only; here are queues and variables"
            )

    return Env(vars(env), refuse) if missing else env


async def _run_until(stopping: asyncio.Event, consumers: Sequence[QueueConsumer]) -> None:
    """Run the consumers until the event.

    Raises:
        Unauthenticated, Forbidden: a consumer's key is refused; the others stop, too.
    """
    waiting = asyncio.create_task(stopping.wait())
    running = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        await asyncio.wait({waiting, *running}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        for consumer in consumers:
            consumer.stop()
        ends = await asyncio.gather(*running, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
