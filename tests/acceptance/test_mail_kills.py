"""A server that is killed among its mails: each arrives, doubles are few, and the history tells of them."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing

import apsw
import pytest

from tests.acceptance.programs import wait_until
from tests.apps.message_rooms import email
from tests.apps.sinks import MailSink
from tests.support import IS_SOAK, Server

MAILS, KILLS = (1_000, 5) if IS_SOAK else (300, 4)
LIST = 100
LEASE_MS = 61_000
SECONDS = 60


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with MailSink() as running:
        yield running


def test_every_mail_arrives_though_the_server_is_killed_among_them(stopped: Server, sink: MailSink) -> None:
    stopped.environ |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "MESSAGE_KEY_RATE": "0"}
    names = [f"mail-{number}" for number in range(MAILS)]
    under_way: list[set[str]] = []
    stopped.start()

    _queue(stopped, names)
    for _ in range(KILLS):
        seen = len(sink.mails) + random.randint(10, MAILS // KILLS // 2)
        wait_until(lambda seen=seen: len(sink.mails) >= seen, SECONDS, "no mails arrive")
        stopped.kill()
        under_way.append(_under_way(stopped))
        _let_leases_end(stopped)
        stopped.start()
    wait_until(lambda: _status(stopped)["done"] == MAILS, SECONDS, "not all mails were sent")

    arrived = Counter(mail.recipient.partition("@")[0] for mail in sink.mails)
    doubles = {name for name, count in arrived.items() if count > 1}
    print(f"{MAILS} mails, {KILLS} kills with {[*map(len, under_way)]} under way: {len(doubles)} came twice")
    assert arrived.keys() == {*names}
    assert doubles <= set().union(*under_way)
    assert all(arrived[name] <= 1 + _times_under_way(name, under_way) for name in names)
    _assert_that_history_tells(stopped, doubles, under_way)
    assert _message_ids(sink, doubles) == len(doubles)
    found = _status(stopped)
    assert [found[word] for word in ("total", "failed", "queued", "processing", "deadLettered")] == [MAILS, 0, 0, 0, 0]


def _queue(server: Server, names: list[str]) -> None:
    for first in range(0, len(names), LIST):
        jobs = [email(name, recipient=f"{name}@example.com") for name in names[first : first + LIST]]
        assert server.call("POST", "/api/enqueue-job", jobs).status == 202


def _under_way(server: Server) -> set[str]:
    """Give what was being sent when the server died: whatever came twice must be among it."""
    with closing(apsw.Connection(str(server.data / "millrace.db"))) as database:
        return {row[0] for row in database.execute("select id from outbound_messages where status = 'processing'")}


def _let_leases_end(server: Server) -> None:
    """Let the dead server's minute pass: the next one takes itself to have been away for so long."""
    with closing(apsw.Connection(str(server.data / "millrace.db"))) as database:
        database.execute("update store set now_ms = now_ms + ?", (LEASE_MS,))


def _times_under_way(name: str, under_way: Iterable[set[str]]) -> int:
    return sum(name in names for names in under_way)


def _assert_that_history_tells(server: Server, doubles: set[str], under_way: list[set[str]]) -> None:
    for name in doubles:
        history = server.call("GET", f"/api/messages/{name}/history").json["history"]
        begun = [line["attempt"] for line in history if line["status"] == "processing"]
        assert begun == [*range(1, 2 + _times_under_way(name, under_way))]
        assert history[-1]["status"] == "sent"


def _message_ids(sink: MailSink, names: set[str]) -> int:
    """Count the Message-IDs of the mails that came twice: a mail server or a reader drops the second by it."""
    return len({mail.message["Message-ID"] for mail in sink.mails if mail.recipient.partition("@")[0] in names})


def _status(server: Server) -> dict[str, int]:
    return server.call("GET", "/api/messaging/status").json
