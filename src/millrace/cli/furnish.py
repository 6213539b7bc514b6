"""What a wrangler file, a program and the applications need before the door opens: queues, handlers, consumers."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec

from millrace.bindings import Env
from millrace.cli.apply import apply, attach_handlers, plan_file
from millrace.cli.handlers import program_of, refusal_of
from millrace.cli.house import House
from millrace.config import Settings
from millrace.handlers import as_call
from millrace.platform import App, ensure_queues
from millrace.queue import Queue
from millrace.runtime.children import Children
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.frames import Program
from millrace.runtime.process import ProgramFailed
from millrace.runtime.sharing import FairSlots
from millrace.wrangler.file import WranglerFile

MIB = 1024 * 1024


class Furniture(NamedTuple):
    """The consumers to run, the queues that a program or a file feeds to handlers, and the file's processes."""

    consumers: list[QueueConsumer]
    fed: list[Queue]
    children: Children | None


async def furnish(
    house: House,
    settings: Settings,
    file: WranglerFile | None,
    program: App,
    applications: Sequence[App],
    stack: AsyncExitStack,
) -> Furniture:
    """Make queues and consumers; the handlers of the file are loaded first, so that a wrong one changes nothing.

    Raises:
        ConfigurationError: the file or a handler is wrong.
    """
    account_id = settings.account_id
    accounts = sorted({account_id, *house.keys.accounts()})
    calls = {name: as_call(handler) for name, handler in program.handlers.items()}
    of_file = await _load(house, settings, file, program, stack)
    for account in accounts:
        for application in applications:  # before the file, which knows nothing of what an application's queue needs
            await ensure_queues(house.platform, account, application.queues)
    if file is not None:
        await _apply(house, account_id, file)
    await ensure_queues(house.platform, account_id, program.queues)
    fed = await attach_handlers(house.catalog, account_id, program.handlers)
    env = _env(house, account_id, file)
    limits = {"handler_seconds": settings.handler_seconds}
    consumers = [house.consumer(account_id, name, call, env, **limits) for name, call in calls.items()]
    for application in applications:
        for name, handler in application.handlers.items():
            if name not in program.handlers and name not in of_file.queues:
                consumers += [house.consumer(account, name, as_call(handler), env, **limits) for account in accounts]
    fed += await house.catalog.queues(account_id, of_file.queues) if of_file.queues else []
    return Furniture(consumers + of_file.consumers, fed, of_file.children)


class _OfFile(NamedTuple):
    consumers: list[QueueConsumer]
    queues: tuple[str, ...]
    children: Children | None


async def _load(
    house: House, settings: Settings, file: WranglerFile | None, program: App, stack: AsyncExitStack
) -> _OfFile:
    """Start the child processes of the file's handlers, and make their consumers; queues of --app are its own."""
    if file is not None:
        _warn_of_doubles(house, file, program)
    wanted = _without(program_of(file), program) if file is not None else None
    if file is None or wanted is None:
        return _OfFile([], (), None)
    queues = (*wanted.handlers, *wanted.main_queues)
    slots = FairSlots(settings.handler_processes, queues)
    children = _make_children(house, settings, file, wanted, slots.size)
    stack.push_async_callback(children.stop)
    try:
        await children.start()
    except ProgramFailed as failure:
        raise refusal_of(file, failure.key, str(failure)) from failure
    consumers = [
        house.consumer(
            settings.account_id, queue, children.call, None, handler_seconds=settings.handler_seconds, slots=slots
        )
        for queue in queues
    ]
    return _OfFile(consumers, queues, children)


def _make_children(house: House, settings: Settings, file: WranglerFile, program: Program, size: int) -> Children:
    bindings, platform = _bindings(file), house.platform
    kept = {"ADMIN_TOKEN", *(entry.secret_variable for entry in file.consumers)}  # the server's own secrets
    return Children(
        program,
        platform.sends(settings.account_id, bindings),
        house.telemetry,
        size=size,
        memory_bytes=settings.handler_memory_mb * MIB,
        counts=platform.counts(settings.account_id, bindings),
        environ={name: value for name, value in os.environ.items() if name not in kept},
    )


def _warn_of_doubles(house: House, file: WranglerFile, program: App) -> None:
    for entry in file.consumers:
        if entry.handler is not None and entry.queue in program.handlers:
            place = file.place(f"{entry.path}.handler")
            warning = f"{place}: queue {entry.queue!r} has a handler of --app; the one of the file does not run"
            house.telemetry.emit("configuration.warning", file=str(file.path), warning=warning)


def _without(wanted: Program | None, program: App) -> Program | None:
    """Leave out what a program handles itself; None when nothing is left."""
    if wanted is None:
        return None
    handlers = {queue: handler for queue, handler in wanted.handlers.items() if queue not in program.handlers}
    main_queues = tuple(queue for queue in wanted.main_queues if queue not in program.handlers)
    if not handlers and not main_queues:
        return None
    main = wanted.main if main_queues else None
    return msgspec.structs.replace(wanted, handlers=handlers, main=main, main_queues=main_queues)


async def _apply(house: House, account_id: str, file: WranglerFile) -> None:
    for warning in file.warnings:
        house.telemetry.emit("configuration.warning", file=str(file.path), warning=warning)
    if file.crons:
        warning = f"{file.place(file.crons_path)}: crons are read, but nothing runs them yet"
        house.telemetry.emit("configuration.warning", file=str(file.path), warning=warning)
    changes = await plan_file(house.catalog, account_id, file, os.environ)
    await apply(house.catalog, account_id, changes, os.environ)
    for change in changes:
        house.telemetry.emit("configuration.applied", act=change.line)


def _env(house: House, account_id: str, file: WranglerFile | None) -> Env:
    return house.platform.env(account_id, _bindings(file), file.variables if file else {})


def _bindings(file: WranglerFile | None) -> dict[str, str]:
    return {producer.binding: producer.queue for producer in file.producers} if file else {}
