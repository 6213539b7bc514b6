"""What the page about event subscriptions tells people to paste, write and configure works together."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.programs import wait_until
from tests.docs.pages import DOCS, blocks
from tests.support import KEY, Server

PAGE, PUSH = DOCS / "howto" / "event-subscriptions.md", DOCS / "howto" / "push.md"
ADDRESS, URL = "http://127.0.0.1:8787", "https://shop.example.com/events"
SEND = 'curl -f -H "$AUTH" http://127.0.0.1:8787/events -d'

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def _block(page: Path, language: str, word: str) -> str:
    return next(block.text for block in blocks(page, language) if word in block.text)


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Server]:
    """A server as the page's first command starts it, with the page's file beside it."""
    name, _, value = _block(PAGE, "bash", "millrace serve").split()[0].partition("=")
    toml = _block(PAGE, "toml", "event-queue").replace("max_batch_timeout = 1", "max_batch_timeout = 0")
    folder = tmp_path_factory.mktemp("events")
    (folder / "wrangler.toml").write_text(toml)
    environ = {name: value, "FETCH_ALLOW": f"127.0.0.1:{port}"}
    with Server(folder / "data", "--config", str(folder / "wrangler.toml"), environ=environ) as running:
        yield running


def _paste(server: Server, script: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "MILLRACE_URL": server.url, "MILLRACE_TOKEN": KEY}
    script = script.replace(ADDRESS, server.url)
    done = subprocess.run(["bash", "-eu", "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _receiver(port: int) -> str:
    """Write the whole receiver of the other page with this page's function in it."""
    whole, own = _block(PUSH, "python", "def outcome"), _block(PAGE, "python", "def outcome")
    old = re.search(r"def outcome.*?\n\n\n", whole, re.DOTALL)[0]
    return whole.replace(old, f"{own}\n\n").replace("9000", str(port))


def test_an_event_comes_to_the_receiver_of_the_page(server: Server, port: int, tmp_path: Path) -> None:
    subscribe, _, event = _block(PAGE, "bash", "/events/subscriptions").partition(SEND)
    authorise = subscribe.splitlines()[0]
    made = json.loads(_paste(server, subscribe.replace(URL, f"http://127.0.0.1:{port}/events")))
    (tmp_path / "receiver.py").write_text(_receiver(port))
    printed = tmp_path / "printed"
    with printed.open("wb") as output:
        environ = {**os.environ, "PUSH_SECRET": made["secret"], "PYTHONUNBUFFERED": "1"}
        receiver = subprocess.Popen([sys.executable, tmp_path / "receiver.py"], env=environ, stdout=output)
    try:
        wait_until(lambda: _listens(port), 10, "the receiver does not start")
        accepted = json.loads(_paste(server, f"{authorise}\n{SEND}{event}"))["data"]
        wait_until(lambda: accepted["event_id"] in printed.read_text(), 10, "the event does not come")
    finally:
        receiver.terminate()
        receiver.wait()

    assert " 17 of request " in printed.read_text()
    look = _block(PAGE, "bash", "/api/workflows/")
    shown = json.loads(
        _paste(server, authorise + "\n" + re.sub(r"instances/\S+", f"instances/{accepted['event_id']}", look))
    )
    assert shown["output"] == {"delivered": [made["id"]]}


def test_the_dead_letters_of_events_go_back_by_themselves_after_the_command_of_the_page(server: Server) -> None:
    _paste(server, _block(PAGE, "bash", "auto-redrive"))

    (queue,) = server.v4("GET", "/queues?name=event-dlq").result
    assert queue["settings"]["auto_redrive"] == {"after_seconds": 3600, "max_times": 3}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
