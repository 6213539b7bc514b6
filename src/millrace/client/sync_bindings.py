# Generated from src/millrace/bindings.py by scripts/sync_client.py; do not edit.
"""Bindings: the names under which code reaches queues, such as `env.EVENT_QUEUE.send(…)`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

from millrace.bindings import SendOptions, make_outgoing, read_outgoing
from millrace.errors import ConfigurationError
from millrace.handlers.asking import Binding
from millrace.message import Backlog, Outgoing

Send = Callable[[list[Outgoing], float | None], Backlog]
Count = Callable[[], Backlog]


KEYS = ("body", "content_type", "delay_seconds", *SendOptions.__annotations__)  # of a message of a batch


class QueueBinding(Binding):
    """One queue, as a producer sees it. How a message gets there is passed in, and how its backlog is counted."""

    def __init__(self, send: Send, count: Count | None = None) -> None:
        self._send, self._count = send, count

    def send(
        self,
        body: object,
        *,
        content_type: str = "json",
        delay_seconds: float | None = None,
        **options: Unpack[SendOptions],
    ) -> Backlog:
        """Send one message, perhaps with the options of `SendOptions`; it is on disk when this returns.

        Raises:
            InvalidMessage: a body that does not go with its content type, a bad delay, or a bad option.
            BacklogFull, StoreUnavailable: the queue cannot take it now; nothing was sent.
        """
        return self._send([make_outgoing(body, content_type, delay_seconds, **options)], None)

    def send_batch(self, messages: Iterable[Mapping[str, Any]], *, delay_seconds: float | None = None) -> Backlog:
        """Send messages, each a mapping with `body` and perhaps what else `send` takes.

        Within the server all or none are sent. A client sends over 100 messages or 256,000 bytes in parts, each of
        them all or none.
        """
        return self._send([read_outgoing(message) for message in messages], delay_seconds)

    def metrics(self) -> Backlog:
        """Count the queue's backlog."""
        if self._count is None:
            raise ConfigurationError("this binding sends only; its backlog cannot be counted from here")
        return self._count()
