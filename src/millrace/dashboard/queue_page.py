"""The page of one queue: its depth, its settings, what lies in it, and the forms to act on it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from millrace.dashboard.figures import body_text, brief, moment
from millrace.dashboard.overview import consumer_of, dead_letter_queue_of
from millrace.dashboard.turn import Turn
from millrace.http.envelope import queue_object
from millrace.http.routes import Answer
from millrace.message import HIGH, LOW, Message
from millrace.queue import Queue

SHOWN_MESSAGES = 25
FIELDS = ("body", "content_type", "delay_seconds", "priority")
PRIORITY_WORDS = {LOW: "low", HIGH: "high"}


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the pages show it; `origin` and `reason` where it is a dead letter.

    The origin is the queue's name, or its id when it is gone or beyond the key.
    """

    id: str
    ref: str
    sent_at_ms: int
    attempts: int
    content_type: str
    bytes: int
    body: str
    priority: str
    ordering_key: str
    origin: str
    reason: str


async def show_queue(turn: Turn) -> Answer:
    """Show a queue."""
    return await answer_queue(turn, await turn.queue(turn.request.params["name"]))


async def answer_queue(
    turn: Turn, queue: Queue, status: int = 200, problem: str = "", kept: Mapping[str, str] | None = None
) -> Answer:
    """Answer with the page of a queue; `problem` is why a message was not sent, `kept` what its form had in it."""
    after_key = turn.cursor("after")
    backlog = await turn.desk.broker.backlog(queue)
    messages = await turn.desk.broker.peek(queue, SHOWN_MESSAGES, after_key)
    rows = rows_of(messages, await _origins(turn, messages))
    return turn.page(
        "queue.html",
        status,
        queue=queue,
        consumer=consumer_of(queue),
        dead_letter_queue=dead_letter_queue_of(queue),
        backlog=backlog,
        rows=rows,
        after=f"{after_key:016x}" if after_key else "",
        next_after=f"{messages[-1].lease.key:016x}" if len(messages) == SHOWN_MESSAGES else "",
        has_dead_letters=any(row.reason for row in rows),
        settings=settings_of(queue),
        problem=problem,
        kept=kept or dict.fromkeys(FIELDS, ""),
    )


async def _origins(turn: Turn, messages: Sequence[Message]) -> dict[str, str]:
    if all(message.origin_queue_id is None for message in messages):
        return {}
    queues = await turn.desk.catalog.queues(turn.account_id)
    return {queue.id: queue.name for queue in queues if turn.request.key.reaches(queue.name)}


def rows_of(messages: Sequence[Message], names: Mapping[str, str]) -> list[MessageRow]:
    """Make the lines of a table of messages; `names` are those of the queues that they may come from, by id."""
    return [_row(message, names) for message in messages]


def _row(message: Message, names: Mapping[str, str]) -> MessageRow:
    origin = message.origin_queue_id
    return MessageRow(
        id=message.id,
        ref=message.ref,
        sent_at_ms=message.sent_at_ms,
        attempts=message.attempts,
        content_type=message.content_type,
        bytes=len(message.body),
        body=body_text(message.body, message.content_type),
        priority=PRIORITY_WORDS.get(message.priority, ""),
        ordering_key=message.ordering_key or "",
        origin="" if origin is None else names.get(origin, origin),
        reason=message.reason or "",
    )


def settings_of(queue: Queue) -> list[tuple[str, str]]:
    """Give a queue's settings and its consumer's by name; of a URL no query, which may hold a secret."""
    shown: dict[str, Any] = msgspec.to_builtins(queue_object(queue))
    lines = {"id": queue.id, "created": f"{moment(queue.created_at_ms)} UTC", **shown["settings"]}
    for consumer in shown["consumers"]:
        lines |= {
            f"consumer: {name}": consumer[name]
            for name in ("type", "script", "dead_letter_queue")
            if consumer.get(name)
        }
        if "url" in consumer:
            lines["consumer: url"] = consumer["url"].partition("?")[0]
        lines |= {f"consumer: {name}": value for name, value in consumer["settings"].items()}
    return [(name.replace("_", " "), _plain(value)) for name, value in lines.items()]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else brief(value)
