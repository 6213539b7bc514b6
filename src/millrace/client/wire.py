"""What goes to a server: paths, bodies, and messages in parts that one request can carry."""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from math import isfinite
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from millrace import limits
from millrace.batch import PRIORITY_WORDS
from millrace.client.deliveries import Delivery, Leased, Peeked
from millrace.clock import epoch_ms
from millrace.errors import InvalidInput, InvalidMessage
from millrace.ids import new_id
from millrace.message import NORMAL, ContentType, Outgoing

T = TypeVar("T")


class HasBody(Protocol):
    """What is sent for the sake of its body."""

    @property
    def body(self) -> bytes:
        """The bytes that are stored."""


Sized = TypeVar("Sized", bound=HasBody)

ID_CHARACTERS = 32
KEY = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
HEX = frozenset("0123456789abcdef")


def quoted(word: str) -> str:
    """Write an id or a name as one segment of a path.

    Raises:
        InvalidInput: it has a lone surrogate.
    """
    try:
        return quote(word, safe="")
    except UnicodeEncodeError:
        raise InvalidInput(f"{word!r} has characters in it that are no UTF-8") from None


def content_of(body: object) -> bytes | None:
    """Write a request's body: bytes as they are, anything else as JSON, None as nothing.

    Raises:
        InvalidInput: a value that JSON has not.
    """
    if body is None or isinstance(body, bytes):
        return body
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError) as error:  # a lone surrogate is a ValueError, too
        raise InvalidInput(f"a value cannot be written as JSON: {error}") from None


def is_id(text: str) -> bool:
    """Whether this could be a queue's id."""
    return len(text) == ID_CHARACTERS and HEX.issuperset(text)


def given(**values: object) -> dict[str, Any]:
    """Leave out what is None.

    Raises:
        InvalidInput: nan or infinity, of which JSON would make none at all.
    """
    for name, value in values.items():
        if isinstance(value, float) and not isfinite(value):
            raise InvalidInput(f"{name} is {value}; expected a finite number")
    return {name: value for name, value in values.items() if value is not None}


def message_object(message: Outgoing) -> dict[str, Any]:
    """Write a message as the push routes take it; what is ours, only where it is asked for."""
    return {
        "body": _body(message),
        "content_type": message.content_type,
        **delay(message.delay_seconds),
        **given(
            send_at=message.send_at_ms,
            priority=None if message.priority == NORMAL else PRIORITY_WORDS[message.priority],
            ordering_key=message.ordering_key,
            dedupe_key=message.dedupe_key,
            headers=message.headers or None,
        ),
    }


def delay(seconds: float | None) -> dict[str, float]:
    """Write a delay, if there is one.

    Raises:
        InvalidMessage: nan or infinity, of which JSON would make none at all.
    """
    if isinstance(seconds, float) and not isfinite(seconds):
        raise InvalidMessage(f"delay_seconds is {seconds}; expected 0 to {limits.DELAY_SECONDS}")
    return {} if seconds is None else {"delay_seconds": seconds}


def at_ms(name: str, moment: datetime) -> int:
    """Write a time.

    Raises:
        InvalidInput: it has no time zone.
    """
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidInput(f"{name} is {str(moment)[:40]!r}; expected a datetime with a time zone")
    return epoch_ms(moment)


def parts_of(messages: Sequence[Sized]) -> Iterator[Sequence[Sized]]:
    """Split messages, in their order, into parts of at most 100 messages and 256,000 bytes of stored bodies.

    A message that is larger than that goes alone, for the server to refuse.
    """
    first = size = 0
    for index, message in enumerate(messages):
        size += len(message.body)
        if index > first and (size > limits.BATCH_BYTES or index - first == limits.BATCH_MESSAGES):
            yield messages[first:index]
            first, size = index, len(message.body)
    if first < len(messages):
        yield messages[first:]


def new_key(given: str | None) -> str:
    """Give the idempotency key of a send: the caller's own, or a new one.

    Raises:
        InvalidMessage: no header can carry it.
    """
    if given is not None and not KEY.fullmatch(given):
        raise InvalidMessage(f"idempotency_key is {given[:40]!r}; expected 1 to 255 printable ASCII characters")
    return new_id() if given is None else given


def part_key(key: str, part: int) -> str:
    """Give the idempotency key of a part, counted from 1: no longer than may be, and nobody else's."""
    return key if part == 1 else sha256(f"{part}:{key}".encode()).hexdigest()


def leases_object(
    acks: Iterable[Leased],
    retries: Iterable[Leased | tuple[Leased, float | None]],
    rejects: Iterable[tuple[Leased, str]],
    delay_seconds: float | None,
) -> dict[str, Any]:
    """Write what is to become of leases; `delay_seconds` is for those that come without one.

    Raises:
        InvalidInput: a single lease in place of several.
        InvalidMessage: a delay that is no number of seconds.
    """
    pairs = (entry if isinstance(entry, tuple) else (entry, delay_seconds) for entry in several("retries", retries))
    rejected = [{"lease_id": lease_id(lease), "reason": reason} for lease, reason in rejects]
    return {
        "acks": [{"lease_id": lease_id(lease)} for lease in several("acks", acks)],
        "retries": [{"lease_id": lease_id(lease), **delay(seconds)} for lease, seconds in pairs],
        **given(rejects=rejected or None),  # ours, so only when there are some
    }


def several(name: str, values: Iterable[T]) -> Iterable[T]:
    """Give the values as they are, unless they are one: a string would be taken for its letters.

    Raises:
        InvalidInput: a string, a delivery or a peeked message.
    """
    if isinstance(values, str | Delivery | Peeked):
        raise InvalidInput(f"{name} is a single {type(values).__name__}; expected a list of them")
    return values


def lease_id(lease: Leased) -> str:
    """Give the id of a lease, or that of a delivery's."""
    return lease if isinstance(lease, str) else lease.lease_id


def _body(message: Outgoing) -> object:
    match message.content_type:
        case ContentType.JSON:
            return msgspec.Raw(message.body)
        case ContentType.TEXT:
            return message.body.decode()
        case _:
            return base64.b64encode(message.body).decode()
