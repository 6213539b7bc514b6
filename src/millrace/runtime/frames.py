"""What the server and a process of handlers say to each other: four bytes of length, then MessagePack.

server → process    Program · then a Work for each batch · Sent answers a Send or Count · Told answers a Call · Ask · Leave
process → server    Loading for each handler · Loaded or Failed · then a Done for each Work · Send · Count · Call ·
                    Noted answers an Ask, and comes unasked while a batch takes its time
"""

from typing import Any, Literal

import msgspec

from millrace.batch import MessageBatch
from millrace.message import Backlog, Message
from millrace.settlement import Ack, Outcome, Postpone, Reject, Retry

FRAME_BYTES = 32 * 1024 * 1024  # 100 of the largest messages are 13 MB
HEAD_BYTES = 4


class Word(msgspec.Struct, frozen=True, array_like=True):
    """An outcome on its way."""

    kind: Literal["ack", "retry", "reject", "postpone"]
    delay_seconds: float | None = None
    reason: str | None = None


class Spoken(msgspec.Struct, frozen=True, array_like=True):
    """What was said about each message, in order, and about the batch."""

    messages: list[Word | None]
    batch: Word | None = None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An error on its way. `delay_seconds` is that of a RetryLater; None leaves it to the consumer."""

    kind: Literal["permanent", "later", "other"]
    name: str
    sentence: str
    traceback: str
    delay_seconds: float | None = None


class Program(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The handlers of a file: what to import, and what their `env` holds.

    `folder` comes first on the module path. `handlers` are "module:function" by queue name. `main` is the file of a
    Python Worker, which is given the batches of `main_queues`. The runs of crons come by `crons_queue`; they are for
    the function `scheduled`, or without one for the Worker. `workflows` are classes of the Worker by the queue of
    their instances; `others` are bindings beside those of queues, with their kinds.
    """

    folder: str
    handlers: dict[str, str] = {}
    main: str | None = None
    main_queues: tuple[str, ...] = ()
    crons_queue: str | None = None
    scheduled: str | None = None
    bindings: tuple[str, ...] = ()
    workflows: dict[str, str] = {}
    others: dict[str, str] = {}
    variables: dict[str, Any] = {}


class Work(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A batch to handle. `number` tells it from the one before."""

    number: int
    queue: str
    messages: list[Message]
    backlog: Backlog | None = None


class Sent(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The end of a Send or Count: the backlog, or the class of the error and its sentence."""

    number: int
    backlog: Backlog | None = None
    error: str = ""
    sentence: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The end of a Call: what it gave, or the class of the error and its sentence."""

    number: int
    value: Any = None
    error: str = ""
    sentence: str = ""


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tell at once what is noted."""

    number: int


class Leave(msgspec.Struct, frozen=True, tag=True):
    """End; there are no more batches."""


class Loading(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A handler is about to be imported: it may end the process. `key` as in Failed."""

    key: str | None


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The program is imported."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It is not. `key` is the queue whose handler it was, None for `main`."""

    key: str | None
    sentence: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The end of a batch. `failures` are errors of single messages, by their place; `memory_bytes` is what is held."""

    number: int
    spoken: Spoken
    fault: Fault | None = None
    failures: list[tuple[int, Fault]] = []
    ignored: list[str] = []
    memory_bytes: int = 0


class Noted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What is noted so far."""

    number: int
    spoken: Spoken
    asked: bool


class Send(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Messages for a binding; they are a program's own, so they are read where a mistake can be answered."""

    number: int
    binding: str
    messages: msgspec.Raw
    delay_seconds: Any = None


class Count(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A question for the backlog of a binding's queue; a Sent answers it, too."""

    number: int
    binding: str


class Call(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A call of a method of another binding, or of a workflow's journal."""

    number: int
    binding: str
    method: str
    arguments: dict[str, Any]


Down = Program | Work | Sent | Told | Ask | Leave
Up = Loading | Loaded | Failed | Done | Noted | Send | Count | Call

_encoder = msgspec.msgpack.Encoder()


class FrameTooLarge(ValueError):
    """A frame would be, or says that it is, larger than 32 MiB."""


def pack(frame: Down | Up) -> bytes:
    """Give the bytes of a frame.

    Raises:
        FrameTooLarge: more than 32 MiB.
    """
    content = _encoder.encode(frame)
    return _checked(len(content)).to_bytes(HEAD_BYTES, "big") + content


class Incoming:
    """Cuts what arrives into frames of a kind."""

    def __init__(self, kind: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """Give the frames that are complete with this.

        Raises:
            FrameTooLarge, msgspec.DecodeError: these are no frames of ours.
        """
        self._bytes += data
        frames = []
        while len(self._bytes) >= HEAD_BYTES:
            end = HEAD_BYTES + _checked(int.from_bytes(self._bytes[:HEAD_BYTES], "big"))
            if len(self._bytes) < end:
                break
            frames.append(self._decode(bytes(self._bytes[HEAD_BYTES:end])))
            del self._bytes[:end]
        return frames


def _checked(length: int) -> int:
    if length > FRAME_BYTES:
        raise FrameTooLarge(f"a frame of {length} bytes; at most {FRAME_BYTES} are allowed")
    return length


def word_of(outcome: Outcome | None) -> Word | None:
    """Make an outcome ready to travel."""
    match outcome:
        case Ack():
            return Word("ack")
        case Retry(delay_seconds=delay_seconds, reason=reason):
            return Word("retry", None if delay_seconds is None else float(delay_seconds), reason)
        case Reject(reason=reason):
            return Word("reject", None, reason)
        case Postpone(delay_seconds=delay_seconds):
            return Word("postpone", float(delay_seconds))
        case _:
            return None


def outcome_of_word(word: Word | None) -> Any:
    """Give the outcome that travelled, or None."""
    match word:
        case Word("ack"):
            return Ack()
        case Word("retry", delay_seconds, reason):
            return Retry(delay_seconds, reason)
        case Word("reject", _, reason):
            return Reject(reason or "")
        case Word("postpone", delay_seconds):
            return Postpone(delay_seconds or 0)
        case _:
            return None


def apply_spoken(spoken: Spoken, batch: MessageBatch) -> None:
    """Note on a batch what was said about its messages in another process."""
    for message, word in zip(batch.messages, spoken.messages, strict=True):
        message.outcome = outcome_of_word(word)
    batch.outcome = outcome_of_word(spoken.batch)
