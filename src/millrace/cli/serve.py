"""`millrace serve`: wire the rooms together, and take them down in order. The only place that names them all."""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

import uvicorn

from millrace import __version__
from millrace.access.keys import Key, Keys
from millrace.access.scopes import Role
from millrace.apps import events
from millrace.apps.events.app import EventsSettings
from millrace.cli.apply import apply_file, attach_handlers
from millrace.cli.banner import Banner
from millrace.cli.house import House
from millrace.cli.load import load_app
from millrace.clock import clock_after
from millrace.config import Settings, read_settings
from millrace.errors import ConfigurationError, StoreRefused
from millrace.http.app import Door
from millrace.http.metrics import BOOKED, MetricsBook
from millrace.http.protocol import Protocol
from millrace.logs import LINES, ForeignLogs, LogLines
from millrace.platform import App, ensure_queues
from millrace.queue import Queue
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.reaper import Reaper
from millrace.runtime.runner import Runner, Step
from millrace.sql.directory import Prepared, find_damage, is_small, lock_directory, prepare_directory
from millrace.sql.store import SqlStore
from millrace.telemetry import Telemetry
from millrace.wrangler import WranglerFile, read_wrangler

REAPER_SECONDS = 1.0
FOREIGN_CHANGE_SECONDS = 0.5
DRAIN_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
BACKLOG_CONNECTIONS = 2048


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    if arguments.reload:
        from millrace.cli.reload import run_reloading

        return run_reloading()
    flags = {name: getattr(arguments, name) for name in ("host", "port", "data", "config", "environment", "app")}
    settings = read_settings(os.environ, flags)
    _raise_open_files()
    import uvloop

    with lock_directory(settings.data):
        return uvloop.run(serve(settings, show_key=arguments.show_key))


async def serve(settings: Settings, *, show_key: bool = False) -> int:
    """Serve with these settings; 0 after an orderly stop."""
    file = read_wrangler(settings.config, settings.environment) if settings.config else None
    program = load_app(settings.app) if settings.app else App()
    listener = _listen(settings.host, settings.port)
    prepared = prepare_directory(settings.data)
    async with AsyncExitStack() as stack:
        telemetry = Telemetry()
        clock = clock_after(prepared.last)
        lines = LogLines(sys.stdout.buffer, clock)
        telemetry.subscribe(lines, *LINES)
        stack.callback(lines.close)
        logging.getLogger().handlers = [ForeignLogs(telemetry)]
        steps: list[Step] = []
        _check_integrity(prepared, telemetry, stack)
        store = SqlStore(str(prepared.database), clock)
        stack.push_async_callback(store.close)
        house = House(store, telemetry, clock)
        await house.notice_others()
        new_secret = await _first_keys(house.keys, settings)
        applications = [events.app(house.platform, EventsSettings(settings.debug_routes, settings.events_consumer))]
        consumers, fed = await _furnish(house, settings, file, program, applications)
        steps += [
            (REAPER_SECONDS, Reaper(store, clock, telemetry).sweep),
            (FOREIGN_CHANGE_SECONDS, house.notice_others),
        ]
        book = MetricsBook()
        telemetry.subscribe(book, *BOOKED)
        door = house.door([*applications, program], book, _keyless(settings))
        runner = Runner(consumers, steps, telemetry)
        banner = Banner(settings, _address(listener), fed, new_secret, show_key=show_key)
        await _run(door, listener, runner, telemetry, lines, banner)
    return 0


async def _first_keys(keys: Keys, settings: Settings) -> str | None:
    """Set the key of the environment; make an admin key when there is none at all, and give its secret."""
    await keys.replace_from_environment(settings.account_id, settings.admin_token)
    if keys.accounts():
        return None
    _, secret = await keys.create(settings.account_id, Role.ADMIN)
    return secret


async def _furnish(
    house: House, settings: Settings, file: WranglerFile | None, program: App, applications: Sequence[App]
) -> tuple[list[QueueConsumer], list[Queue]]:
    """Make the queues that file, applications and program name; give the consumers to run and the program's queues."""
    account_id = settings.account_id
    accounts = sorted({account_id, *house.keys.accounts()})
    for account in accounts:
        for application in applications:
            await ensure_queues(house.platform, account, application.queues)
    await ensure_queues(house.platform, account_id, program.queues)
    if file is not None:
        for warning in file.warnings:
            house.telemetry.emit("configuration.warning", file=str(file.path), warning=warning)
        for act in await apply_file(house.catalog, account_id, file):
            house.telemetry.emit("configuration.applied", act=act)
    bindings = {producer.binding: producer.queue for producer in file.producers} if file else {}
    env = house.platform.env(account_id, bindings, file.variables if file else {})
    fed = await attach_handlers(house.catalog, account_id, program.handlers)
    consumers = [house.consumer(account_id, name, handler, env) for name, handler in program.handlers.items()]
    for application in applications:
        for name, handler in application.handlers.items():
            if name not in program.handlers:
                consumers += [house.consumer(account, name, handler, env) for account in accounts]
    return consumers, fed


async def _run(
    door: Door, listener: socket.socket, runner: Runner, telemetry: Telemetry, lines: LogLines, banner: Banner
) -> None:
    """Serve until a signal; then stop receiving, finish, settle. A second signal waits for nothing."""
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():  # a handler in a thread cannot be cancelled; what is answered is on disk
            telemetry.emit("server.forced")
            lines.close()
            os._exit(1)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    server = _make_server(door)
    _spare_the_collector()
    runner.start()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    telemetry.emit("server.started", address=_address(listener), version=__version__, process=os.getpid())
    banner()
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    telemetry.emit("server.stopping")
    server.should_exit = True
    await asyncio.gather(serving, runner.stop())
    telemetry.emit("server.stopped")


def _make_server(door: Door) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            door,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            backlog=BACKLOG_CONNECTIONS,
        )
    )


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us."""
        yield


def _keyless(settings: Settings) -> Key | None:
    """Give whom callers without a key stand for: nobody, but in local mode."""
    if settings.auth_mode != "local":
        return None
    return Key(id="local", account_id=settings.account_id, role=Role.ADMIN, created_at_ms=0, hint="")


def _check_integrity(prepared: Prepared, telemetry: Telemetry, stack: AsyncExitStack) -> None:
    """Read the database for damage: before the start when that is quick, else beside it."""
    if is_small(prepared.database):
        damage = find_damage(prepared.database)
        if damage:
            telemetry.emit("store.corrupt", damage=damage, database=str(prepared.database))
            raise StoreRefused(f"{prepared.database} is corrupt: {damage[0].splitlines()[-1]}. Restore a backup.")
        return
    task = asyncio.create_task(_check_beside(prepared, telemetry))
    stack.callback(task.cancel)


async def _check_beside(prepared: Prepared, telemetry: Telemetry) -> None:
    damage = await asyncio.to_thread(find_damage, prepared.database)
    event = "store.corrupt" if damage else "store.checked"
    telemetry.emit(event, damage=damage, database=str(prepared.database))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror}; try another --port") from None
    listener.setblocking(False)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _spare_the_collector() -> None:
    """Keep what a start has made out of garbage collections, which else stop the loop for 20 ms again and again."""
    gc.collect()
    gc.freeze()


def _raise_open_files() -> None:
    """Allow as many connections as the system lets us; the usual soft limit of 1024 is few for a server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
