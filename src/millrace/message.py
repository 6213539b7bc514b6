"""What is sent and what is delivered: values without behaviour, and bodies to bytes and back."""

import base64
import binascii
import re
from enum import StrEnum

import msgspec

from millrace import limits
from millrace.errors import InvalidMessage
from millrace.ranges import shown

STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]')
HEADER_NAME = re.compile("[A-Za-z0-9-]{1,64}")
HEX = 16
LEASE_CHARACTERS = 32


class ContentType(StrEnum):
    """How a body is to be read; `v8` bytes are carried and never interpreted."""

    JSON = "json"
    TEXT = "text"
    BYTES = "bytes"
    V8 = "v8"


LOW, NORMAL, HIGH = 0, 1, 2
PRIORITIES = {"low": LOW, "normal": NORMAL, "medium": NORMAL, "high": HIGH}


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way in. `delay_seconds` None means the queue's own delay.

    `send_at_ms` is the time of its delivery, however far away, in place of a delay. Messages with the same
    `ordering_key` are delivered one after the other. A `dedupe_key` that the queue has seen within its window keeps
    the message from being stored.
    """

    body: bytes
    content_type: ContentType = ContentType.JSON
    delay_seconds: float | None = None
    source: str = "worker"
    headers: dict[str, str] | None = None
    send_at_ms: int | None = None
    priority: int = NORMAL
    ordering_key: str | None = None
    dedupe_key: str | None = None


class Features(msgspec.Struct, frozen=True, gc=False):  # it holds no containers; so the collector skips Stamped, too
    """What a message has beyond its body and its times. Retention counts from `kept_since_ms`, None from its sending."""

    kept_since_ms: int | None = None
    priority: int = NORMAL
    ordering_key: str | None = None
    dedupe_key: str | None = None


PLAIN = Features()


class Stamped(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted message: it has its id and its times.

    `is_timed` where its sender has said when, and not the queue's own delay. Most have no more `features` than PLAIN:
    the store asks whether they are that very value, and is quicker with them.
    """

    id: str
    body: bytes
    content_type: str
    sent_at_ms: int
    visible_at_ms: int
    source: str
    headers: dict[str, str] | None = None
    is_timed: bool = False
    features: Features = PLAIN


class Lease(msgspec.Struct, frozen=True):
    """Proof of one delivery: the row's key finds it, the receipt proves it."""

    key: int
    receipt: int

    def __str__(self) -> str:
        return f"{self.key:016x}{self.receipt:016x}"

    @classmethod
    def parse(cls, text: str) -> "Lease | None":
        """Read a lease id of the wire, or None when the text is none."""
        if len(text) != LEASE_CHARACTERS or not text.isascii() or not text.isalnum():
            return None
        try:
            lease = cls(int(text[:HEX], 16), int(text[HEX:], 16))
        except ValueError:
            return None
        return lease if str(lease) == text and max(lease.key, lease.receipt) < 1 << 63 else None


class Message(msgspec.Struct, kw_only=True):
    """A stored message as one delivery sees it. `attempts` counts deliveries, this one included."""

    id: str
    lease: Lease
    attempts: int
    failures: int
    sent_at_ms: int
    content_type: str
    body: bytes
    source: str
    headers: dict[str, str] | None = None
    priority: int = NORMAL
    ordering_key: str | None = None
    origin_queue_id: str | None = None
    reason: str | None = None

    @property
    def ref(self) -> str:
        """Name this message for a purge by reference, whatever delivery it is in."""
        return f"{self.lease.key:016x}{self.id}"


class Backlog(msgspec.Struct, frozen=True):
    """Everything in a queue that is not yet settled; oldest is 0 when there is nothing."""

    count: int
    bytes: int
    oldest_sent_at_ms: int


def is_plain(message: Outgoing) -> bool:
    """Say whether a message asks for nothing beyond its body and a delay."""
    return (
        message.priority == NORMAL
        and message.headers is None
        and message.send_at_ms is None
        and message.ordering_key is None
        and message.dedupe_key is None
    )


def check_features(message: Outgoing) -> None:
    """Let what a message asks for beyond its body pass.

    Raises:
        InvalidMessage: a time, priority, key or header that is none.
    """
    if message.headers:
        check_headers(message.headers)
    if message.send_at_ms is not None:
        check_time("send_at_ms", message.send_at_ms)
        if message.delay_seconds is not None:
            raise InvalidMessage("send_at and delay_seconds are both given; expected one of them")
    if message.priority != NORMAL and message.priority not in (LOW, HIGH):
        raise InvalidMessage(f"priority is {shown(message.priority)}; expected {LOW}, {NORMAL} or {HIGH}")
    if message.ordering_key is not None:
        _check_key("ordering_key", message.ordering_key, limits.ORDERING_KEY_CHARACTERS)
    if message.dedupe_key is not None:
        _check_key("dedupe_key", message.dedupe_key, limits.DEDUPE_KEY_CHARACTERS)


def check_time(name: str, at_ms: object) -> None:
    """Let a time in epoch milliseconds pass, however far away.

    Raises:
        InvalidMessage: not a whole number from 0 to 2**53 - 1.
    """
    if not isinstance(at_ms, int) or isinstance(at_ms, bool) or not 0 <= at_ms <= limits.TIME_MS_MAX:
        raise InvalidMessage(f"{name} is {shown(at_ms)}; expected epoch milliseconds, 0 to {limits.TIME_MS_MAX}")


def check_headers(headers: dict[str, str]) -> None:
    """Let headers pass: names of 1 to 64 letters, digits and '-', each once in upper or lower case; printable values.

    Raises:
        InvalidMessage: one is not like that, or they are more than 32 or 8,192 bytes. Values are not shown.
    """
    if not isinstance(headers, dict):
        raise InvalidMessage(f"headers are {shown(headers)}; expected a dict of names and values")
    for name, value in headers.items():
        if not isinstance(name, str) or HEADER_NAME.fullmatch(name) is None:
            raise InvalidMessage(f"header name {shown(name)} is not valid; expected 1 to 64 letters, digits or '-'")
        if not isinstance(value, str) or not value.isprintable():
            raise InvalidMessage(f"the value of header {name} is not a string of printable characters in one line")
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidMessage("a header is there twice, in upper and lower case; expected each once")
    size = sum(len(name) + len(value.encode()) for name, value in headers.items())
    if len(headers) > limits.HEADERS or size > limits.HEADER_BYTES:
        raise InvalidMessage(
            f"there are {len(headers)} headers of {size} bytes; "
            f"expected at most {limits.HEADERS}, and {limits.HEADER_BYTES} bytes of names and values"
        )


def _check_key(name: str, key: object, characters: int) -> None:
    if not isinstance(key, str) or not key.isascii() or not key.isprintable() or not 1 <= len(key) <= characters:
        raise InvalidMessage(f"{name} is {shown(key)}; expected 1 to {characters} printable ASCII characters")


def check_json(raw: bytes) -> bytes:
    """Return the JSON text without outer white space.

    Raises:
        InvalidMessage: not UTF-8, not JSON, nested too deep, a number no reader can hold, or a lone surrogate.
    """
    if _depth(raw) > limits.JSON_DEPTH:
        raise InvalidMessage(f"body is nested deeper than {limits.JSON_DEPTH} levels")
    try:
        raw.decode()
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage(f"body is not JSON that every reader can hold: {error}") from None
    return raw.strip(b" \t\r\n")


def _depth(raw: bytes) -> int:
    """Give how deep JSON is nested, or a number below the limit when it cannot be deep."""
    if raw.count(b"[") + raw.count(b"{") <= limits.JSON_DEPTH:
        return 0
    depth = deepest = 0
    for found in STRINGS_AND_BRACKETS.finditer(raw):
        first = raw[found.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def decode_base64(text: str) -> bytes:
    """Decode standard, padded base64.

    Raises:
        InvalidMessage: other characters or wrong padding.
    """
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidMessage("body is not base64; expected the standard alphabet with padding") from None


def encode_body(value: object, content_type: ContentType) -> bytes:
    """Turn a Python value into the bytes that are stored.

    Raises:
        InvalidMessage: the value does not go with the content type.
    """
    if content_type is ContentType.JSON:
        try:
            return msgspec.json.encode(value)
        except (TypeError, ValueError, UnicodeEncodeError, RecursionError) as error:
            raise InvalidMessage(f"body cannot be written as JSON: {error}") from None
    if content_type is ContentType.TEXT:
        if not isinstance(value, str):
            raise InvalidMessage(f"body of content type text is {type(value).__name__}; expected str")
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidMessage("body of content type text has a lone surrogate") from None
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InvalidMessage(f"body of content type {content_type} is {type(value).__name__}; expected bytes")
    return bytes(value)


def decode_body(body: bytes, content_type: str) -> object:
    """Turn stored bytes into the value a handler sees: JSON value, str, or bytes (bytes, v8)."""
    if content_type == ContentType.JSON:
        return msgspec.json.decode(body)
    if content_type == ContentType.TEXT:
        return body.decode()
    return body
