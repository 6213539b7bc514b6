"""What the forms of a queue's page do."""

import msgspec

from millrace.dashboard.queue_page import FIELDS, answer_queue
from millrace.dashboard.turn import Turn
from millrace.errors import InvalidRequest, MillraceError, StoreUnavailable
from millrace.http.errors import reply_to
from millrace.http.outgoing import PushBody, outgoing
from millrace.http.routes import Answer
from millrace.message import Outgoing
from millrace.queue import Queue
from millrace.redriving import RedriveFilter

SAID = {
    "sent": "The message is in the queue.",
    "paused": "Delivery is paused.",
    "resumed": "Delivery goes on.",
    "purged": "All messages are deleted.",
    "discarded": "The message is deleted.",
    "gone": "That message was not there any more.",
    "redriven": "{count} messages went back to where they came from.",
}


async def send(turn: Turn) -> Answer:
    """Send the message that was typed; one that is refused stays in its form."""
    queue = await _queue(turn)
    try:
        await turn.desk.broker.send(queue, _typed(turn))
    except StoreUnavailable:
        raise
    except MillraceError as error:
        kept = {name: turn.form.text(name) for name in FIELDS}
        return await answer_queue(turn, queue, reply_to(error).status, str(error), kept)
    return turn.go(f"/queues/{queue.name}", "sent")


async def pause(turn: Turn) -> Answer:
    """Deliver nothing until further notice."""
    return await _set_paused(turn, paused=True)


async def resume(turn: Turn) -> Answer:
    """Deliver again."""
    return await _set_paused(turn, paused=False)


async def purge(turn: Turn) -> Answer:
    """Delete all messages, if the name of the queue was typed.

    Raises:
        InvalidRequest: another name, or none.
    """
    queue = await _queue(turn)
    if turn.form.text("name").strip() != queue.name:
        raise InvalidRequest(f"the name that was typed is not {queue.name!r}; nothing was deleted")
    await turn.desk.broker.purge(queue)
    turn.desk.catalog.forget(queue.id)
    return turn.go(f"/queues/{queue.name}", "purged")


async def discard(turn: Turn) -> Answer:
    """Delete one message."""
    queue = await _queue(turn)
    [found] = await turn.desk.broker.discard(queue, [turn.form.text("ref")])
    return turn.go(_back(turn, queue), "discarded" if found else "gone")


async def redrive(turn: Turn) -> Answer:
    """Move dead letters back to where they came from: all, or those whose reason has the text that was typed."""
    turn.check_all_queues()
    queue = await _queue(turn)
    wanted = RedriveFilter(reason=turn.form.text("reason") or None)
    moved = await turn.desk.broker.redrive(queue, wanted=wanted)
    return turn.go(_back(turn, queue), "redriven", moved)


async def _queue(turn: Turn) -> Queue:
    return await turn.queue(turn.request.params["name"])


async def _set_paused(turn: Turn, *, paused: bool) -> Answer:
    queue = await _queue(turn)
    await turn.desk.catalog.change(queue.account_id, queue.id, settings={"delivery_paused": paused})
    return turn.go(f"/queues/{queue.name}", "paused" if paused else "resumed")


def _back(turn: Turn, queue: Queue) -> str:
    """Give the page that the form was on."""
    return "/dead-letters" if turn.form.text("page") == "dead-letters" else f"/queues/{queue.name}"


def _typed(turn: Turn) -> Outgoing:
    text, kind = turn.form.text("body"), turn.form.text("content_type")
    is_text = kind == "text"
    pushed = PushBody(
        body=msgspec.Raw(msgspec.json.encode(text) if is_text else text.encode()),
        content_type="text" if is_text else "json",
        delay_seconds=turn.form.number("delay_seconds"),
        priority=turn.form.text("priority") or None,
    )
    return outgoing(pushed, None)
