"""The queue in which an account is told how its messages ended, where it has one."""

from contextlib import suppress

import msgspec

from millrace.apps.messaging import rows
from millrace.apps.messaging.queues import STATUS_QUEUE
from millrace.apps.messaging.rows import Row
from millrace.apps.messaging.shown import status_of
from millrace.errors import BacklogFull
from millrace.message import Outgoing
from millrace.sql import queues
from millrace.work import Work


def tell_status(work: Work, account_id: str, row: Row) -> None:
    """Send how a message ended to the account's queue for that, if it has one with a consumer, and room."""
    if row.status not in rows.ENDED:
        return
    queue = queues.named(work.tx, account_id, STATUS_QUEUE)
    if queue is not None and queue.consumer is not None:
        with suppress(BacklogFull):  # whoever is so far behind must not hold messages up
            work.send(queue.id, [Outgoing(body=msgspec.json.encode(status_of(row, work.now_ms)), source="messaging")])
