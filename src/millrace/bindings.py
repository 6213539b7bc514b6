"""Bindings: the names under which code reaches queues, such as `env.EVENT_QUEUE.send(…)`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

from millrace.clock import epoch_ms
from millrace.errors import ConfigurationError, InvalidMessage
from millrace.handlers.asking import Binding
from millrace.message import NORMAL, PRIORITIES, Backlog, ContentType, Outgoing, encode_body

Send = Callable[[list[Outgoing], float | None], Awaitable[Backlog]]
Count = Callable[[], Awaitable[Backlog]]


class SendOptions(TypedDict, total=False):
    """What a message may be sent with, beside its content type and delay. All of it is ours, not Cloudflare's.

    `send_at` (with a time zone) takes the place of a delay, however far away. `priority` is high, normal (or medium)
    or low. Messages with one `ordering_key` are delivered one after the other. A `dedupe_key` is stored once within
    the queue's window. `headers` travel beside the body.
    """

    send_at: datetime | None
    priority: str | None
    ordering_key: str | None
    dedupe_key: str | None
    headers: dict[str, str] | None


KEYS = ("body", "content_type", "delay_seconds", *SendOptions.__annotations__)  # of a message of a batch


class QueueBinding(Binding):
    """One queue, as a producer sees it. How a message gets there is passed in, and how its backlog is counted."""

    def __init__(self, send: Send, count: Count | None = None) -> None:
        self._send, self._count = send, count

    async def send(
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
        return await self._send([make_outgoing(body, content_type, delay_seconds, **options)], None)

    async def send_batch(self, messages: Iterable[Mapping[str, Any]], *, delay_seconds: float | None = None) -> Backlog:
        """Send messages, each a mapping with `body` and perhaps what else `send` takes.

        Within the server all or none are sent. A client sends over 100 messages or 256,000 bytes in parts, each of
        them all or none.
        """
        return await self._send([read_outgoing(message) for message in messages], delay_seconds)

    async def metrics(self) -> Backlog:
        """Count the queue's backlog."""
        if self._count is None:
            raise ConfigurationError("this binding sends only; its backlog cannot be counted from here")
        return await self._count()


class Env:
    """Bindings by name, as attributes; `otherwise` may make one that is missing, once."""

    def __init__(self, bindings: Mapping[str, object], otherwise: Callable[[str], object | None] | None = None) -> None:
        self.__dict__.update(bindings)
        if otherwise is not None:
            self.__dict__["_otherwise"] = otherwise

    def __getattr__(self, name: str) -> Any:
        otherwise = self.__dict__.get("_otherwise")
        made = None if otherwise is None or name.startswith("_") else otherwise(name)
        if made is None:
            known = ", ".join(sorted(word for word in self.__dict__ if not word.startswith("_")))
            raise AttributeError(f"no binding {name!r}; there are: {known or 'none'}")
        self.__dict__[name] = made
        return made

    def _with(self, change: Callable[[object], object]) -> "Env":
        """Give the same with other bindings in the place of these; `handlers` asks for it."""

        def changed(value: object | None) -> object | None:
            return change(value) if isinstance(value, Binding) else value

        otherwise = self.__dict__.get("_otherwise")
        named = {name: changed(value) for name, value in self.__dict__.items() if name != "_otherwise"}
        return Env(named, None if otherwise is None else lambda name: changed(otherwise(name)))


def make_outgoing(
    body: object,
    content_type: str = "json",
    delay_seconds: float | None = None,
    *,
    send_at: datetime | None = None,
    priority: str | None = None,
    ordering_key: str | None = None,
    dedupe_key: str | None = None,
    headers: dict[str, str] | None = None,
) -> Outgoing:
    """Make a message of a value.

    Raises:
        InvalidMessage: an unknown content type or priority, a body that does not go with its content type, or a time
            without a zone.
    """
    try:
        kind = ContentType(content_type.lower())
    except (ValueError, AttributeError):
        raise InvalidMessage(f"content_type is {content_type!r}; expected json, text, bytes or v8") from None
    return Outgoing(
        body=encode_body(body, kind),
        content_type=kind,
        delay_seconds=delay_seconds,
        headers=headers,
        send_at_ms=_at_ms(send_at),
        priority=priority_of(priority),
        ordering_key=ordering_key,
        dedupe_key=dedupe_key,
    )


def read_outgoing(message: Mapping[str, Any]) -> Outgoing:
    """Make a message of a mapping with `body` and perhaps what else `make_outgoing` takes.

    Raises:
        InvalidMessage: no body, another key, or what `make_outgoing` refuses.
    """
    if not isinstance(message, Mapping) or "body" not in message or not message.keys() <= set(KEYS):
        shown = sorted(map(str, message)) if isinstance(message, Mapping) else type(message).__name__
        raise InvalidMessage(
            f"a message of the batch is {shown}; expected a mapping with body, perhaps {', '.join(KEYS[1:])}"
        )
    return make_outgoing(**{**message, "content_type": message.get("content_type") or "json"})


def priority_of(word: str | None) -> int:
    """Give the level that a word stands for; none is a normal priority.

    Raises:
        InvalidMessage: another word.
    """
    level = NORMAL if word is None else PRIORITIES.get(word) if isinstance(word, str) else None
    if level is None:
        raise InvalidMessage(f"priority is {str(word)[:40]!r}; expected {' or '.join(map(repr, PRIORITIES))}")
    return level


def _at_ms(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidMessage(
            f"send_at is {str(moment)[:40]!r}; expected a datetime with a time zone, "
            "such as datetime.now(UTC) + timedelta(days=2)"
        )
    return epoch_ms(moment)
