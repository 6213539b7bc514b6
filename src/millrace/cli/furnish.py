"""What a wrangler file, a program and the applications need before the door opens: queues, handlers, consumers."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec

from millrace.cli.accounts import application_consumers
from millrace.cli.apply import apply, attach_handlers, plan_file
from millrace.cli.bindings import other_asks, other_bindings
from millrace.cli.handlers import program_of, refusal_of
from millrace.cli.house import House
from millrace.cli.plan import script_of
from millrace.cli.scheduling import Crons, furnish_crons, noted, plan_crons
from millrace.cli.workflows import (
    check_workflows,
    ensure_workflow_queues,
    journal_asks,
    workflow_calls,
    workflow_consumers,
)
from millrace.config import Settings
from millrace.handlers import as_call
from millrace.handlers.asking import Ask
from millrace.platform import App, QueueNeed, ensure_queues
from millrace.queue import Queue
from millrace.runtime.children import Children
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.frames import Program
from millrace.runtime.process import ProgramFailed
from millrace.runtime.sharing import FairSlots
from millrace.workflows.queues import PREFIX, queue_of
from millrace.wrangler.file import WranglerFile

MIB = 1024 * 1024


class Furniture(NamedTuple):
    """The consumers to run, the queues that a program or a file feeds to handlers, the file's processes, and crons.

    `accounts` are those that have what the applications need.
    """

    consumers: list[QueueConsumer]
    fed: list[Queue]
    children: Children | None
    crons: Crons
    accounts: list[str]


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
    secrets = await house.secrets.of(account_id)
    if file is not None:
        check_workflows(file, [program, *applications])
        # as for a Worker, a secret goes before a plain variable of the same name
        file = msgspec.structs.replace(file, variables={**file.variables, **secrets})
    accounts = sorted({account_id, *house.keys.accounts()})
    calls = {name: as_call(handler) for name, handler in program.handlers.items()}
    crons = plan_crons(account_id, file, program, applications, accounts)
    asks = other_asks(house, account_id, file, [*applications, program])
    of_file = await _load(house, settings, file, program, asks, stack)
    workflows = workflow_calls(house, account_id, [program])
    await _make_queues(house, account_id, file, program, applications, accounts)
    if file is not None:
        _warn_of_idle_crons(house, file, crons)
    fed = await attach_handlers(house.catalog, account_id, program.handlers)
    await ensure_workflow_queues(house, account_id, of_file.workflows)
    variables = {**(secrets if file is None else file.variables), **other_bindings(file, asks)}
    env = house.platform.env(account_id, _bindings(file), variables)
    limits = {"handler_seconds": settings.handler_seconds}
    consumers = [house.consumer(account_id, name, call, env, **limits) for name, call in calls.items()]
    taken = {account_id: {*calls, *of_file.queues, *map(queue_of, program.workflows)}}
    for account in accounts:
        consumers += await application_consumers(house, account, applications, limits, taken.get(account, ()))
    consumers += await furnish_crons(house, crons, settings.handler_seconds)
    consumers += await workflow_consumers(house, account_id, workflows, env, limits)
    fed += await house.catalog.queues(account_id, of_file.queues) if of_file.queues else []
    return Furniture(consumers + of_file.consumers, fed, of_file.children, crons, accounts)


async def _make_queues(
    house: House,
    account_id: str,
    file: WranglerFile | None,
    program: App,
    applications: Sequence[App],
    accounts: Sequence[str],
) -> None:
    """Make the queues of applications, file and program; the file names only some of what an application's queue needs."""
    for account in accounts:
        for application in applications:
            await ensure_queues(house.platform, account, application.queues)
    if file is not None:
        needs = [need for application in applications for need in application.queues]
        await _apply(house, account_id, file, needs)
    await ensure_queues(house.platform, account_id, program.queues)


class _OfFile(NamedTuple):
    consumers: list[QueueConsumer]
    queues: tuple[str, ...]
    workflows: tuple[str, ...]
    children: Children | None


async def _load(
    house: House,
    settings: Settings,
    file: WranglerFile | None,
    program: App,
    asks: Mapping[str, Ask],
    stack: AsyncExitStack,
) -> _OfFile:
    """Start the child processes of the file's handlers, and make their consumers; queues of --app are its own."""
    if file is not None:
        _warn_of_doubles(house, file, program)
    wanted = _without(program_of(file), program) if file is not None else None
    if file is None or wanted is None:
        return _OfFile([], (), (), None)
    workflows = tuple(wanted.workflows)
    queues = (*wanted.handlers, *wanted.main_queues, *workflows)
    if settings.role == "api":  # other servers run them
        return _OfFile([], queues, workflows, None)
    of_crons = () if wanted.crons_queue is None else (wanted.crons_queue,)
    slots = FairSlots(settings.handler_processes, (*queues, *of_crons))
    asks = {**asks, **journal_asks(house, settings.account_id, workflows)}
    children = _make_children(house, settings, file, wanted, slots.size, asks)
    stack.push_async_callback(children.stop)
    try:
        await children.start()
    except ProgramFailed as failure:
        raise refusal_of(file, failure.key, str(failure)) from failure
    account_id, limits = settings.account_id, {"handler_seconds": settings.handler_seconds, "slots": slots}
    consumers = [house.consumer(account_id, queue, children.call, None, **limits) for queue in queues]
    for queue in of_crons:
        call = noted(house, children.call, account_id, script_of(file))
        consumers.append(house.consumer(account_id, queue, call, None, **limits))
    return _OfFile(consumers, queues, workflows, children)


def _make_children(
    house: House, settings: Settings, file: WranglerFile, program: Program, size: int, asks: Mapping[str, Ask]
) -> Children:
    bindings, platform = _bindings(file), house.platform
    kept = {
        "ADMIN_TOKEN",
        "MASTER_KEY",
        "JWT_SECRET",
        "TURNSTILE_SECRET",
        *(entry.secret_variable for entry in file.consumers),
    }  # the server's own secrets
    return Children(
        program,
        platform.sends(settings.account_id, bindings),
        house.telemetry,
        size=size,
        memory_bytes=settings.handler_memory_mb * MIB,
        counts=platform.counts(settings.account_id, bindings),
        environ={name: value for name, value in os.environ.items() if name not in kept},
        asks=asks,
    )


def _warn_of_doubles(house: House, file: WranglerFile, program: App) -> None:
    for entry in file.consumers:
        if entry.handler is not None and entry.queue in program.handlers:
            place = file.place(f"{entry.path}.handler")
            warning = f"{place}: queue {entry.queue!r} has a handler of --app; the one of the file does not run"
            house.telemetry.emit("configuration.warning", file=str(file.path), warning=warning)
    for other in file.others:
        if other.kind == "workflow" and other.class_name is not None and other.target in program.workflows:
            place = file.place(f"{other.path}.class_name")
            warning = f"{place}: workflow {other.target!r} is one of --app; the class of the file does not run"
            house.telemetry.emit("configuration.warning", file=str(file.path), warning=warning)


def _without(wanted: Program | None, program: App) -> Program | None:
    """Leave out what a program handles itself; None when nothing is left."""
    if wanted is None:
        return None
    handlers = {queue: handler for queue, handler in wanted.handlers.items() if queue not in program.handlers}
    main_queues = tuple(queue for queue in wanted.main_queues if queue not in program.handlers)
    own = {PREFIX + name for name in program.workflows}
    workflows = {queue: class_name for queue, class_name in wanted.workflows.items() if queue not in own}
    if not handlers and not main_queues and not workflows and wanted.crons_queue is None:
        return None
    is_for_crons = wanted.crons_queue is not None and wanted.scheduled is None
    main = wanted.main if main_queues or workflows or is_for_crons else None
    return msgspec.structs.replace(wanted, handlers=handlers, main=main, main_queues=main_queues, workflows=workflows)


async def _apply(house: House, account_id: str, file: WranglerFile, needs: Sequence[QueueNeed]) -> None:
    for warning in file.warnings:
        house.telemetry.emit("configuration.warning", file=str(file.path), warning=warning)
    changes = await plan_file(house.catalog, account_id, file, os.environ, needs)
    await apply(house.catalog, account_id, changes, os.environ)
    for change in changes:
        house.telemetry.emit("configuration.applied", act=change.line)


def _warn_of_idle_crons(house: House, file: WranglerFile, crons: Crons) -> None:
    """Tell of crons that no handler of the file runs, unless an application follows them and the file has no program."""
    is_followed = any(not cron.expression for cron, _ in crons.of_programs)
    if file.crons and not crons.of_file and not (is_followed and file.main is None):
        allowed = f'name a function as "{file.crons_path.removesuffix("crons")}scheduled", or a Python Worker as "main"'
        warning = f"{file.place(file.crons_path)}: crons are read, but no handler of the file runs them; {allowed}"
        house.telemetry.emit("configuration.warning", file=str(file.path), warning=warning)


def _bindings(file: WranglerFile | None) -> dict[str, str]:
    return {producer.binding: producer.queue for producer in file.producers} if file else {}
