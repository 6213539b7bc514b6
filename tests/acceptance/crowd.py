"""Servers that share one PostgreSQL database, and a program whose calls say when they begin and end."""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tests.support import Server

PROGRAM = """
import asyncio, os, time
from pathlib import Path

from millrace import App, Cron
from millrace.platform import QueueNeed

NOTES = Path(os.environ["NOTES"])


def note(*words):
    with NOTES.open("a") as notes:
        notes.write(" ".join(map(str, words)) + "\\n")


async def work(batch, env):
    for message in batch.messages:
        note("begin", batch.queue, os.getpid(), message.body)
    await asyncio.sleep(0.03)
    for message in batch.messages:
        note("end", batch.queue, os.getpid(), message.body)


async def tick(platform, account_id):
    note("begin", "tick", os.getpid(), "-")
    await asyncio.sleep(0.2)
    note("end", "tick", os.getpid(), "-")


async def count(event, step):
    return await step.do("count", lambda: 1 + event.payload["n"])


def limited(name, **settings):
    consumer = {"type": "worker", "script_name": "app", "settings": {"batch_size": 1, "max_wait_time_ms": 0, **settings}}
    return QueueNeed(name=name, consumer=consumer)


app = App(
    handlers={"pairs": work, "plain": work},
    queues=(limited("pairs", max_concurrency=2), limited("plain")),
    crons=(Cron(name="tick", expression="0 0 29 2 *", act=tick),),
    workflows={"count": count},
)
"""
SHOWN_KEY = re.compile(r"shown this once:\n\n    (\S+)")


class Call(NamedTuple):
    """A line of the program."""

    what: str
    queue: str
    process: str
    body: str


class Crowd:
    """A folder with the program, its notes, and servers on one database; `store` is how they get there."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.notes = folder, url, folder / "notes"
        self.store = url
        self.program = folder / "program.py"
        self.program.write_text(PROGRAM)
        self.notes.touch()
        self._exits = ExitStack()
        self._count = 0

    def server(
        self, *arguments: str, app: bool = True, wait: bool = True, key: str | None = None, **environ: str
    ) -> Server:
        """Start one more server, with a data directory of its own."""
        self._count += 1
        app_arguments = ("--app", f"{self.program}:app") if app else ()
        server = Server(
            self.folder / f"data-{self._count}",
            *("--store", self.store, "--config", "", *app_arguments, *arguments),
            environ={"NOTES": str(self.notes), **environ},
            key=key,
        )
        self._exits.enter_context(server.start(wait=wait))
        return server

    def calls(self, queue: str) -> list[Call]:
        """Give what the handlers of a queue have noted so far."""
        lines = self.notes.read_text().splitlines()
        return [call for call in (Call(*line.split(" ", 3)) for line in lines) if call.queue == queue]

    def close(self) -> None:
        self._exits.close()


def most_at_once(calls: list[Call]) -> int:
    """Count how many calls were under way at the same time, at the most."""
    most = present = 0
    for call in calls:
        present += 1 if call.what == "begin" else -1
        most = max(most, present)
    return most


def wait_for(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until there is something, and give it."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.005)
    return found


def send(server: Server, queue_id: str, *bodies: Any, **more: Any) -> None:
    messages = [{"body": body, "content_type": "text", **more} for body in bodies]
    assert server.v4("POST", f"/queues/{queue_id}/messages/batch", {"messages": messages}).status == 200


def pull(server: Server, queue_id: str, wait_seconds: float = 0) -> list[dict[str, Any]]:
    return server.v4("POST", f"/queues/{queue_id}/messages/pull", {"wait_seconds": wait_seconds}).result["messages"]


def queue_id_of(server: Server, name: str) -> str:
    [queue] = server.v4("GET", f"/queues?name={name}").result
    return queue["queue_id"]


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description is not None else []


def make_due(url: str, *, minutes: str) -> None:
    """Let the cron be due now, and again with each minute; each call has its own word for all minutes."""
    ask(url, f"update crons set expression = '{minutes} * * * *', seen_until_ms = seen_until_ms - 120000")


def ended(crowd: Crowd, queue: str) -> list[str]:
    return [call.body for call in crowd.calls(queue) if call.what == "end"]
