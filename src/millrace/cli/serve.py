"""`millrace serve`: wire the rooms together, and take them down in order."""

import argparse
import asyncio
import gc
import logging
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from millrace import __version__
from millrace.access.cipher import MasterKey
from millrace.access.keys import Key
from millrace.access.scopes import Role
from millrace.cli.accounts import Newcomers
from millrace.cli.applications import APPLICATIONS
from millrace.cli.apply import check_handlers
from millrace.cli.banner import Banner
from millrace.cli.check import check_file, check_urls
from millrace.cli.environment import environment
from millrace.cli.first_keys import set_first_keys
from millrace.cli.furnish import furnish
from millrace.cli.house import House
from millrace.cli.listening import address_of, listen, make_server, raise_open_files
from millrace.cli.load import load_app
from millrace.cli.notifying import tell_serving, tell_stopping, watchdog_steps
from millrace.cli.places import Place, queues_in, take_place, wait_for_place
from millrace.cli.plan import plan
from millrace.cli.scheduling import OWNER, make_scheduler
from millrace.cli.signals import leave_behind, stop_on_signals
from millrace.cli.stepping import background_steps
from millrace.clock import Clock
from millrace.config import Settings, read_settings, with_secrets
from millrace.dashboard.visits import with_visits
from millrace.errors import ConfigurationError, StoreRefused, StoreUnavailable
from millrace.http.app import Door
from millrace.http.cors import with_origins
from millrace.http.metrics import BOOKED, MetricsBook
from millrace.ids import new_id
from millrace.logs import LINES, ForeignLogs, LogLines
from millrace.platform import App
from millrace.resources.outbound import Outbound
from millrace.runtime.children import Children
from millrace.runtime.leader import Leader
from millrace.runtime.runner import Runner, Step
from millrace.runtime.waiting import WaitingRoom
from millrace.runtime.watchdog import Watchdog
from millrace.sentry import HEARD, make_reporter
from millrace.sql.audit import chain
from millrace.sql.sqlite.directory import find_damage, is_small
from millrace.store import Store
from millrace.telemetry import Telemetry
from millrace.wrangler.file import WranglerFile
from millrace.wrangler.finding import find_wrangler
from millrace.wrangler.reading import read_wrangler


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    if arguments.reload and not arguments.dry_run:
        from millrace.cli.reload import run_reloading

        return run_reloading()
    names = ("host", "port", "data", "store", "role", "environment", "app", "handler_seconds")
    settings = read_settings(environment(), {name: getattr(arguments, name) for name in names})
    file = _read_file(arguments.config, settings)
    if arguments.dry_run:
        return _show_changes(settings, file)
    raise_open_files()
    import uvloop

    with ExitStack() as stack:
        take_place(settings, stack)
        place = wait_for_place(settings)
        return uvloop.run(serve(settings, place, file, show_key=arguments.show_key))


def _read_file(path: str | None, settings: Settings) -> WranglerFile | None:
    """Read and check the file that was named, or else the one that is found from here upwards; '' is none."""
    warning, environment = None, settings.environment
    if path is None:
        found, warning = find_wrangler(Path.cwd())
    else:
        found = Path(path) if path else None
    if found is None:
        if environment is not None:
            raise ConfigurationError(f"--env is {environment!r}, but there is no wrangler file; name one with --config")
        return None
    file = read_wrangler(found, environment)
    check_file(file, os.environ)
    check_urls(file, Outbound(settings.fetch_allow).check)
    return msgspec.structs.replace(file, warnings=(*((warning,) if warning else ()), *file.warnings))


def _show_changes(settings: Settings, file: WranglerFile | None) -> int:
    """Print what a start with this file would change."""
    if file is None:
        raise ConfigurationError("--dry-run needs a wrangler file; name one with --config")
    for warning in file.warnings:
        print(f"millrace: {warning}", file=sys.stderr)
    needs = [need for application in APPLICATIONS for need in application.queues(settings)]
    changes = plan(file, queues_in(settings), os.environ, needs)
    for change in changes:
        print(change.line)
    if not changes:
        print(f"{file.path}: nothing to change")
    return 0


async def serve(settings: Settings, place: Place, file: WranglerFile | None, *, show_key: bool = False) -> int:
    """Serve with these settings; 0 after an orderly stop."""
    program = load_app(settings.app) if settings.app else App()
    listener = listen(settings.host, settings.port)
    clock = place.clock
    async with AsyncExitStack() as stack:
        lines = LogLines(sys.stdout.buffer, clock)
        stack.callback(lines.close)
        telemetry, book = _listened_to(lines)
        _report_failures(settings, telemetry, clock, stack)
        if place.file is not None:
            _check_integrity(place.file, telemetry, stack)
        house = await _open_house(settings, place, telemetry, stack)
        settings = with_secrets(settings, await house.secrets.of(settings.account_id))
        applications = _make_applications(house, settings, stack)
        needs = [need for application in applications for need in application.queues]
        await check_handlers(house.catalog, settings.account_id, program.handlers, file, os.environ, needs)
        furniture = await furnish(house, settings, file, program, applications, stack)
        leader = Leader(house.store, clock, new_id() if house.store.shares else OWNER)
        stack.push_async_callback(leader.resign)
        scheduler = await make_scheduler(house, settings, furniture.crons, leader)
        newcomers = Newcomers(house, applications, scheduler, furniture.accounts, settings.handler_seconds)
        new_secret = await set_first_keys(house, settings)  # a start that fails tells nobody of a key
        runner = Runner(furniture.consumers if settings.role != "api" else [], telemetry)
        if program.handlers:
            stack.callback(Watchdog(telemetry).stop)
        answers = [] if settings.role == "consumer" else [*applications, program]
        door = house.door(answers, book, _keyless(settings), settings.account_id, is_whole=settings.role != "consumer")
        banner = Banner(settings, place.name, address_of(listener), furniture.fed, new_secret, show_key=show_key)
        stopping = stop_on_signals(telemetry, lines)
        rooms = _Rooms(door, house.room, runner, furniture.children)
        steps = [
            *background_steps(house, settings, leader, runner, newcomers, [*applications, program]),
            *([(0.0, scheduler.step)] if furniture.crons.triggers or house.store.shares else []),
            *watchdog_steps(house.store.check),
        ]
        await _run(rooms, steps, listener, telemetry, stopping, banner, settings.cors_origins)
    await leave_behind()
    return 0


def _listened_to(lines: LogLines) -> tuple[Telemetry, MetricsBook]:
    """Give the telemetry that logs and metrics subscribe to, and the metrics' book."""
    telemetry, book = Telemetry(), MetricsBook()
    telemetry.subscribe(lines, *LINES)
    telemetry.subscribe(book, *BOOKED)
    logging.getLogger().handlers = [ForeignLogs(telemetry)]
    return telemetry, book


def _report_failures(settings: Settings, telemetry: Telemetry, clock: Clock, stack: AsyncExitStack) -> None:
    """Have failures reported to Sentry, where that is wanted."""
    if settings.sentry_dsn is None:
        return
    release = f"millrace@{__version__}"
    reporter = make_reporter(settings.sentry_dsn, settings.sentry_environment, release, clock, telemetry.emit)
    stack.callback(reporter.close)
    telemetry.subscribe(reporter, *HEARD)


async def _open_house(settings: Settings, place: Place, telemetry: Telemetry, stack: AsyncExitStack) -> House:
    store = place.open()
    stack.push_async_callback(store.close)
    stack.push_async_callback(_chain_the_last, store)
    outbound = Outbound(settings.fetch_allow)
    stack.push_async_callback(outbound.aclose)
    house = House(
        store,
        telemetry,
        place.clock,
        outbound,
        MasterKey(settings.master_key, None if settings.store else settings.data),
    )
    await house.secrets.check()
    await house.notice_others()
    if store.shares and settings.r2_bucket is None:
        warning = (
            f"uploads are kept in {settings.data} of this machine; other servers find them only in a bucket (R2_BUCKET)"
        )
        telemetry.emit("configuration.warning", warning=warning)
    return house


def _make_applications(house: House, settings: Settings, stack: AsyncExitStack) -> list[App]:
    applications = [application.make(house.platform, settings) for application in APPLICATIONS]
    for application in applications:
        if application.close is not None:
            stack.push_async_callback(application.close)
    return applications


async def _chain_the_last(store: Store) -> None:
    with suppress(StoreUnavailable):  # then the next start does it
        await chain(store)


class _Rooms(NamedTuple):
    """What is at work while the server runs."""

    door: Door
    waiting: WaitingRoom
    runner: Runner
    children: Children | None

    async def stop(self) -> None:
        """Let nobody wait any more, take no more batches, finish those under way."""
        self.waiting.close()
        self.door.close()
        await asyncio.gather(self.runner.stop(), *([self.children.stop()] if self.children else []))


async def _run(
    rooms: _Rooms,
    steps: Sequence[Step],
    listener: socket.socket,
    telemetry: Telemetry,
    stopping: asyncio.Event,
    banner: Banner,
    origins: tuple[str, ...],
) -> None:
    """Serve until a signal; then stop receiving, finish, settle."""
    door = with_visits(rooms.door)
    server = make_server(with_origins(door, origins) if origins else door, stopping)
    _spare_the_collector()
    rooms.runner.start(steps)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    telemetry.emit("server.started", address=address_of(listener), version=__version__, process=os.getpid())
    banner()
    tell_serving(address_of(listener))
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    telemetry.emit("server.stopping")
    tell_stopping()
    await asyncio.gather(serving, rooms.stop())
    telemetry.emit("server.stopped")


def _keyless(settings: Settings) -> Key | None:
    """Give whom callers without a key stand for: nobody, but in local mode."""
    if settings.auth_mode != "local":
        return None
    return Key(id="local", account_id=settings.account_id, role=Role.ADMIN, created_at_ms=0, hint="")


def _check_integrity(file: Path, telemetry: Telemetry, stack: AsyncExitStack) -> None:
    """Read the database for damage: before the start when that is quick, else beside it."""
    if is_small(file):
        damage = find_damage(file)
        if damage:
            telemetry.emit("store.corrupt", damage=damage, database=str(file))
            raise StoreRefused(f"{file} is corrupt: {damage[0].splitlines()[-1]}. Restore a backup.")
        return
    task = asyncio.create_task(_check_beside(file, telemetry))
    stack.callback(task.cancel)


async def _check_beside(file: Path, telemetry: Telemetry) -> None:
    damage = await asyncio.to_thread(find_damage, file)
    event = "store.corrupt" if damage else "store.checked"
    telemetry.emit(event, damage=damage, database=str(file))


def _spare_the_collector() -> None:
    """Keep what a start has made out of garbage collections, which else stop the loop for 20 ms again and again."""
    gc.collect()
    gc.freeze()
