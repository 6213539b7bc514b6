"""What goes to a push URL, and what its answer means for each message. No I/O.

The answer names outcomes in our form or in that of Cloudflare's dispatch (docs/howto/push.md). Whatever it does not
name is done; an answer that cannot be understood settles nothing.
"""

import base64
from collections.abc import Collection, Iterable
from typing import Any, Literal

import msgspec

from millrace.batch import BatchMessage, MessageBatch, check_delay_seconds, check_reason
from millrace.clock import iso_milliseconds
from millrace.errors import InvalidInput
from millrace.message import Backlog, ContentType
from millrace.resources.answer import Answer
from millrace.settlement import Ack, Outcome, Reject, Retry

RETRY_AFTER_STATUSES = (429, 503)
REJECTED = "rejected by the push URL"
WHAT_TO_DO = {
    "3": "a redirect is never followed, so set the URL it leads to",
    "4": "it refuses the request",
    "5": "it failed",
}


class PushFailed(Exception):
    """A push URL did not take a batch. `retry_after_seconds` is set where it asked to be left alone for so long."""

    def __init__(self, sentence: str, *, status: int | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.status, self.retry_after_seconds = status, retry_after_seconds


class Pushed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message as it is pushed. `body` is the JSON value, the text, or base64 (bytes, v8)."""

    id: str
    attempts: int
    timestamp: str
    timestamp_ms: int
    content_type: str
    body: Any
    headers: dict[str, str] | None = None
    priority: str = "normal"
    ordering_key: str | None = None


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a push."""

    queue: str
    batch_id: str
    messages: list[Pushed]
    backlog: Backlog | None


class Spoken(msgspec.Struct, frozen=True):
    """What our own form says about one message."""

    id: str
    outcome: Literal["ack", "retry", "reject"]
    delay_seconds: float | None = None
    reason: str | None = None


class RetriedMessage(msgspec.Struct, frozen=True, rename="camel"):
    """What Cloudflare's form says about one message to retry."""

    msg_id: str
    delay_seconds: float | None = None


class RetriedBatch(msgspec.Struct, frozen=True, rename="camel"):
    """What Cloudflare's form says about the batch."""

    retry: bool = False
    delay_seconds: float | None = None


class Said(msgspec.Struct, frozen=True, rename="camel"):
    """An answer in either form; None means that the key is not there."""

    outcomes: list[Spoken] | None = None
    outcome: str = "ok"
    ack_all: bool | None = None
    retry_batch: RetriedBatch | None = None
    explicit_acks: list[str] | None = None
    retry_messages: list[RetriedMessage] | None = None


def encode_push(batch: MessageBatch, batch_id: str) -> bytes:
    """Write the body of a push."""
    messages = [_pushed(message) for message in batch.messages]
    return msgspec.json.encode(Push(queue=batch.queue, batch_id=batch_id, messages=messages, backlog=batch.backlog))


def read_answer(answer: Answer, ids: Collection[str], now_ms: int) -> list[Outcome]:
    """Give the outcome of each message, in the order of `ids`.

    Raises:
        PushFailed: the status is not 2xx, or the answer cannot be understood; no outcome in it counts.
    """
    if not 200 <= answer.status < 300:
        seconds = answer.retry_after_seconds(now_ms) if answer.status in RETRY_AFTER_STATUSES else None
        what = WHAT_TO_DO.get(str(answer.status)[0], "expected 2xx")
        raise PushFailed(
            f"the push URL answered {answer.status}: {what}", status=answer.status, retry_after_seconds=seconds
        )
    try:
        named, rest = _read_body(answer.body)
        by_id = _by_id(named, ids)
    except (msgspec.DecodeError, InvalidInput, UnicodeDecodeError, RecursionError) as error:
        sentence = f"the push URL answered {answer.status}, but not in a form that is understood: {error}"
        raise PushFailed(check_reason(sentence), status=answer.status) from None
    return [by_id.get(message_id, rest) for message_id in ids]


def _pushed(message: BatchMessage) -> Pushed:
    timestamp_ms = round(message.timestamp.timestamp() * 1000)
    return Pushed(
        id=message.id,
        attempts=message.attempts,
        timestamp=iso_milliseconds(timestamp_ms),
        timestamp_ms=timestamp_ms,
        content_type=message.content_type,
        body=_body(message),
        headers=message.headers or None,
        priority=message.priority,
        ordering_key=message.ordering_key,
    )


def _body(message: BatchMessage) -> Any:
    match message.content_type:
        case ContentType.JSON:
            return msgspec.Raw(message.raw_body)
        case ContentType.TEXT:
            return message.raw_body.decode()
        case _:
            return base64.b64encode(message.raw_body).decode()


def _read_body(body: bytes) -> tuple[list[tuple[str, Outcome]], Outcome]:
    """Give the outcomes that are named, and the one of all other messages."""
    if not body.strip():
        return [], Ack()
    said = msgspec.json.decode(body, type=Said)
    if said.outcomes is not None:
        return [(spoken.id, _outcome(spoken)) for spoken in said.outcomes], Ack()
    acked: list[tuple[str, Outcome]] = [(acked_id, Ack()) for acked_id in said.explicit_acks or ()]
    retried = [(one.msg_id, Retry(check_delay_seconds(one.delay_seconds))) for one in said.retry_messages or ()]
    return acked + retried, _rest(said)


def _outcome(spoken: Spoken) -> Outcome:
    delay_seconds = check_delay_seconds(spoken.delay_seconds)
    match spoken.outcome:
        case "ack":
            return Ack()
        case "retry":
            return Retry(delay_seconds, check_reason(spoken.reason) if spoken.reason else None)
        case "reject":
            return Reject(check_reason(spoken.reason or REJECTED))


def _rest(said: Said) -> Outcome:
    """Say what becomes of messages that Cloudflare's form does not name; a retry is never lost to an ack."""
    if said.retry_batch is not None and said.retry_batch.retry:
        return Retry(check_delay_seconds(said.retry_batch.delay_seconds))
    if not said.ack_all and said.outcome != "ok":
        return Retry(reason=check_reason(said.outcome))
    return Ack()


def _by_id(named: Iterable[tuple[str, Outcome]], ids: Collection[str]) -> dict[str, Outcome]:
    by_id: dict[str, Outcome] = {}
    for message_id, outcome in named:
        if message_id in by_id or message_id not in ids:
            what = "named twice" if message_id in by_id else "not in this batch"
            raise InvalidInput(f"message {message_id[:40]!r} is {what}")
        by_id[message_id] = outcome
    return by_id
