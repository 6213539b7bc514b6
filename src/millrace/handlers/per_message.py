"""Handlers of one message: a batch is handed over message by message, each with an end of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from millrace.batch import BatchMessage, MessageBatch
from millrace.errors import ConfigurationError
from millrace.handlers.bodies import fits, message_reader, note_failure
from millrace.handlers.calls import Handler, runner
from millrace.settlement import Ack

Deliver = Callable[[BatchMessage[Any], MessageBatch[Any], Any], Awaitable[None]]

MISSING = object()
VALUE_CHARACTERS = 100


class EachMessage:
    """A batch handler that hands its messages over side by side."""

    def __init__(self, deliver: Deliver, at_once: int | None) -> None:
        if at_once is not None and (isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1):
            raise ConfigurationError(f"at_once is {at_once!r}; expected 1 or more, or None for all of a batch")
        self.deliver, self._at_once = deliver, at_once

    async def __call__(self, batch: MessageBatch, env: Any) -> None:
        """Hand over all messages of a batch and note what came of each."""
        room = asyncio.Semaphore(self._at_once) if self._at_once else nullcontext()
        await asyncio.gather(*(self._hand_over(message, batch, env, room) for message in batch.messages))

    async def _hand_over(
        self, message: BatchMessage, batch: MessageBatch, env: Any, room: AbstractAsyncContextManager[Any]
    ) -> None:
        async with room:
            try:
                await self.deliver(message, batch, env)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this message's alone
                note_failure(message, batch, error)
            else:
                message.note(Ack())


def each(handle: Handler, *, at_once: int | None = None) -> EachMessage:
    """Make a batch handler of a function of one message: (message), (message, env) or (message, env, ctx).

    The messages of a batch run side by side, at most `at_once` of them. A message whose call returns is
    acked; one whose call raises has its own PermanentError, RetryLater or retry, and is in `batch.failures`.
    `(order: Order)` gets the body; `(message: BatchMessage[Order])` a message with such a body.

    Raises:
        ConfigurationError: the function cannot be called so, or `at_once` is below 1.
    """
    return EachMessage(_deliverer(handle), at_once)


def by_field(
    field: str,
    handlers: Mapping[Any, Handler],
    *,
    otherwise: Handler | None = None,
    at_once: int | None = None,
) -> EachMessage:
    """Make a batch handler that picks a function of one message, as for `each`, by a field of the body.

    `field` may be a path such as `event.type`. A message whose value nobody handles goes to `otherwise`;
    without one it is rejected.

    Raises:
        ConfigurationError: no field or handlers, a function that cannot be called so, or `at_once` below 1.
    """
    if not field or not handlers:
        raise ConfigurationError(f"by_field({field!r}, …) has no {'handlers' if field else 'field'}; expected both")
    delivers = {value: _deliverer(handle) for value, handle in handlers.items()}
    fallback = _deliverer(otherwise) if otherwise is not None else None

    async def deliver(message: BatchMessage[Any], batch: MessageBatch[Any], env: Any) -> None:
        value = _value_at(message.body, field)
        chosen = delivers.get(value, fallback) if isinstance(value, Hashable) else fallback
        if chosen is None:
            message.reject(_unknown(field, value, list(delivers)))
        else:
            await chosen(message, batch, env)

    return EachMessage(deliver, at_once)


def _deliverer(handle: Handler) -> Deliver:
    if isinstance(handle, EachMessage):
        return handle.deliver
    run = runner(handle, "message")
    read, takes_body = message_reader(handle)

    async def deliver(message: BatchMessage[Any], batch: MessageBatch[Any], env: Any) -> None:
        if read is None or fits(message, batch, read):
            await run(message.body if takes_body else message, env)

    return deliver


def _value_at(body: Any, field: str) -> Any:
    for name in field.split("."):
        body = body.get(name, MISSING) if isinstance(body, dict) else MISSING
    return body


def _unknown(field: str, value: object, known: list[Any]) -> str:
    expected = f"expected {', '.join(map(str, known))}"
    if value is MISSING:
        return f"body has no {field}; {expected}"
    return f"{field} is {repr(value)[:VALUE_CHARACTERS]}; {expected}"
