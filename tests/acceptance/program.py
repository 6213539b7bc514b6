"""Handlers for the tests of the real server: they note what they get and do what each message's body says."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from millrace import App, MessageBatch

NOTES = os.environ["NOTES"]
LOOK_SECONDS = 0.01


async def handle(batch: MessageBatch) -> None:
    _note("began", batch)
    for message in batch.messages:
        body: Any = message.body
        if body["do"] == "wait":
            await _appearance(Path(body["for"]))
        else:
            _obey(message, body)
    _note("ended", batch)


async def wait_until_exit(batch: MessageBatch, env: object, ctx: Any) -> None:
    """End itself in work that it left behind."""

    async def leave() -> None:
        sys.exit(3)

    _note("began", batch)
    if batch.messages[0].attempts == 1:
        ctx.wait_until(leave())


def handle_in_thread(batch: MessageBatch) -> None:
    _note("began", batch)
    for message in batch.messages:
        body: Any = message.body
        while body["do"] == "wait" and not Path(body["for"]).exists():
            time.sleep(LOOK_SECONDS)
        _obey(message, body)
    _note("ended", batch)


async def _appearance(path: Path) -> None:
    while not path.exists():  # noqa: ASYNC110, ASYNC240 - the event is in another process
        await asyncio.sleep(LOOK_SECONDS)


def _obey(message: Any, body: dict[str, Any]) -> None:
    match body["do"]:
        case "ack":
            message.ack()
        case "retry" if message.attempts == 1:
            message.retry(delay_seconds=body["delay_seconds"])
        case "raise":
            raise ValueError("as the message wants it")
        case "exit" if message.attempts == 1:
            sys.exit(3)


def _note(what: str, batch: MessageBatch) -> None:
    note = {
        "what": what,
        "queue": batch.queue,
        "at": time.monotonic(),
        "ids": [message.id for message in batch.messages],
        "attempts": [message.attempts for message in batch.messages],
        "names": _names([message.body for message in batch.messages]),
    }
    with Path(NOTES).open("a") as file:
        file.write(json.dumps(note) + "\n")


def _names(bodies: Sequence[Any]) -> list[str]:
    return [body.get("name", "") for body in bodies]


ASYNC = ("plain", "other", "dying", "failing", "mixed", "single", "paused", "remade", "leaving", "later")
WINDOWS = ("window-1", "window-2", "window-3", "window-4", "window-5")

app = App(
    handlers={
        **dict.fromkeys((*ASYNC, *WINDOWS), handle),
        "sync": handle_in_thread,
        "sync-leaving": handle_in_thread,
        "leaving-late": wait_until_exit,
    }
)
