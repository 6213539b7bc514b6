"""A full disk and a locked database cost answers of 503 for as long as they last, and nothing else."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance.programs import ProgramServer, wait_until
from tests.support import Reply, Server

DISK_BYTES = 12 * 1024 * 1024
FILE_BYTES = 256 * 1024
BODY_BYTES = 20_000
ANSWER_SECONDS = 10
BACK_SECONDS = 5
HEALTH_SECONDS = 1.1
LOCK_SECONDS = 4
SOME = 20

LOCK = """
import apsw, sys, time
connection = apsw.Connection(sys.argv[1])
connection.execute(sys.argv[2])
print("locked", flush=True)
time.sleep(float(sys.argv[3]))
connection.execute("rollback")
"""


class Disk(NamedTuple):
    """Where the data lie, and how to fill what is left there and free it again."""

    server: Server
    ballast: Path | None

    def fill(self) -> None:
        if self.ballast is None:
            _limit_file_size(self.server, FILE_BYTES)
            return
        with self.ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def free(self) -> None:
        if self.ballast is None:
            _limit_file_size(self.server, resource.RLIM_INFINITY)
        else:
            self.ballast.unlink()


@pytest.fixture(params=["no space left", "file too large"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A server on a disk that can be filled: a small one where we may mount, else by a limit on its files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    is_mounted = request.param == "no space left" and _mount(folder)
    server = Server(folder / "data")
    try:
        with server:
            yield Disk(server, folder / "ballast" if is_mounted else None)
    finally:
        if is_mounted:
            subprocess.run(["umount", folder], check=True)


def test_a_full_disk_refuses_with_503_and_loses_nothing(disk: Disk) -> None:
    server = disk.server
    queue_id = server.create_queue("full", consumer={"type": "http_pull", "settings": {"max_retries": 100}})
    accepted = {body for body in _bodies("before", SOME) if _push(server, queue_id, body).status == 200}
    leased = _pull(server, queue_id, batch_size=10)
    assert len(accepted) == SOME
    assert len(leased) == 10

    disk.fill()
    answers = {body: _push(server, queue_id, body) for body in _bodies("full", SOME)}

    assert answers[f"full-{SOME - 1}".ljust(BODY_BYTES, ".")].status == 503
    assert {answer.status for answer in answers.values()} <= {200, 503}
    assert all("retry-after" in answer.headers for answer in answers.values() if answer.status == 503)
    accepted |= {body for body, answer in answers.items() if answer.status == 200}

    acknowledged = _ack(server, queue_id, leased[:5])
    assert acknowledged.status in (200, 503)
    gone = {body for _, body in leased[:5]} if acknowledged.status == 200 else set()

    disk.free()
    accepted.add(_push_until_it_works(server, queue_id))
    gone |= {body for _, body in leased[5:]}
    assert _ack(server, queue_id, leased[5:]).result["ackCount"] == 5

    assert _counted(server, queue_id) == len(accepted) - len(gone)
    assert _drain(server, queue_id, {lease: body for lease, body in leased[:5] if body not in gone}) == accepted - gone
    assert server.call("GET", "/livez").status == 200
    assert server.stop() == 0
    server.start()
    assert _counted(server, queue_id) == 0


def test_health_is_503_for_as_long_as_the_disk_is_full(disk: Disk) -> None:
    server = disk.server
    queue_id = server.create_queue("full")
    disk.fill()
    assert 503 in (_push(server, queue_id, body).status for body in _bodies("full", SOME))

    for _ in range(3):
        time.sleep(HEALTH_SECONDS)  # an answer about health counts for a second
        assert _push(server, queue_id, _bodies("more", 1)[0]).status == 503
        assert server.call("GET", "/health").status == 503
        assert server.call("GET", "/readyz").status == 503
        assert server.call("GET", "/livez").status == 200

    disk.free()
    wait_until(lambda: server.call("GET", "/health").status == 200, BACK_SECONDS, "the server still complains")


def test_a_handler_goes_on_by_itself_after_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    disk.server.stop()
    with ProgramServer(tmp_path, disk.server.data) as server:
        filled = disk._replace(server=server)
        server.send("plain", {"do": "wait", "for": str(tmp_path / "go")})
        server.wait_for_notes("plain", 1)

        ballast_id = server.create_queue("ballast")
        filled.fill()
        # What is left in the files that are there already is used up, too.
        assert 503 in (_push(server, ballast_id, body).status for body in _bodies("ballast", SOME))
        (tmp_path / "go").touch()
        server.wait_for_notes("plain", 1, "ended")
        assert server.backlog("plain") == 1
        filled.free()

        wait_until(lambda: server.backlog("plain") == 0, BACK_SECONDS, "the settlement was given up")
        server.send("plain", {"do": "nothing"})
        assert server.wait_for_notes("plain", 2)[1].attempts == [1]


@pytest.mark.parametrize("statement", ["begin immediate", "begin exclusive"])
def test_a_foreign_lock_delays_or_refuses_and_loses_nothing(server: Server, statement: str) -> None:
    name = statement.replace(" ", "-")
    queue_id = server.create_queue(name, consumer={"type": "http_pull"})
    path = f"/queues/{queue_id}/messages"
    _push(server, queue_id, "before")

    with _foreign_lock(server.data / "millrace.db", statement), ThreadPoolExecutor(8) as senders:
        until = time.monotonic() + LOCK_SECONDS - 1
        answering = [senders.submit(_push, server, queue_id, body) for body in _bodies(name, 8)]
        while time.monotonic() < until:
            began = time.monotonic()
            assert _counted(server, queue_id) == 1
            assert server.v4("POST", f"{path}/peek", {}).status == 200
            assert server.call("GET", "/livez").status == 200
            assert time.monotonic() - began < 1
            time.sleep(0.05)
        answers = [answer.result() for answer in answering]

    assert {answer.status for answer in answers} <= {200, 503}
    _push_until_it_works(server, queue_id)
    stored = 2 + sum(answer.status == 200 for answer in answers)
    assert _counted(server, queue_id) == stored
    assert len(_drain(server, queue_id, {})) == stored
    # a failed write speaks against the store for two seconds, and what was found out is remembered for one
    wait_until(lambda: server.call("GET", "/health").status == 200, 3, "the server is not well again")


def _mount(folder: Path) -> bool:
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _limit_file_size(server: Server, size: int) -> None:
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def _foreign_lock(database: Path, statement: str) -> Iterator[None]:
    command = [sys.executable, "-c", LOCK, database, statement, str(LOCK_SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        yield
        assert holder.wait(LOCK_SECONDS + 5) == 0


def _bodies(name: str, count: int) -> list[str]:
    return [f"{name}-{number}".ljust(BODY_BYTES, ".") for number in range(count)]


def _push(server: Server, queue_id: str, body: str) -> Reply:
    """Push and see that the answer does not take long, whatever it is."""
    began = time.monotonic()
    message = {"body": body, "content_type": "text"}
    answer = server.v4("POST", f"/queues/{queue_id}/messages", message, timeout=3 * ANSWER_SECONDS)
    assert time.monotonic() - began < ANSWER_SECONDS
    return answer


def _push_until_it_works(server: Server, queue_id: str) -> str:
    wait_until(lambda: _push(server, queue_id, "after").status == 200, BACK_SECONDS, "the store did not come back")
    return "after"


def _pull(server: Server, queue_id: str, *, batch_size: int) -> list[tuple[str, str]]:
    wanted = {"batch_size": batch_size, "visibility_timeout_ms": 60_000}
    messages = server.v4("POST", f"/queues/{queue_id}/messages/pull", wanted).result["messages"]
    return [(message["lease_id"], message["body"]) for message in messages]


def _ack(server: Server, queue_id: str, leased: list[tuple[str, str]]) -> Reply:
    return server.v4("POST", f"/queues/{queue_id}/messages/ack", {"acks": [{"lease_id": lease} for lease, _ in leased]})


def _drain(server: Server, queue_id: str, still_leased: dict[str, str]) -> set[str]:
    """Take everything, what is still leased by its leases, and give the bodies."""
    found = list(still_leased.values())
    if still_leased:
        assert _ack(server, queue_id, list(still_leased.items())).result["ackCount"] == len(still_leased)
    while leased := _pull(server, queue_id, batch_size=100):
        found += [body for _, body in leased]
        assert _ack(server, queue_id, leased).result["ackCount"] == len(leased)
    assert len(found) == len(set(found))
    return set(found)


def _counted(server: Server, queue_id: str) -> int:
    return server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"]
