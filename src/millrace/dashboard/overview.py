"""The first page: all queues, and how they are doing."""

from collections.abc import Mapping, Sequence

import msgspec

from millrace.dashboard.turn import Turn
from millrace.http.routes import Answer
from millrace.message import Backlog
from millrace.queue import Queue

SHOWN_QUEUES = 500
NONE = Backlog(0, 0, 0)


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table; `dead_letters` counts what lies in the queue's dead-letter queue.

    It is None when there is no such queue, or none that the key reaches.
    """

    name: str
    consumer: str
    backlog: Backlog
    dead_letter_queue: str | None
    dead_letters: int | None
    is_paused: bool
    is_for_dead_letters: bool


async def show_queues(turn: Turn) -> Answer:
    """Show all queues that the key reaches."""
    queues = await turn.desk.catalog.queues(turn.account_id)
    backlogs = await turn.desk.store.backlogs(turn.account_id)
    reaches = turn.request.key.reaches
    rows = rows_of(
        [queue for queue in queues if reaches(queue.name)],
        {name: backlog for name, backlog in backlogs.items() if reaches(name)},
    )
    messages = sum(row.backlog.count for row in rows)
    return turn.page(
        "queues.html",
        rows=rows[:SHOWN_QUEUES],
        more=max(0, len(rows) - SHOWN_QUEUES),
        total=len(rows),
        messages=messages,
    )


def rows_of(queues: Sequence[Queue], backlogs: Mapping[str, Backlog]) -> list[QueueRow]:
    """Make the lines of the table, by name."""
    for_dead_letters = dead_letter_queues(queues)
    return [
        QueueRow(
            name=queue.name,
            consumer=consumer_of(queue),
            backlog=backlogs.get(queue.name, NONE),
            dead_letter_queue=dead_letter_queue_of(queue),
            dead_letters=_dead_letters_of(queue, backlogs),
            is_paused=queue.settings.delivery_paused,
            is_for_dead_letters=queue.name in for_dead_letters,
        )
        for queue in sorted(queues, key=lambda queue: queue.name)
    ]


def dead_letter_queues(queues: Sequence[Queue]) -> set[str]:
    """Give the names of the queues that bury in another, or go back from where they are buried by themselves."""
    named = {dead_letter_queue_of(queue) for queue in queues}
    redriving = {queue.name for queue in queues if queue.settings.auto_redrive is not None}
    return {name for name in named if name is not None} | redriving


def dead_letter_queue_of(queue: Queue) -> str | None:
    """Give the name of the queue that this one buries in."""
    return queue.consumer.dead_letter_queue if queue.consumer is not None else None


def consumer_of(queue: Queue) -> str:
    """Say what takes the queue's messages."""
    if queue.consumer is None:
        return ""
    match queue.consumer.type:
        case "worker":
            return f"handler {queue.consumer.script_name}".strip()
        case "http_pull":
            return "pull"
        case "http_push":
            return "push"


def _dead_letters_of(queue: Queue, backlogs: Mapping[str, Backlog]) -> int | None:
    backlog = backlogs.get(dead_letter_queue_of(queue) or "")
    return None if backlog is None else backlog.count
