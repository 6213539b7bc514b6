"""An export whose disk fills up, or whose server is killed at work: no half of a file is ever to be had."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.apps.databases import change
from tests.support import Server

MESSAGES = 40_000
FILE_BYTES = 1_000_000  # of the disk, and less than the file would have
SECONDS = 30
LAPSE = "update messages set visible_at_ms = 1, lease_ends_at_ms = 1 where receipt is not null"  # what a minute does
FILL = """
insert into outbound_messages (
    account_id, id, type, status, priority, body, body_hash, owner, correlation_id, created_at_ms, updated_at_ms
)
with recursive numbers(number) as (select 1 union all select number + 1 from numbers where number < ?)
select
    'local', 'm' || number, 'sms_send', 'sent', 'normal',
    cast(json_object('type', 'sms_send', 'messageId', 'm' || number, 'recipient', '+15005550006', 'content', 'Hello',
    'priority', 'normal') as blob), x'00', 'key', '', number, number
from numbers
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with messages enough for a file of some megabytes; attempts follow each other at once."""
    with Server(tmp_path / "data", environ={"RETRY_BASE_SECONDS": "0"}) as one:
        one.stop()
        change(str(database_of(one)), FILL, MESSAGES)
        yield one.start()


@pytest.fixture
def small_disk(server: Server) -> Iterator[None]:
    """A disk of a megabyte for the objects."""
    folder = server.data / "objects"
    folder.mkdir(exist_ok=True)
    size = f"size={FILE_BYTES}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this machine lets us mount no disk")
    yield
    subprocess.run(["umount", folder], check=True)


def database_of(server: Server) -> Path:
    return next(server.data.glob("*.db"))


def begun(server: Server) -> None:
    job = {"type": "export_generation", "exportId": "e-1", "filters": {}, "userId": "u", "format": "json"}
    assert server.call("POST", "/api/enqueue-job", {**job, "priority": "high"}).status == 202


def wait_for(server: Server, is_so: Callable[[dict], bool]) -> dict:
    until = time.monotonic() + SECONDS
    while not is_so(found := server.call("GET", "/api/exports/e-1").json):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def files_of(server: Server) -> list[Path]:
    return [path for path in (server.data / "objects").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_fills_up_ends_the_export_with_that_reason_and_no_file(server: Server) -> None:
    begun(server)

    found = wait_for(server, lambda one: one["status"] == "failed")

    history = server.call("GET", "/api/messages/e-1/history").json["history"]
    assert found["reason"].endswith("No space left on device")
    assert found["downloadUrl"] is None
    assert server.call("GET", "/api/exports/e-1/download").status == 409
    assert [one["status"] for one in history].count("processing") == 3
    assert files_of(server) == []


def test_an_export_whose_server_is_killed_is_made_anew(server: Server) -> None:
    begun(server)
    wait_for(server, lambda one: one["progress"]["rows"] > 0)
    server.kill()
    half = files_of(server)

    change(str(database_of(server)), LAPSE)
    server.start()
    found = wait_for(server, lambda one: one["status"] == "done")

    reply = server.call("GET", found["downloadUrl"], key=None)
    assert len(half) == 1
    assert half[0].parent.name == "arriving"
    assert len(reply.json) == found["rows"] == MESSAGES
