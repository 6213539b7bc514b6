"""Idempotency and deduplication keys: what makes a second send the repeat of a first one."""

import re
from collections.abc import Sequence
from hashlib import sha256

import msgspec

from millrace import limits
from millrace.errors import InvalidMessage
from millrace.message import NORMAL, Outgoing

KEY = re.compile(f"[ -~]{{1,{limits.IDEMPOTENCY_KEY_CHARACTERS}}}")


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """The idempotency key of a send, and what is sent with it, as SHA-256 of both."""

    key_hash: bytes
    content_hash: bytes


def make_once(key: str, messages: Sequence[Outgoing], delay_seconds: float | None) -> Once:
    """Sum up a send: bodies, content types and delays as given, whatever the queue's own delay is by now.

    Raises:
        InvalidMessage: the key is not 1 to 255 printable ASCII characters.
    """
    if KEY.fullmatch(key) is None:
        raise InvalidMessage(
            f"the idempotency key is {key[:40]!r}, {len(key)} characters; "
            f"expected 1 to {limits.IDEMPOTENCY_KEY_CHARACTERS} printable ASCII characters"
        )
    content = sha256(_delay_text(delay_seconds))
    for message in messages:
        content_type, delay = message.content_type.encode(), _delay_text(message.delay_seconds)
        content.update(b"\n%b %b %d\n" % (content_type, delay, len(message.body)))
        content.update(message.body)
        if message.send_at_ms is not None:
            content.update(b"\n@%d" % message.send_at_ms)
        if message.priority != NORMAL or message.ordering_key is not None or message.dedupe_key is not None:
            content.update(repr((message.priority, message.ordering_key, message.dedupe_key)).encode())
    return Once(key_hash=sha256(key.encode()).digest(), content_hash=content.digest())


def dedupe_hash(key: str) -> bytes:
    """Sum up a deduplication key; the line break, which no idempotency key has, keeps the two apart."""
    return sha256(b"\n" + key.encode()).digest()


def content_key(message: Outgoing) -> str:
    """Make a deduplication key of content type and body, one that no sender can give."""
    content = sha256(b"%b\n" % message.content_type.encode())
    content.update(message.body)
    return "\n" + content.hexdigest()


def _delay_text(delay_seconds: float | None) -> bytes:
    return b"-" if delay_seconds is None else repr(float(delay_seconds)).encode()
