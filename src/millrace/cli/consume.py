"""`millrace consume`: handlers in this process, for the queues of a server elsewhere."""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import cast

import msgspec

from millrace import limits
from millrace.bindings import Env
from millrace.cli.handlers import load_handlers
from millrace.cli.processes import run_processes
from millrace.cli.signals import stop_on_signals
from millrace.client.address import server_of
from millrace.client.async_calls import AsyncCalls
from millrace.client.asynchronous import AsyncClient
from millrace.client.feed import RemoteFeed
from millrace.client.retries import NONE
from millrace.clock import wall_ms
from millrace.config import read_handler_seconds
from millrace.errors import (
    ConfigurationError,
    ConsumerExists,
    Forbidden,
    QueueNameTaken,
    QueueNotFound,
    ServerFailed,
    ServerUnreachable,
    StoreUnavailable,
)
from millrace.handlers import Handler, as_call
from millrace.logs import LINES, LogLines
from millrace.programs import load_object
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.watchdog import Watchdog
from millrace.telemetry import Telemetry
from millrace.wrangler.file import WranglerFile
from millrace.wrangler.reading import read_wrangler

SCRIPT = "consume"  # the script name of the consumers that this command attaches
PARENT_SECONDS = 1.0
ANSWER_SECONDS = 30.0
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.5, 15.0


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does: handlers by queue, for a server, with a key; the file names bindings and variables."""

    handlers: dict[str, Handler]
    url: str
    token: str | None
    file: WranglerFile | None
    handler_seconds: float


def run(arguments: argparse.Namespace) -> int:
    """Consume until a signal comes."""
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
        handlers=_handlers(file, arguments.queue, arguments.handler),
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
        stopping = stop_on_signals(telemetry, lines)
        client = await stack.enter_async_context(AsyncClient(work.url, work.token))
        calls = AsyncCalls(
            work.url, work.token, None, retries=NONE, timeout_seconds=ANSWER_SECONDS, chance=random.random
        )
        stack.push_async_callback(calls.close)
        stack.callback(Watchdog(telemetry).stop)
        if not await _prepare(client, list(work.handlers), telemetry, stopping):
            return 0
        env = _env(client, work.file)
        consumers = [
            QueueConsumer(
                RemoteFeed(calls, queue), as_call(handler), telemetry, env=env, handler_seconds=work.handler_seconds
            )
            for queue, handler in work.handlers.items()
        ]
        telemetry.emit("consumer.started", url=work.url, queues=list(work.handlers), process=os.getpid())
        await _run_until(stopping, consumers, parent)
        telemetry.emit("consumer.stopped")
    return 0


async def _prepare(client: AsyncClient, queues: Sequence[str], telemetry: Telemetry, stopping: asyncio.Event) -> bool:
    """See that each queue is there and has a consumer, however long the server stays away; False when stopped."""
    failures = 0
    while not stopping.is_set():
        try:
            for queue in queues:
                await _ensure_consumer(client, queue)
        except (ServerUnreachable, ServerFailed, StoreUnavailable) as error:
            failures += 1
            telemetry.emit("server.unreachable", error=str(error))
            seconds = min(PAUSE_SECONDS * 2 ** min(failures, 10), PAUSE_SECONDS_MAX)
            await _at_most(seconds * (1 + random.random()) / 2, stopping)  # noqa: S311 - no secret hangs on it
        else:
            return True
    return False


async def _ensure_consumer(client: AsyncClient, name: str) -> None:
    """Make the queue and attach a consumer, as `serve --app` does, where they are missing and the key may."""
    try:
        try:
            queue = await client.queue(name)
        except QueueNotFound:
            with suppress(QueueNameTaken):  # another process was quicker
                await client.create_queue(name)
            queue = await client.queue(name)
        if not queue["consumers"]:
            with suppress(ConsumerExists):
                await client.create_consumer(name, type="worker", script_name=SCRIPT)
    except Forbidden as error:
        raise Forbidden(f"queue {name!r} or its consumer is missing, and the key may not make it: {error}") from error


def _env(client: AsyncClient, file: WranglerFile | None) -> Env:
    return client.bindings() if file is None else client.bindings(file=file)


async def _run_until(stopping: asyncio.Event, consumers: Sequence[QueueConsumer], parent: int | None) -> None:
    """Run the consumers until the event, or until the parent is gone.

    Raises:
        Unauthenticated, Forbidden: a consumer's key is refused; the others stop, too.
    """
    running = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        while not stopping.is_set() and parent in (None, os.getppid()) and not any(task.done() for task in running):
            waiting = asyncio.create_task(_at_most(PARENT_SECONDS, stopping))
            await asyncio.wait({waiting, *running}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
    finally:
        for consumer in consumers:
            consumer.stop()
        ends = await asyncio.gather(*running, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
