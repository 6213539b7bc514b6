"""The first commands of the how-to pages work when they are pasted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.programs import wait_until
from tests.docs.pages import DOCS, blocks
from tests.support import KEY, Server

ADDRESS = "http://127.0.0.1:8787"
HOWTO = DOCS / "howto"


def _block(page: str, language: str, word: str) -> str:
    return next(block.text for block in blocks(HOWTO / page, language) if word in block.text)


def _environ(server: Server) -> dict[str, str]:
    commands = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "MILLRACE_URL": server.url,
        "MILLRACE_TOKEN": KEY,
        "PYTHONUNBUFFERED": "1",
    }


def _paste(server: Server, script: str, folder: Path) -> str:
    script = script.replace(ADDRESS, server.url).replace("sk_live_...", KEY)
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        check=False,
        cwd=folder,
        env=_environ(server),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def orders(server: Server) -> str:
    """The queue that the pages speak of."""
    [found] = server.v4("GET", "/queues?name=orders").result or [{"queue_id": server.create_queue("orders")}]
    return found["queue_id"]


def test_a_push_with_a_key_that_is_said_again_stores_nothing(server: Server, orders: str, tmp_path: Path) -> None:
    script = _block("idempotency.md", "bash", "Idempotency-Key")
    before = server.v4("GET", f"/queues/{orders}/metrics").result["backlog_count"]

    _paste(server, script, tmp_path)
    answer = _paste(server, script, tmp_path)

    assert f'"backlog_count":{before + 1}' in answer


def test_a_push_consumer_is_made_and_its_secret_is_shown(server: Server, orders: str, tmp_path: Path) -> None:
    answer = _paste(server, _block("push.md", "bash", "http_push"), tmp_path)

    assert '"secret":"whsec_' in answer
    [consumer] = server.v4("GET", f"/queues/{orders}").result["consumers"]
    server.v4("DELETE", f"/queues/{orders}/consumers/{consumer['consumer_id']}")


def test_the_consumer_elsewhere_handles_and_sends_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(_block("consumers.md", "python", "async def bill"))
    command = _block("consumers.md", "bash", "--queue orders").replace("sk_live_...", KEY).replace(ADDRESS, server.url)
    invoices = server.create_queue("invoices")

    consumer = subprocess.Popen(
        ["bash", "-eu", "-c", f"{command.strip().replace('millrace consume', 'exec millrace consume')}"],
        cwd=tmp_path,
        env=_environ(server),
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: server.v4("GET", "/queues?name=orders").result != [], 15, "no queue is made")
        _paste(server, "millrace queues send orders '{\"coffee\": 1}'", tmp_path)

        wait_until(lambda: _count(server, invoices) > 0, 15, "nothing is sent on")
    finally:
        consumer.terminate()
        assert consumer.wait(20) == 0


def _count(server: Server, queue: str) -> int:
    return server.v4("GET", f"/queues/{queue}/metrics").result["backlog_count"]
