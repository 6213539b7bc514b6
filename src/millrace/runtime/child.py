"""The process that runs the handlers of a file: `python -m millrace.runtime.child <socket>`.

The handlers have the main thread and its loop. Another thread reads, so that the server is answered while a handler
blocks the loop.
"""

import asyncio
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from millrace import programs, python_workers
from millrace.bindings import Env, QueueBinding
from millrace.errors import MillraceError
from millrace.handlers import Call, Handler, as_call
from millrace.handlers.journal import AskedJournal, Journal
from millrace.handlers.scheduled import as_scheduled_call
from millrace.runtime import frames
from millrace.runtime.bound import bind_others
from millrace.runtime.faults import fault_of
from millrace.runtime.frames import Program
from millrace.runtime.link import Current, Link
from millrace.runtime.memory import own_bytes

PR_SET_PDEATHSIG = 1
OOM_SCORE = "500"


def main() -> None:
    """Load what the server names and handle batches until it says leave."""
    _prepare()
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)  # else programs that a handler starts would keep it open
    _prepare_forks(connection)
    asyncio.run(_serve(Link(connection)))


async def _serve(link: Link) -> None:
    """Load and handle. It is the loop of the handlers, so what they make while they are imported belongs to it."""
    arrived: asyncio.Queue[Any] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def take(frame: Any) -> None:
        loop.call_soon_threadsafe(arrived.put_nowait, frame)

    threading.Thread(target=link.read, args=(take,), name="millrace-link", daemon=True).start()
    program = await arrived.get()
    calls = _load(program, link)
    if isinstance(calls, frames.Failed):
        link.write(calls)
        return
    link.write(frames.Loaded())
    queues = {name: QueueBinding(link.sender(name), link.counter(name)) for name in program.bindings}
    env = Env({**program.variables, **queues, **bind_others(program.others, link.asker)})
    while isinstance(current := await arrived.get(), Current):
        link.write(await _handle(link, current, calls, env))


def _load(program: Program, link: Link) -> dict[str, Call] | frames.Failed:
    """Import the handlers; the first that fails ends it."""
    folder, calls, key = Path(program.folder), dict[str, Call](), None
    sys.path.append(str(Path.cwd()))  # last, so that a file of the working folder hides no module
    python_workers.install()
    try:
        for key, reference in program.handlers.items():
            link.write(frames.Loading(key=key))
            calls[key] = as_call(cast(Handler, programs.load_object(reference, folder)))
        key = None
        if program.main_queues and program.main is not None:
            link.write(frames.Loading(key=None))
            call = as_call(python_workers.queue_handler_of(programs.load_module(folder / program.main)))
            calls.update(dict.fromkeys(program.main_queues, call))
        if (key := program.crons_queue) is not None:
            link.write(frames.Loading(key=key))
            calls[key] = as_scheduled_call(_scheduled_handler(program, folder))
        for key, class_name in program.workflows.items():
            link.write(frames.Loading(key=key))
            calls[key] = as_call(_workflow_handler(program, folder, class_name, AskedJournal(link.asker(key))))
    except BaseException as error:  # noqa: BLE001 - an import may do anything, exit() included
        return frames.Failed(key=key, sentence=_why(error))
    return calls


def _scheduled_handler(program: Program, folder: Path) -> Handler:
    if program.scheduled is not None:
        return cast(Handler, programs.load_object(program.scheduled, folder))
    assert program.main is not None, "crons without a handler of their own are for the Worker"
    return python_workers.scheduled_handler_of(programs.load_module(folder / program.main))


def _workflow_handler(program: Program, folder: Path, class_name: str, journal: Journal) -> Handler:
    assert program.main is not None, "workflows are classes of the Worker"
    return python_workers.workflow_handler_of(programs.load_module(folder / program.main), class_name, journal)


def _why(error: BaseException) -> str:
    fault = fault_of(error)
    return fault.sentence if isinstance(error, MillraceError) else f"{fault.name}: {fault.sentence}"


async def _handle(link: Link, current: Current, calls: dict[str, Call], env: Env) -> frames.Done:
    raised: BaseException | None = None
    process = os.getpid()
    try:
        await calls[current.batch.queue](current.batch, env)
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises is told to the server
        raised = error
    if os.getpid() != process:  # a fork came back out of the handler; its loop shares descriptors with ours
        os._exit(1)
    link.current = None
    places = {id(message): place for place, message in enumerate(current.messages)}
    return frames.Done(
        number=current.number,
        spoken=current.spoken(),
        fault=fault_of(raised) if raised else None,
        ignored=current.batch.ignored,
        failures=[(places[id(message)], fault_of(error)) for message, error in current.batch.failures],
        memory_bytes=own_bytes(),
    )


def _prepare_forks(connection: socket.socket) -> None:
    """Have processes that a handler forks not speak for this one, and end at the signals that end others.

    The signals wait while it is forked: one that came too early would be lost.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)

    def leave_to_the_handler() -> None:
        connection.close()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, numbers),
        after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, numbers),
        after_in_child=leave_to_the_handler,
    )


def _prepare() -> None:
    """Live no longer than the server, be the first to go when memory is short, and leave signals to the server.

    A signal is taken by a function and not ignored: programs that a handler starts would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    with suppress(AttributeError, OSError):  # Linux has it; elsewhere the end of the connection must do
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    faulthandler.enable()
    with suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
