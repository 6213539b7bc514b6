"""The connection to the server, as a process of handlers sees it."""

import asyncio
import itertools
import os
import select
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from millrace import errors
from millrace.batch import BatchMessage, MessageBatch
from millrace.bindings import Count, Send
from millrace.errors import BatchTooLarge, InvalidInput, InvalidMessage, TooLarge
from millrace.handlers.asking import Ask
from millrace.message import Backlog, Outgoing
from millrace.runtime import frames
from millrace.runtime.frames import FrameTooLarge, Spoken, pack, word_of

NOTICE_MS = 250  # what is noted is told so often: a process that dies, or holds the interpreter, cannot be asked
READ_BYTES = 256 * 1024


class Current(NamedTuple):
    """The batch under way; `messages` are all of it, whatever the handler is shown."""

    number: int
    batch: MessageBatch
    messages: list[BatchMessage]

    def spoken(self) -> Spoken:
        """Say what is noted by now."""
        return Spoken([word_of(message.outcome) for message in self.messages], word_of(self.batch.outcome))


class Link:
    """The connection to the server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._writing = threading.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[int, Future[Any]] = {}
        self._told: Spoken | None = None
        self.current: Current | None = None

    def write(self, frame: frames.Up) -> None:
        """Write a frame; from any thread."""
        self._write(pack(frame))

    def read(self, take: Callable[[Any], None]) -> None:
        """Read until the server is gone, which ends this process; what is not for the link itself goes to `take`."""
        with suppress(OSError):
            self._read_until_closed(take)
        os._exit(0)

    def sender(self, binding: str) -> Send:
        """Make the function by which a binding sends."""

        async def send(messages: list[Outgoing], delay_seconds: float | None) -> Backlog:
            number = next(self._numbers)
            backlog: Backlog = await self._answer_to(number, _packed(number, binding, messages, delay_seconds))
            return backlog

        return send

    def counter(self, binding: str) -> Count:
        """Make the function by which a binding counts its queue's backlog."""

        async def count() -> Backlog:
            number = next(self._numbers)
            backlog: Backlog = await self._answer_to(number, pack(frames.Count(number=number, binding=binding)))
            return backlog

        return count

    def asker(self, binding: str) -> Ask:
        """Make the function by which another binding, or a workflow's journal, asks."""

        async def ask(method: str, arguments: dict[str, Any]) -> Any:
            number = next(self._numbers)
            return await self._answer_to(number, _packed_call(number, binding, method, arguments))

        return ask

    async def _answer_to(self, number: int, content: bytes) -> Any:
        """Write a question and wait for the answer, in whatever loop this is called."""
        answer = self._answers[number] = Future[Any]()
        self._write(content)
        return await asyncio.wrap_future(answer)

    def _write(self, content: bytes) -> None:
        with self._writing:
            self._connection.sendall(content)

    def _read_until_closed(self, take: Callable[[Any], None]) -> None:
        arrivals, incoming = select.poll(), frames.Incoming(frames.Down)
        arrivals.register(self._connection, select.POLLIN)
        while True:
            if not arrivals.poll(NOTICE_MS if self.current else None):
                self._tell(asked=False)
                continue
            data = self._connection.recv(READ_BYTES)
            if not data:
                return
            for frame in incoming.feed(data):
                self._sort(frame, take)

    def _sort(self, frame: frames.Down, take: Callable[[Any], None]) -> None:
        match frame:
            case frames.Work():
                batch = MessageBatch(frame.queue, frame.messages, frame.backlog)
                self._told, self.current = None, Current(frame.number, batch, list(batch.messages))
                take(self.current)
            case frames.Sent() | frames.Told():
                _answer(self._answers.pop(frame.number), frame)
            case frames.Ask():
                self._tell(asked=True)
            case _:
                take(frame)

    def _tell(self, *, asked: bool) -> None:
        current = self.current
        if current is None:
            return
        spoken = current.spoken()
        if asked or spoken != self._told:
            self._told = spoken
            self.write(frames.Noted(number=current.number, spoken=spoken, asked=asked))


def _packed(number: int, binding: str, messages: list[Outgoing], delay_seconds: object) -> bytes:
    """Give the frame of a Send; what is wrong with its values is told to who sends."""
    try:
        content = msgspec.Raw(msgspec.msgpack.encode(messages))
        return pack(frames.Send(number=number, binding=binding, messages=content, delay_seconds=delay_seconds))
    except FrameTooLarge as error:
        raise BatchTooLarge(f"the messages are too large: {error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidMessage(f"the messages cannot be sent: {error}") from None


def _packed_call(number: int, binding: str, method: str, arguments: dict[str, Any]) -> bytes:
    """Give the frame of a Call; what is wrong with its values is told to who calls."""
    try:
        return pack(frames.Call(number=number, binding=binding, method=method, arguments=arguments))
    except FrameTooLarge as error:
        raise TooLarge(f"what {method} is given is too large: {error}") from None
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"what {method} is given cannot be sent: {error}") from None


def _answer(answer: Future[Any], given: frames.Sent | frames.Told) -> None:
    if not answer.set_running_or_notify_cancel():  # the handler waits for it no more
        return
    if given.error:
        answer.set_exception(_error(given.error, given.sentence))
    else:
        answer.set_result(given.backlog if isinstance(given, frames.Sent) else given.value)


def _error(name: str, sentence: str) -> Exception:
    """Give an error of the server as a caller in the server would have got it."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.MillraceError):
        return kind(sentence)
    return RuntimeError(f"the server could not do it: {name}: {sentence}")
