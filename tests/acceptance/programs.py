"""Servers that run the handlers of program.py, and the notes that these write."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import Server

HERE = Path(__file__).parent


class Note(NamedTuple):
    """That a handler began or ended a batch; `at` is in monotonic seconds, which are ours, too."""

    what: str
    queue: str
    at: float
    ids: list[str]
    attempts: list[int]
    names: list[str]


class ProgramServer(Server):
    """A server with the handlers of program.py."""

    def __init__(self, folder: Path, data: Path | None = None, environ: dict[str, str] | None = None) -> None:
        self._notes = folder / "notes"
        super().__init__(
            data or folder / "data",
            "--config",
            str(HERE / "program.toml"),
            "--app",
            f"{HERE / 'program.py'}:app",
            environ={"NOTES": str(self._notes), **(environ or {})},
        )

    def queue_id(self, name: str) -> str:
        (queue,) = self.v4("GET", f"/queues?name={name}").json["result"]
        return queue["queue_id"]

    def send(self, queue: str, *bodies: dict[str, Any]) -> float:
        """Send the bodies as one batch and give the time at which this was answered."""
        messages = {"messages": [{"body": body} for body in bodies]}
        assert self.v4("POST", f"/queues/{self.queue_id(queue)}/messages/batch", messages).status == 200
        return time.monotonic()

    def backlog(self, queue: str) -> int:
        return self.v4("GET", f"/queues/{self.queue_id(queue)}/metrics").result["backlog_count"]

    def peek(self, queue: str) -> list[dict[str, Any]]:
        return self.v4("POST", f"/queues/{self.queue_id(queue)}/messages/peek", {}).result["messages"]

    def notes(self, queue: str, what: str = "began") -> list[Note]:
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        notes = [Note(**json.loads(line)) for line in lines]
        return [note for note in notes if (note.queue, note.what) == (queue, what)]

    def wait_for_notes(self, queue: str, count: int, what: str = "began", seconds: float = 10) -> list[Note]:
        wait_until(lambda: len(self.notes(queue, what)) >= count, seconds, f"{queue} has not {what} {count} batches")
        return self.notes(queue, what)

    def wait_until_empty(self, queue: str, seconds: float = 10) -> None:
        wait_until(lambda: self.backlog(queue) == 0, seconds, f"{queue} does not become empty")


def wait_until(is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Look until something is so, and fail with the sentence when it takes too long."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, otherwise
        time.sleep(0.02)
