"""What was sent since the start, and the assertions about it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from millrace.batch import PRIORITY_WORDS
from millrace.message import Stamped, decode_body

SENT_SHOWN = 20
BODY_CHARACTERS = 200
ANY = object()


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it was sent; `delay_seconds` counts the queue's own delay, too."""

    queue: str
    id: str
    body: Any
    content_type: str
    delay_seconds: float
    headers: dict[str, str]
    priority: str
    ordering_key: str | None


class SentRecord:
    """All messages that anybody has sent, in their order."""

    def __init__(self) -> None:
        self._sent: list[Sent] = []

    def note(self, queue: str, messages: Sequence[Stamped]) -> None:
        """Note what was stored."""
        self._sent += [_sent(queue, message) for message in messages]

    def clear(self) -> None:
        """Forget all."""
        self._sent.clear()

    def sent(self, queue: str | None = None) -> list[Sent]:
        """Give what was sent to a queue, or to all."""
        return [message for message in self._sent if queue in (None, message.queue)]

    def assert_sent(
        self, queue: str, *, body: Any = ANY, count: int | None = None, delay_seconds: float | None = None
    ) -> list[Sent]:
        """Give the messages that were sent to the queue with such a body and delay.

        `body` is a value, a dict with those of the fields that matter, or a function that says whether a body is
        meant; such functions may stand inside of dicts and lists, too.

        Raises:
            AssertionError: there is none, or there are not exactly `count`.
        """
        __tracebackhide__ = True
        found = [
            message
            for message in self.sent(queue)
            if matches(body, message.body) and delay_seconds in (None, message.delay_seconds)
        ]
        if len(found) != count if count is not None else not found:
            wanted = _wanted(queue, body, delay_seconds)
            expected = "at least 1" if count is None else count
            raise AssertionError(f"{len(found)} messages {wanted}; expected {expected}. {self._shown()}")
        return found

    def assert_nothing_sent(self, queue: str | None = None) -> None:
        """Let it pass that nothing was sent to a queue, or to any.

        Raises:
            AssertionError: something was.
        """
        __tracebackhide__ = True
        if found := self.sent(queue):
            where = "" if queue is None else f" to {queue!r}"
            raise AssertionError(f"{len(found)} messages were sent{where}; expected none. {self._shown()}")

    def _shown(self) -> str:
        if not self._sent:
            return "Nothing was sent to any queue."
        lines = [f"  {sent.queue}: {_cut(sent.body)}{_delay(sent.delay_seconds)}" for sent in self._sent[-SENT_SHOWN:]]
        left_out = len(self._sent) - len(lines)
        return "\n".join([f"Sent were{f', after {left_out} others' if left_out else ''}:", *lines])


def matches(wanted: Any, body: Any) -> bool:
    """Say whether a body is as wanted: by a function, in the fields that a dict names, or as a whole."""
    if wanted is ANY:
        return True
    if callable(wanted):
        return bool(wanted(body))
    if isinstance(wanted, Mapping) and isinstance(body, Mapping):
        return all(key in body and matches(value, body[key]) for key, value in wanted.items())
    if isinstance(wanted, list | tuple) and isinstance(body, list):
        return len(wanted) == len(body) and all(map(matches, wanted, body))
    return bool(wanted == body) or _is_written_as(wanted, body)


def _is_written_as(wanted: Any, body: Any) -> bool:
    """Say whether a body is what JSON makes of a value: of a struct, a dataclass or a time, say."""
    try:
        return bool(msgspec.to_builtins(wanted, str_keys=True) == body)
    except (TypeError, ValueError):
        return False


def _sent(queue: str, message: Stamped) -> Sent:
    return Sent(
        queue=queue,
        id=message.id,
        body=decode_body(message.body, message.content_type),
        content_type=str(message.content_type),
        delay_seconds=(message.visible_at_ms - message.sent_at_ms) / 1000,
        headers=message.headers or {},
        priority=PRIORITY_WORDS[message.features.priority],
        ordering_key=message.features.ordering_key,
    )


def _wanted(queue: str, body: Any, delay_seconds: float | None) -> str:
    such = "" if body is ANY else f" with body {_cut(body)}"
    return f"were sent to {queue!r}{such}{'' if delay_seconds is None else f' and a delay of {delay_seconds:g} s'}"


def _cut(value: Any) -> str:
    text = getattr(value, "__qualname__", None) or repr(value)
    return text if len(text) <= BODY_CHARACTERS else f"{text[:BODY_CHARACTERS]}…"


def _delay(seconds: float) -> str:
    return f", delayed by {seconds:g} s" if seconds else ""
