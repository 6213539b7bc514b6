"""How a server with handlers ends, by signal or by kill, and what becomes of the messages under way."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.acceptance.programs import ProgramServer, wait_until
from tests.support import Server

LEASE_SECONDS = 60
FORCED_SECONDS = 6
QUIET_SECONDS = 1.5


@pytest.fixture
def program(tmp_path: Path) -> Iterator[ProgramServer]:
    with ProgramServer(tmp_path) as server:
        yield server


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The file whose appearance lets the waiting handlers end."""
    return tmp_path / "go"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("queue", ["plain", "sync"])
def test_a_signal_lets_the_running_handler_finish_and_settles_it(
    program: ProgramServer, go: Path, queue: str, number: int
) -> None:
    program.send(queue, _wait_for(go))
    program.wait_for_notes(queue, 1)

    program.process.send_signal(number)
    program.wait_for_text("server.stopping")
    assert program.process.poll() is None
    go.touch()

    assert program.process.wait(10) == 0
    assert len(program.notes(queue, "ended")) == 1
    program.start()
    assert program.backlog(queue) == 0
    assert len(program.notes(queue)) == 1


def test_what_waits_at_a_stop_is_handled_after_the_start(program: ProgramServer, go: Path) -> None:
    program.send("single", *[_wait_for(go)] * 12)
    program.wait_for_notes("single", 1)
    program.process.send_signal(signal.SIGTERM)
    program.wait_for_text("server.stopping")
    go.touch()
    assert program.process.wait(10) == 0
    handled = sum(len(note.ids) for note in program.notes("single", "ended"))

    program.start()

    program.wait_until_empty("single")
    notes = program.notes("single")
    assert handled == 5
    assert sum(len(note.ids) for note in notes) == 12
    assert {attempts for note in notes for attempts in note.attempts} == {1}


@pytest.mark.parametrize("queue", ["plain", "sync"])
def test_a_second_signal_waits_for_no_handler(program: ProgramServer, go: Path, queue: str) -> None:
    program.send(queue, _wait_for(go))
    program.wait_for_notes(queue, 1)
    program.process.send_signal(signal.SIGTERM)
    program.wait_for_text("server.stopping")

    program.process.send_signal(signal.SIGTERM)
    program.process.wait(FORCED_SECONDS)

    program.start()
    assert program.backlog(queue) == 1


def test_a_handler_that_exits_in_work_it_left_behind_does_not_end_the_server(program: ProgramServer) -> None:
    program.send("leaving-late", {"do": "exit"})

    notes = program.wait_for_notes("leaving-late", 2, seconds=5)

    assert [note.attempts for note in notes] == [[1], [2]]
    assert program.call("GET", "/health").status == 200


def test_the_messages_of_a_killed_handler_come_back_in_a_minute(program: ProgramServer, go: Path) -> None:
    program.send("dying", _wait_for(go))
    program.wait_for_notes("dying", 1)
    program.kill()

    _let_pass(program, LEASE_SECONDS - 20)
    program.start()
    time.sleep(QUIET_SECONDS)
    assert len(program.notes("dying")) == 1
    assert program.backlog("dying") == 1
    assert program.stop() == 0

    _let_pass(program, 20)
    program.start()
    wait_until(lambda: len(program.notes("dying")) == 2, 5, "the message does not come back")
    assert program.notes("dying")[1].attempts == [2]
    go.touch()
    program.wait_until_empty("dying")


def _wait_for(path: Path) -> dict[str, Any]:
    return {"do": "wait", "for": str(path)}


def _let_pass(server: ProgramServer, seconds: int) -> None:
    """Let time pass for a stopped server: it goes on from the time its store has seen last."""
    connection = apsw.Connection(str(server.data / "millrace.db"))
    connection.execute("update store set now_ms = now_ms + ?", (1000 * seconds,))
    connection.close()


def test_a_handler_that_will_not_be_cancelled_is_left_behind_at_the_stop(stopped: Server, tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import asyncio\nfrom millrace import App\nasync def handle(batch):\n    while True:\n        try:\n"
        "            await asyncio.sleep(60)\n        except asyncio.CancelledError:\n            print('no', flush=True)\n"
        "app = App(handlers={'work': handle})\n"
    )
    stopped.arguments = ("--app", f"{tmp_path / 'stubborn.py'}:app", "--handler-seconds", "1")
    stopped.start()
    [queue] = stopped.v4("GET", "/queues?name=work").result
    [consumer] = queue["consumers"]
    quick = {"type": "worker", "script_name": "app", "settings": {"max_wait_time_ms": 0}}
    stopped.v4("PUT", f"/queues/{queue['queue_id']}/consumers/{consumer['consumer_id']}", quick)
    stopped.v4("POST", f"/queues/{queue['queue_id']}/messages", {"body": 1})
    stopped.wait_for_text("no")

    assert stopped.stop() == 0
    stopped.wait_for_text("left behind")
