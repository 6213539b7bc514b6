"""Many mails that fail: all are buried after three attempts, and leave nothing open."""

import resource
from pathlib import Path

from tests.acceptance.programs import wait_until
from tests.apps.message_rooms import email
from tests.apps.sinks import MailSink
from tests.support import IS_SOAK, Server

MAILS = 1_000 if IS_SOAK else 200
WARM, LIST = 20, 100
CONNECTIONS = 10
GROWTH_BYTES = 30_000_000
SECONDS = 60


def test_mails_that_fail_leave_no_socket_no_lease_and_no_memory(stopped: Server) -> None:
    """S1-66, S1-24, S1-55: the mail server says 451 to each of three attempts."""
    with MailSink() as sink:
        sink.replies["RCPT"] = "451 4.3.0 try again later"
        stopped.environ |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "RETRY_BASE_SECONDS": "0"}
        with stopped as server:
            _fail(server, "warm", WARM)
            files, memory = _files(server), _memory_bytes(server)

            _fail(server, "mail", MAILS)

            found = server.call("GET", "/api/messaging/status").json
            assert [found[word] for word in ("failed", "queued", "processing")] == [WARM + MAILS, 0, 0]
            assert found["deadLettered"] == WARM + MAILS
            assert sink.tried == 3 * (WARM + MAILS)
            assert _files(server) <= files + CONNECTIONS
            assert _memory_bytes(server) - memory < GROWTH_BYTES


def _fail(server: Server, name: str, count: int) -> None:
    """Queue mails and wait until all are dead letters."""
    failed = _failed(server)
    for first in range(0, count, LIST):
        jobs = [email(f"{name}-{number}") for number in range(first, min(count, first + LIST))]
        assert server.call("POST", "/api/enqueue-job", jobs).status == 202
    wait_until(lambda: _failed(server) == failed + count, SECONDS, "not all mails failed")


def _failed(server: Server) -> int:
    return server.call("GET", "/api/messaging/status").json["failed"]


def _files(server: Server) -> int:
    return len([*Path(f"/proc/{server.process.pid}/fd").iterdir()])


def _memory_bytes(server: Server) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()
