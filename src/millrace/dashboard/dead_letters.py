"""All dead-letter queues, with what lies in them and why."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from millrace.dashboard.overview import NONE, dead_letter_queue_of, dead_letter_queues
from millrace.dashboard.queue_page import MessageRow, rows_of
from millrace.dashboard.turn import Turn
from millrace.http.routes import Answer
from millrace.message import Backlog
from millrace.queue import Queue

SHOWN_QUEUES = 30
SHOWN_MESSAGES = 10
READ_MESSAGES = 100  # of each queue, to count their reasons


class DeadLetterQueue(msgspec.Struct, frozen=True):
    """A dead-letter queue, the queues that bury in it, the beginning of it, and how often each reason is there."""

    name: str
    sources: list[str]
    backlog: Backlog
    rows: list[MessageRow]
    reasons: list[tuple[str, int]]


async def show_dead_letters(turn: Turn) -> Answer:
    """Show the dead-letter queues that the key reaches; those with messages first."""
    queues = [one for one in await turn.desk.catalog.queues(turn.account_id) if turn.request.key.reaches(one.name)]
    backlogs = await turn.desk.store.backlogs(turn.account_id)
    names = dead_letter_queues(queues)
    found = [queue for queue in queues if queue.name in names]
    found.sort(key=lambda queue: (not backlogs.get(queue.name, NONE).count, queue.name))
    shown = [await _look(turn, queue, queues, backlogs.get(queue.name, NONE)) for queue in found[:SHOWN_QUEUES]]
    return turn.page("dead_letters.html", queues=shown, more=max(0, len(found) - SHOWN_QUEUES))


async def _look(turn: Turn, queue: Queue, queues: Sequence[Queue], backlog: Backlog) -> DeadLetterQueue:
    sources = [other.name for other in queues if dead_letter_queue_of(other) == queue.name]
    messages = await turn.desk.broker.peek(queue, READ_MESSAGES) if backlog.count else []
    reasons = Counter(message.reason for message in messages if message.reason)
    rows = rows_of(messages[:SHOWN_MESSAGES], {other.id: other.name for other in queues})
    return DeadLetterQueue(queue.name, sources, backlog, rows, reasons.most_common())
