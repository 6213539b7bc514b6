"""Batches for tests that need no store."""

from millrace.batch import MessageBatch
from millrace.message import Backlog, Lease, Message


def batch(*bodies, content_type="json"):
    """Make a batch of messages with these stored bodies, or of one with the body 1."""
    messages = [
        Message(
            id=f"{n:032x}", lease=Lease(n, 1), attempts=1, failures=0, sent_at_ms=1_700_000_000_500,
            content_type=content_type, body=body, source="http",
        )
        for n, body in enumerate(bodies or (b"1",))
    ]  # fmt: skip
    return MessageBatch("q", messages, Backlog(3, 30, 1_700_000_000_000))
