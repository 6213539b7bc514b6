"""The handlers of a wrangler file under a real server: what one does wrong, its own queue pays for."""

import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import wait_until
from tests.support import Server

HANDLERS = """
import asyncio, os, sys, time
from pathlib import Path

from millrace import each


async def good(batch, env):
    for message in batch.messages:
        await env.DONE.send(message.body)


async def hanging(batch):
    batch.messages[0].ack()
    await asyncio.Event().wait()


def blocking(batch):
    time.sleep(1000)


async def dying(batch):
    os._exit(7)


async def exiting(batch):
    sys.exit(3)


async def one(message):
    if message.body == "bad":
        raise ValueError("no good")


one_by_one = each(one)


async def patient(batch):
    Path(batch.messages[0].body, "began").touch()
    while not Path(batch.messages[0].body, "go").exists():
        await asyncio.sleep(0.01)
"""
WRONGDOERS = ("hanging", "blocking", "dying", "exiting")
REASONS = ("TimeoutError", "TimeoutError", "HandlerDied", "RuntimeError")


class FileServer(Server):
    """A server with a wrangler file, one handler a queue."""

    def __init__(self, folder: Path, *names: str, **environ: str) -> None:
        (folder / "jobs.py").write_text(HANDLERS)
        blocks = [consumer(name, f"jobs.py:{name}") for name in names]
        (folder / "wrangler.toml").write_text(
            "\n".join(['name = "shop"', '[[queues.producers]]\nbinding = "DONE"\nqueue = "done"', *blocks])
        )
        super().__init__(folder / "data", "--config", str(folder / "wrangler.toml"), environ=environ)

    def path(self, name: str) -> str:
        (queue,) = self.v4("GET", f"/queues?name={name}").result
        return f"/queues/{queue['queue_id']}/messages"

    def send(self, name: str, *bodies: object) -> None:
        """Send the bodies as one batch."""
        messages = {"messages": [{"body": body} for body in bodies]}
        assert self.v4("POST", f"{self.path(name)}/batch", messages).status == 200

    def peek(self, name: str) -> list[dict[str, Any]]:
        return self.v4("POST", f"{self.path(name)}/peek", {}).result["messages"]


def consumer(queue: str, handler: str) -> str:
    lines = ["[[queues.consumers]]", f'queue = "{name_of(queue)}"', f'handler = "{handler}"']
    return "\n".join(
        [*lines, "max_batch_timeout = 0", "max_retries = 0", f'dead_letter_queue = "dead-{name_of(queue)}"']
    )


def name_of(handler: str) -> str:
    return handler.replace("_", "-")


def test_each_wrongdoer_loses_its_own_messages_only_and_what_was_acked_stays_acked(tmp_path: Path):
    with FileServer(tmp_path, "good", *WRONGDOERS, HANDLER_SECONDS="1", HANDLER_PROCESSES="1") as server:
        for name in WRONGDOERS:
            server.send(name, "first", "second")
        for number in range(5):
            server.send("good", number)

        wait_until(lambda: len(server.peek("done")) == 5, 10, "the good handler is not served")
        wait_until(lambda: all(map(server.peek, [f"dead-{name}" for name in WRONGDOERS])), 10, "not all are buried")
        dead = [server.peek(f"dead-{name}") for name in WRONGDOERS]

        assert server.stop() == 0
    assert [len(messages) for messages in dead] == [1, 2, 2, 2]
    assert tuple(messages[0]["metadata"]["Millrace-Reason"] for messages in dead) == REASONS


def test_a_message_that_fails_in_each_is_one_line_of_the_log_with_its_id(tmp_path: Path):
    with FileServer(tmp_path, "one_by_one") as server:
        server.send("one-by-one", "fine", "bad", "fine")
        wait_until(lambda: bool(server.peek("dead-one-by-one")), 10, "nothing is buried")
        (message,) = server.peek("dead-one-by-one")
        server.wait_for_text("message.failed")

    (line,) = [line for line in server.log_lines() if line["event"] == "message.failed"]
    assert line["message_id"] == message["id"]
    assert "ValueError: no good" in line["error"]
    assert "jobs.py" in line["error"]


def test_at_sigterm_a_batch_in_a_child_ends_and_is_settled(tmp_path: Path):
    with FileServer(tmp_path, "patient") as server:
        server.send("patient", str(tmp_path))
        wait_until((tmp_path / "began").exists, 10, "the handler does not begin")

        server.process.send_signal(signal.SIGTERM)
        server.wait_for_text("server.stopping")
        (tmp_path / "go").touch()

        assert server.process.wait(5) == 0
        server.start()
        assert server.v4("GET", server.path("patient").replace("messages", "metrics")).result["backlog_count"] == 0


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> FileServer:
    """A server that has run and is stopped; beside its file lie programs that cannot be loaded."""
    folder = tmp_path_factory.mktemp("furnished")
    (folder / "broken.py").write_text("raise RuntimeError('no database')")
    (folder / "exits.py").write_text("import os; os._exit(5)")
    with FileServer(folder, "good") as server:
        server.stop()
    return server


WRONG = {
    "an import that fails": ("toml", "broken.py:run", "no database"),
    "an exit while it is imported": ("jsonc", "exits.py:run", "exit code 5"),
}


@pytest.mark.parametrize(("kind", "handler", "why"), WRONG.values(), ids=WRONG)
def test_a_handler_that_cannot_be_loaded_stops_the_start_and_nothing_is_changed(
    furnished: FileServer, kind: str, handler: str, why: str
):
    file, line = write_file(furnished.data.parent, handler, kind)
    before = dump(furnished.data)
    furnished.arguments = ("--config", str(file))
    furnished.start(wait=False)

    assert furnished.process.wait(10) == 1
    assert dump(furnished.data) == before
    furnished.wait_for_text(f'{file}:{line}: "queues.consumers[0].handler"')
    assert why in furnished.text


def write_file(folder: Path, handler: str, kind: str) -> tuple[Path, int]:
    """Write a file with this handler for a new queue, and say in which line it stands."""
    file = folder / f"wrong.{kind}"
    if kind == "toml":
        file.write_text(f'name = "shop"\n\n[[queues.consumers]]\nqueue = "new"\nhandler = "{handler}"\n')
        return file, 5
    consumers = [{"queue": "new", "handler": handler}]
    file.write_text("// a comment\n" + json.dumps({"name": "shop", "queues": {"consumers": consumers}}, indent=1))
    return file, 8


def test_the_first_key_is_not_made_by_a_start_that_fails(tmp_path: Path):
    server = FileServer(tmp_path, "missing")
    server.environ.pop("ADMIN_TOKEN", None)

    server.start(wait=False)

    assert server.process.wait(10) == 1
    assert "api_keys" not in dump(server.data)


def dump(data: Path) -> str:
    """Give what the database holds, without the notes of when it was opened."""
    with sqlite3.connect(data / "millrace.db") as database:
        rows = [row for row in database.iterdump() if row.startswith("INSERT INTO") and '"store"' not in row]
    return "\n".join(rows)
