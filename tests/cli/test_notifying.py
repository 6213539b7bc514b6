"""What systemd hears from a server: READY when it serves, WATCHDOG while it answers, STOPPING at the signal."""

import asyncio
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from millrace.cli.notifying import notify, tell_serving, watchdog_steps
from millrace.errors import StoreUnavailable
from tests.support import Server

HEAR_SECONDS = 10
BEAT_SECONDS = 0.1
WATCHED = {"WATCHDOG_USEC": str(round(2 * BEAT_SECONDS * 1_000_000))}
FULL_BATCH = 10  # which a handler gets without a wait for more
BLOCKING = """
import os

from millrace import App


async def hold(batch):
    print("held", flush=True)
    with open(os.environ["GATE"]) as gate:  # a pipe: opening waits until somebody opens the other end
        gate.read()


app = App(handlers={"held": hold})
"""


class Supervisor:
    """A socket as systemd has one; `address` is what it puts into NOTIFY_SOCKET."""

    def __init__(self, name: str) -> None:
        self.address = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0", 1))

    def hear(self, seconds: float = HEAR_SECONDS) -> list[str]:
        """Give the lines of the next datagram; none when there is none in time."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return []

    def hear_until(self, line: str) -> None:
        until = monotonic() + HEAR_SECONDS
        while line not in self.hear(max(0.001, until - monotonic())):
            assert monotonic() < until, f"{line} never came"

    def forget(self) -> None:
        """Leave out what was sent up to now."""
        while self.hear(0.001):
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a file", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Supervisor]:
    name = str(tmp_path / "notify") if request.param == "a file" else f"@millrace-{uuid.uuid4()}"
    supervisor = Supervisor(name)
    yield supervisor
    supervisor.close()


@pytest.fixture
def abstract() -> Iterator[Supervisor]:
    supervisor = Supervisor(f"@millrace-{uuid.uuid4()}")
    yield supervisor
    supervisor.close()


async def _in_order() -> None:
    pass


async def _without_room() -> None:
    raise StoreUnavailable("no space left on device")


def test_lines_reach_the_socket_as_one_datagram(supervisor: Supervisor) -> None:
    tell_serving("http://127.0.0.1:8787", environ={"NOTIFY_SOCKET": supervisor.address})

    assert supervisor.hear() == ["READY=1", "STATUS=Serves http://127.0.0.1:8787"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_supervisor_nothing_happens(environ: dict[str, str]) -> None:
    notify("READY=1", environ=environ)


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {**WATCHED, "WATCHDOG_PID": str(os.getppid())}],
    ids=["unset", "off", "no number", "another process"],
)
def test_a_process_that_is_not_watched_has_no_step(environ: dict[str, str]) -> None:
    assert watchdog_steps(_in_order, environ) == []


def test_the_watchdog_is_fed_at_half_of_its_time() -> None:
    [(seconds, _)] = watchdog_steps(_in_order, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())})

    assert seconds == 15


@pytest.mark.parametrize("check", [_in_order, _without_room])
async def test_a_store_that_answers_feeds_the_watchdog_even_when_it_has_no_room(
    supervisor: Supervisor, check: object
) -> None:
    [(_, feed)] = watchdog_steps(check, {**WATCHED, "NOTIFY_SOCKET": supervisor.address})

    await feed()

    assert supervisor.hear() == ["WATCHDOG=1"]


async def test_a_store_that_does_not_answer_leaves_the_watchdog_unfed(supervisor: Supervisor) -> None:
    answered = asyncio.Event()

    async def check() -> None:
        await answered.wait()

    [(_, feed)] = watchdog_steps(check, {**WATCHED, "NOTIFY_SOCKET": supervisor.address})
    feeding = asyncio.create_task(feed())
    await asyncio.sleep(0)

    assert supervisor.hear(BEAT_SECONDS) == []

    answered.set()
    await feeding
    assert supervisor.hear() == ["WATCHDOG=1"]


def test_a_server_tells_when_it_serves_and_when_it_stops(abstract: Supervisor, tmp_path: Path) -> None:
    with Server(tmp_path, "--config", "", environ={**WATCHED, "NOTIFY_SOCKET": abstract.address}) as server:
        abstract.hear_until("READY=1")
        assert server.call("GET", "/readyz").status == 200
        abstract.hear_until("WATCHDOG=1")

        assert server.stop() == 0

        abstract.hear_until("STOPPING=1")


def test_a_blocked_loop_stops_the_watchdogs_lines(abstract: Supervisor, tmp_path: Path) -> None:
    gate, program = tmp_path / "gate", tmp_path / "blocking.py"
    os.mkfifo(gate)
    program.write_text(BLOCKING)
    environ = {**WATCHED, "NOTIFY_SOCKET": abstract.address, "GATE": str(gate)}
    with Server(tmp_path / "data", "--config", "", "--app", f"{program}:app", environ=environ) as server:
        [queue] = server.v4("GET", "/queues?name=held").result
        abstract.hear_until("WATCHDOG=1")

        server.v4("POST", f"/queues/{queue['queue_id']}/messages/batch", {"messages": [{"body": 1}] * FULL_BATCH})
        server.wait_for_text("held\n")
        with gate.open("w"):  # opened from both ends: the handler holds the loop, until we close
            abstract.forget()
            heard_meanwhile = abstract.hear(5 * BEAT_SECONDS)
        abstract.hear_until("WATCHDOG=1")

    assert heard_meanwhile == []
