"""An archive line by line: a message with its history, or an entry of the audit trail, as JSON."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from millrace.apps.messaging.rows import Change, Row
from millrace.audit import Entry, Noted

BYTES = ("body", "body_hash")


class Archived(NamedTuple):
    """A message that was archived; its body is sealed where it was sealed in the database."""

    row: Row
    history: list[Change]


def line_of_message(row: Row, history: Sequence[Change]) -> bytes:
    """Write a message with all that became of it."""
    message = {name: b64encode(value).decode() if name in BYTES else value for name, value in row._asdict().items()}
    return msgspec.json.encode({"message": message, "history": [change._asdict() for change in history]}) + b"\n"


def read_message(line: bytes) -> Archived:
    """Read what `line_of_message` has written.

    Raises:
        msgspec.DecodeError: it is no such line.
    """
    found = msgspec.json.decode(line, type=dict[str, Any])
    message: dict[str, Any] = {**found["message"], **{name: b64decode(found["message"][name]) for name in BYTES}}
    return Archived(Row(**message), [Change(**change) for change in found["history"]])


def line_of_entry(noted: Noted) -> bytes:
    """Write an entry of the audit trail with its place in the chain."""
    chained = None if noted.hash is None else noted.hash.hex()
    return msgspec.json.encode({"number": noted.number, "hash": chained, "entry": noted.entry}) + b"\n"


class _EntryLine(msgspec.Struct):
    number: int
    hash: str
    entry: Entry


def read_entry(line: bytes) -> Noted:
    """Read what `line_of_entry` has written.

    Raises:
        msgspec.DecodeError: it is no such line.
    """
    found = msgspec.json.decode(line, type=_EntryLine)
    return Noted(found.number, found.entry, bytes.fromhex(found.hash))
