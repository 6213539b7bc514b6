"""What the supervisor is told of a systemd `Type=notify` service: it serves, it stops, it still answers."""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from millrace.errors import StoreUnavailable
from millrace.runtime.runner import Step

Environ = Mapping[str, str]
Check = Callable[[], Awaitable[None]]


def notify(*lines: str, environ: Environ = os.environ) -> None:
    """Send lines such as `READY=1` to the socket `NOTIFY_SOCKET`; without one, or when nobody listens, do nothing."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract socket, which has no file
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.setblocking(False)  # a supervisor that does not read must not hold the loop up
        sender.sendto("\n".join(lines).encode(), address)


def tell_serving(address: str, environ: Environ = os.environ) -> None:
    """Tell that the door is open on `address`."""
    notify("READY=1", f"STATUS=Serves {address}", environ=environ)


def tell_stopping(environ: Environ = os.environ) -> None:
    """Tell that the stop has begun."""
    notify("STOPPING=1", "STATUS=Finishes what is under way", environ=environ)


def watchdog_steps(check: Check, environ: Environ = os.environ) -> list[Step]:
    """Give the step that feeds the supervisor's watchdog, with the seconds between; none when it asks for none."""
    timeout_seconds = _watchdog_seconds(environ)
    if timeout_seconds is None:
        return []

    async def feed_watchdog() -> None:
        # A full disk or a database that is away is an answer, too: a restart would mend neither. A store that does
        # not answer at all keeps us here, and so does a blocked loop.
        with suppress(StoreUnavailable):
            await check()
        notify("WATCHDOG=1", environ=environ)

    return [(timeout_seconds / 2, feed_watchdog)]


def _watchdog_seconds(environ: Environ) -> float | None:
    """Give the seconds after which the supervisor ends a silent process, if it watches this one."""
    microseconds, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (microseconds.isascii() and microseconds.isdigit() and int(microseconds)):
        return None
    if process and process != str(os.getpid()):  # inherited: a parent of ours is watched
        return None
    return int(microseconds) / 1_000_000
