"""Bindings: the names under which code reaches queues, such as `env.EVENT_QUEUE.send(…)`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from millrace.errors import InvalidMessage
from millrace.message import Backlog, ContentType, Outgoing, encode_body

Send = Callable[[list[Outgoing], float | None], Awaitable[Backlog]]


class QueueBinding:
    """One queue, as a producer sees it. How a message gets there is passed in."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def send(
        self,
        body: object,
        *,
        content_type: str = "json",
        delay_seconds: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> Backlog:
        """Send one message; it is on disk when this returns.

        Raises:
            InvalidMessage: a body that does not go with its content type, or a bad delay.
            BacklogFull, StoreUnavailable: the queue cannot take it now; nothing was sent.
        """
        return await self._send([_outgoing(body, content_type, delay_seconds, headers)], None)

    async def send_batch(self, messages: Iterable[Mapping[str, Any]], *, delay_seconds: float | None = None) -> Backlog:
        """Send messages, each a mapping with `body` and perhaps `content_type` and `delay_seconds`; all or none."""
        outgoing = [
            _outgoing(message["body"], message.get("content_type", "json"), message.get("delay_seconds"), None)
            for message in messages
        ]
        return await self._send(outgoing, delay_seconds)


class Env:
    """Bindings by name, as attributes."""

    def __init__(self, bindings: Mapping[str, object]) -> None:
        self.__dict__.update(bindings)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no binding {name!r}; there are: {', '.join(sorted(self.__dict__)) or 'none'}")


def _outgoing(body: object, content_type: str, delay_seconds: float | None, headers: dict[str, str] | None) -> Outgoing:
    try:
        kind = ContentType(content_type.lower())
    except ValueError:
        raise InvalidMessage(f"content_type is {content_type!r}; expected json, text, bytes or v8") from None
    return Outgoing(body=encode_body(body, kind), content_type=kind, delay_seconds=delay_seconds, headers=headers)
