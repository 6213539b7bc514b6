"""The floor of PostgreSQL: the same rows by plain inserts of 100, on one connection, with the server's own durability."""

import struct
from collections.abc import Sequence
from itertools import chain
from time import perf_counter
from typing import Any

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from bench.floor import BODY
from millrace.clock import wall_ms
from millrace.ids import new_id

ROWS, PER_STATEMENT = 60_000, 100
TABLE = """create table floor_rows (
    key bigint primary key, lane bigint not null, visible_at_ms bigint not null, receipt bigint,
    lease_ends_at_ms bigint, is_last boolean not null default false, attempts integer not null default 0,
    failures integer not null default 0, kept_since_ms bigint not null, sent_at_ms bigint not null,
    id text not null, content_type text not null, source text not null, headers text, origin_queue_id text,
    reason text, body bytea not null, priority smallint not null default 1, ordering_key text,
    due_at_ms bigint, redrives integer not null default 0
)"""
INDEX = "create index floor_rows_ready on floor_rows (lane, priority, visible_at_ms)"
INSERT = """insert into floor_rows (
    key, lane, visible_at_ms, kept_since_ms, sent_at_ms, id, content_type, source, headers, body
) select * from unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b)"""

INT8, TEXT, BYTEA = 20, 25, 17  # oids
NULL = (-1).to_bytes(4, "big", signed=True)


class Int8Array(bytes):
    """The wire form of a `bigint[]`."""


class TextArray(bytes):
    """The wire form of a `text[]`."""


class ByteaArray(bytes):
    """The wire form of a `bytea[]`."""


class _Packed(Dumper):
    """Sends what is packed already. psycopg takes lists too, but value by value: the floor would measure that."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


class _Int8Dumper(_Packed):
    oid = 1016


class _TextDumper(_Packed):
    oid = 1009


class _ByteaDumper(_Packed):
    oid = 1001


DUMPERS = {Int8Array: _Int8Dumper, TextArray: _TextDumper, ByteaArray: _ByteaDumper}


def floor_rows_per_second(url: str, rows: int = ROWS) -> float:
    """Insert rows of 200-byte bodies, 100 a statement and a commit each, and give rows a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        for packed, dumper in DUMPERS.items():
            connection.adapters.register_dumper(packed, dumper)
        connection.execute("drop table if exists floor_rows")
        connection.execute(TABLE)
        connection.execute(INDEX)
        began = perf_counter()
        for first in range(0, rows, PER_STATEMENT):
            connection.execute(INSERT, _columns(first), prepare=True)
        rate = rows / (perf_counter() - began)
        connection.execute("drop table floor_rows")
    return rate


def _columns(first: int) -> Sequence[Any]:
    now = int8s([wall_ms()] * PER_STATEMENT)
    return (
        int8s(range(first, first + PER_STATEMENT)),
        int8s([1] * PER_STATEMENT),
        *(now, now, now),
        texts([new_id() for _ in range(PER_STATEMENT)]),
        texts(["json"] * PER_STATEMENT),
        texts(["http"] * PER_STATEMENT),
        texts([None] * PER_STATEMENT),
        byteas([BODY] * PER_STATEMENT),
    )


def int8s(values: Sequence[int]) -> Int8Array:
    """Pack integers."""
    return Int8Array(
        _head(INT8, len(values)) + struct.pack("!" + "iq" * len(values), *chain.from_iterable((8, v) for v in values))
    )


def texts(values: Sequence[str | None]) -> TextArray:
    """Pack strings and nulls."""
    return TextArray(_head(TEXT, len(values)) + b"".join(_sized(None if v is None else v.encode()) for v in values))


def byteas(values: Sequence[bytes]) -> ByteaArray:
    """Pack bytes."""
    return ByteaArray(_head(BYTEA, len(values)) + b"".join(_sized(value) for value in values))


def _head(oid: int, length: int) -> bytes:
    """Head an array of one dimension from 1; it may hold nulls."""
    return struct.pack("!5i", 1, 1, oid, length, 1)


def _sized(value: bytes | None) -> bytes:
    return NULL if value is None else len(value).to_bytes(4, "big") + value
