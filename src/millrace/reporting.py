"""What telemetry is told of the messages of a queue. `tell` is its `emit`, or gathers for after a commit."""

from collections import Counter
from collections.abc import Callable, Sequence

from millrace.message import Stamped
from millrace.placing import Repeated, Stored, fresh_of
from millrace.message import Backlog
from millrace.queue import Queue
from millrace.settlement import Buried, Released, Removed, Settlement
from millrace.store import Cleared

Tell = Callable[..., None]


def tell(tell: Tell, queue: Queue, name: str, count: int) -> None:
    """Tell that something has happened to so many messages."""
    tell(name, account_id=queue.account_id, queue=queue.name, count=count)
