"""What `millrace serve` says and does about the directory it is given."""

import os
import random
import re
import socket
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tests.support import Server

DATABASE, MARKER = "millrace.db", "millrace.marker"
SECRET = re.compile(r"sk_live_[\w-]{20,}")
STOP_SECONDS = 20
PAGE_BYTES = 4096
MESSAGES = 300

# Root passes by every permission; this is root without that.
WITHOUT_PRIVILEGES = """
import ctypes, os, sys
DROP_FROM_BOUNDING_SET, OVERRIDE, SEARCH = 24, 1, 2
libc = ctypes.CDLL(None)
if os.geteuid() == 0:
    assert libc.prctl(DROP_FROM_BOUNDING_SET, OVERRIDE, 0, 0, 0) == 0
    assert libc.prctl(DROP_FROM_BOUNDING_SET, SEARCH, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
WITHOUT_STDIN = "import os, sys; os.close(0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"


class ServerThrough(Server):
    """A server that a short program starts, after it has changed something about its own process."""

    def __init__(self, program: str, data: Path) -> None:
        super().__init__(data)
        self._program = program

    def _command(self) -> list[str]:
        program, *arguments = super()._command()
        return [program, "-c", self._program, *arguments]


@pytest.fixture
def filled(stopped: Server) -> Server:
    """A server that was stopped in order, with messages of some pages in its database."""
    stopped.start()
    queue_id = stopped.create_queue("filled")
    batch = {"messages": [{"body": "x" * 2_000}] * 100}
    for _ in range(MESSAGES // 100):
        assert stopped.v4("POST", f"/queues/{queue_id}/messages/batch", batch).status == 200
    assert stopped.stop() == 0
    assert (stopped.data / DATABASE).stat().st_size > 100 * PAGE_BYTES
    return stopped


def _truncate_to_half(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def _overwrite_the_middle(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(database.stat().st_size // PAGE_BYTES // 2 * PAGE_BYTES)
        file.write(random.Random(1).randbytes(20 * PAGE_BYTES))


def _overwrite_the_header(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(random.Random(1).randbytes(PAGE_BYTES))


def _replace_by_text(database: Path) -> None:
    database.write_text("this is no database\n" * 1_000)


@pytest.mark.parametrize("damage", [_truncate_to_half, _overwrite_the_middle, _overwrite_the_header, _replace_by_text])
def test_a_damaged_database_is_called_corrupt_and_not_served(filled: Server, damage: Callable[[Path], None]) -> None:
    damage(filled.data / DATABASE)

    assert "corrupt" in _refusal(filled)


def test_a_missing_database_beside_the_marker_is_not_replaced_by_an_empty_one(filled: Server) -> None:
    (filled.data / DATABASE).unlink()

    sentence = _refusal(filled)

    assert "missing" in sentence
    assert MARKER in sentence
    assert not (filled.data / DATABASE).exists()


def test_an_empty_database_beside_the_marker_is_not_served(filled: Server) -> None:
    os.truncate(filled.data / DATABASE, 0)

    assert "empty" in _refusal(filled)
    assert (filled.data / DATABASE).stat().st_size == 0


def test_a_database_without_a_store_beside_the_marker_is_not_served(filled: Server) -> None:
    (filled.data / DATABASE).unlink()
    _execute(filled, "create table something (else_ text)")

    assert "no store" in _refusal(filled)


def test_a_database_of_a_newer_program_is_not_touched(filled: Server) -> None:
    _execute(filled, "pragma user_version = 9999")
    before = (filled.data / DATABASE).read_bytes()

    sentence = _refusal(filled)

    assert "9999" in sentence
    assert "newer" in sentence
    assert (filled.data / DATABASE).read_bytes() == before


def test_the_marker_of_another_store_is_refused(filled: Server, tmp_path: Path) -> None:
    with Server(tmp_path / "other") as other:
        other.stop()
    (other.data / MARKER).rename(filled.data / MARKER)

    assert "another store" in _refusal(filled)


def test_a_marker_that_cannot_be_read_is_refused(filled: Server) -> None:
    (filled.data / MARKER).write_text("nonsense")

    assert MARKER in _refusal(filled)


def test_a_lost_marker_is_written_again_and_nothing_is_lost(filled: Server) -> None:
    (filled.data / MARKER).unlink()

    filled.start()

    assert (filled.data / MARKER).exists()
    assert _backlog(filled) == MESSAGES


def test_a_second_server_on_the_directory_refuses_and_the_first_goes_on(filled: Server) -> None:
    first = filled.start()

    sentence = _refusal(Server(filled.data))

    assert str(first.process.pid) in sentence
    assert _backlog(first) == MESSAGES
    assert first.call("GET", "/health").status == 200
    assert first.stop() == 0


def test_an_admin_key_is_made_and_printed_at_the_first_start_only(tmp_path: Path) -> None:
    with Server(tmp_path / "data", key=None) as server:
        server.wait_for_text("Send something")
        (secret,) = set(SECRET.findall(server.text))
        assert server.v4("GET", "/queues", key=secret).status == 200
        assert server.stop() == 0

        server.start()
        server.wait_for_text("Send something")

        assert not SECRET.search(server.text)
        assert server.v4("GET", "/queues", key=secret).status == 200
        assert server.v4("GET", "/queues", key=None).status == 401


def test_the_key_of_the_environment_replaces_the_one_of_the_former_start(tmp_path: Path) -> None:
    with Server(tmp_path / "data", key="sk_live_the-former-key") as former:
        assert former.v4("GET", "/queues").status == 200
        former.stop()

    with Server(tmp_path / "data", key="sk_live_the-latter-key") as latter:
        assert latter.v4("GET", "/queues").status == 200
        assert latter.v4("GET", "/queues", key="sk_live_the-former-key").status == 401
        latter.wait_for_text("Send something")
        assert "the-latter-key" not in latter.text


def test_a_server_runs_without_standard_input(tmp_path: Path) -> None:
    with ServerThrough(WITHOUT_STDIN, tmp_path / "data") as server:
        queue_id = server.create_queue("first")
        assert server.v4("POST", f"/queues/{queue_id}/messages", {"body": 1}).status == 200
        assert server.stop() == 0


def test_a_port_in_use_is_named(stopped: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stopped.arguments = ("--port", str(port))

        assert str(port) in _refusal(stopped)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o555)

    assert str(folder) in _refusal(ServerThrough(WITHOUT_PRIVILEGES, folder))


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert str(tmp_path / "file") in _refusal(Server(tmp_path / "file" / "data"))


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_database_that_cannot_be_written_is_named(filled: Server, mode: int) -> None:
    (filled.data / DATABASE).chmod(mode)

    assert DATABASE in _refusal(ServerThrough(WITHOUT_PRIVILEGES, filled.data))


def test_a_marker_that_cannot_be_read_at_all_is_named(filled: Server) -> None:
    (filled.data / MARKER).chmod(0o000)

    assert str(filled.data) in _refusal(ServerThrough(WITHOUT_PRIVILEGES, filled.data))


def _refusal(server: Server) -> str:
    """Start a server that must end with exit code 1 and a sentence, and give what it printed."""
    with server.start(wait=False):
        assert server.process.wait(STOP_SECONDS) == 1, server.text
        for reader in server._readers:  # a sentence may come on either
            reader.join(STOP_SECONDS)
    assert "Traceback" not in server.text, server.text
    assert re.search(r"^millrace: .+", server.text, re.MULTILINE), server.text
    return server.text


def _execute(server: Server, statement: str) -> None:
    connection = apsw.Connection(str(server.data / DATABASE))
    connection.execute(statement)
    connection.close()


def _backlog(server: Server) -> int:
    (queue,) = server.v4("GET", "/queues?name=filled").json["result"]
    return server.v4("GET", f"/queues/{queue['queue_id']}/metrics").result["backlog_count"]
