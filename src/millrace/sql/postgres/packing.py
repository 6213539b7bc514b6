"""Values on their way to PostgreSQL, in its binary form.

The driver writes an array element by element, each through a Python call; packed here, a hundred rows take a fifth of
that. The format is that of `array_send`: dimensions, flags, the element's type, length, lower bound; then each element
as its length and its bytes, with length -1 for null.
"""

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from psycopg import Connection
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

INT8, TEXT, BYTEA, FLOAT8 = 20, 25, 17, 701
ARRAY_OIDS = {INT8: 1016, TEXT: 1009, BYTEA: 1001, FLOAT8: 1022}
ELEMENTS = {"bigint": INT8, "text": TEXT, "bytea": BYTEA, "double precision": FLOAT8}

HEADER = struct.Struct("!iiiii")
LENGTH = struct.Struct("!i").pack
NULL = LENGTH(-1)


class Packed:
    """An array that is packed already; its class tells the driver its type."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Numbers(Packed):
    """A bigint[]."""


class Texts(Packed):
    """A text[]."""


class Blobs(Packed):
    """A bytea[]."""


class Floats(Packed):
    """A double precision[]."""


CLASSES: dict[int, type[Packed]] = {INT8: Numbers, TEXT: Texts, BYTEA: Blobs, FLOAT8: Floats}


def pack(values: Sequence[Any], element: int) -> Packed:
    """Pack values (None is null) into an array of that element type."""
    if element == INT8 and None not in values:
        return Numbers(_header(element, len(values)) + _pack_numbers(values))
    return CLASSES[element](_header(element, len(values)) + _pack_sized(values, ENCODERS[element]))


def teach(connection: Connection[Any]) -> None:
    """Let a connection send packed arrays, whole numbers always as bigint, and texts without the byte 0.

    A statement is planned once for the types of its values, which the driver else chooses by the size of a number.
    """
    for element, kind in CLASSES.items():
        connection.adapters.register_dumper(kind, _dumper(element))
    connection.adapters.register_dumper(int, _NumberDumper)
    connection.adapters.register_dumper(str, _TextDumper)


def _header(element: int, length: int) -> bytes:
    return HEADER.pack(1, 1, element, length, 1) if length else struct.pack("!iii", 0, 0, element)


@cache
def _numbers(count: int) -> struct.Struct:
    return struct.Struct("!" + "iq" * count)


def _pack_numbers(values: Sequence[int]) -> bytes:
    flat = [8] * (2 * len(values))
    flat[1::2] = values
    return _numbers(len(values)).pack(*flat)


def _pack_sized(values: Sequence[Any], encode: Callable[[Any], bytes]) -> bytes:
    """Pack each value behind its length; what all rows have in common is packed once."""
    if len(values) > 1 and values.count(values[0]) == len(values):
        return _pack_sized(values[:1], encode) * len(values)
    return b"".join([NULL if value is None else LENGTH(len(data := encode(value))) + data for value in values])


def _number(value: int) -> bytes:
    return struct.pack("!q", value)


def _float(value: float) -> bytes:
    return struct.pack("!d", value)


def _text(value: str) -> bytes:
    """Encode a text; the character 0, which no text of PostgreSQL can hold, becomes U+FFFD, in look-ups likewise."""
    return value.encode() if "\0" not in value else value.replace("\0", "\ufffd").encode()


ENCODERS: dict[int, Callable[[Any], bytes]] = {INT8: _number, TEXT: _text, BYTEA: bytes, FLOAT8: _float}


class _NumberDumper(Dumper):
    format = Format.BINARY
    oid = INT8

    def dump(self, obj: int) -> Buffer:
        return struct.pack("!q", obj)


class _TextDumper(Dumper):
    def dump(self, obj: str) -> Buffer:
        return _text(obj)


@cache
def _dumper(element: int) -> type[Dumper]:
    class PackedDumper(Dumper):
        format = Format.BINARY
        oid = ARRAY_OIDS[element]

        def dump(self, obj: Packed) -> Buffer:
            return obj.data

    return PackedDumper
