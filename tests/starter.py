"""A process that has imported the program already and becomes `millrace …` by forks, one for each request.

`starting.py` runs this file with the socket of its requests as standard input. It ends with the other end of that
socket, and its forks end with it.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

import millrace.cli
from millrace.cli import main as program

NUMBER = struct.Struct("i")  # a process id, and later its exit code
REQUEST_BYTES = 200_000
LAST_DESCRIPTOR = 4096
LOADED_LATER = (  # by servers and by clients, when they need them
    "uvloop",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvicorn.lifespan.off",
    "millrace.sql.postgres.database",
    "httpcore2",
    "anyio.streams.tls",
    "truststore",
)


class Request(NamedTuple):
    """What a process is to be."""

    arguments: list[str]
    environ: dict[str, str]
    folder: str
    descriptors: list[int]  # standard input, output and error, and where the two numbers go


class Running(NamedTuple):
    """A fork, and where its end is to be told."""

    pid: int
    told: int


def main() -> None:
    """Import, then fork; each fork runs the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, with which we end
    names = [f"millrace.cli.{module.name}" for module in iter_modules(millrace.cli.__path__)]
    for name in (*names, *LOADED_LATER):
        import_module(name)
    gc.freeze()  # a collection in a fork would copy every page
    request = _serve_until_forked(socket.socket(fileno=0))
    if request is not None:
        _become(request)
        _run()


def _serve_until_forked(requests: socket.socket) -> Request | None:
    """Fork for each request and tell how forks end; in a fork, give its request. None: nobody asks any more."""
    running: dict[int, Running] = {}
    events = select.poll()
    events.register(requests, select.POLLIN)
    while True:
        for ready, _ in events.poll():
            if ready in running:
                events.unregister(ready)
                _tell_the_end(running.pop(ready))
                os.close(ready)
                continue
            request = _receive(requests)
            if request is None:
                return _end(running)
            pid = os.fork()
            if not pid:
                requests.detach()  # its number is about to be another file's
                return request
            watched = os.pidfd_open(pid)
            events.register(watched, select.POLLIN)
            running[watched] = Running(pid, _tell_the_start(pid, request.descriptors))


def _receive(requests: socket.socket) -> Request | None:
    message, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 4)
    return Request(*json.loads(message), descriptors) if message else None


def _tell_the_start(pid: int, descriptors: list[int]) -> int:
    *standard, told = descriptors
    for descriptor in standard:
        os.close(descriptor)
    os.write(told, NUMBER.pack(pid))
    return told


def _tell_the_end(ended: Running) -> None:
    _, status = os.waitpid(ended.pid, 0)
    with suppress(BrokenPipeError):  # whoever started it has forgotten it
        os.write(ended.told, NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os.close(ended.told)


def _end(running: dict[int, Running]) -> None:
    for each in running.values():
        os.kill(each.pid, signal.SIGKILL)
        os.waitpid(each.pid, 0)


def _become(request: Request) -> None:
    """Take on what a new process would have been started with."""
    for standard in range(3):
        os.dup2(request.descriptors[standard], standard)
    os.closerange(3, LAST_DESCRIPTOR)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request.environ)
    os.chdir(request.folder)
    sys.path.insert(0, request.folder)
    sys.argv = [program.__file__, *request.arguments]


def _run() -> None:
    """Run the program to its end, but let the interpreter not take itself apart: that would copy every page."""
    try:
        program.main()
    except SystemExit as end:
        threading._shutdown()
        atexit._run_exitfuncs()
        os._exit(end.code or 0)


if __name__ == "__main__":
    main()
