"""Rows in portions that fit into memory and into one transaction, and a hash over all of them."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from millrace.sql.transaction import Row

CHUNK_ROWS = 1_000
CHUNK_BYTES = 8 * 1024 * 1024
HASH_BYTES = 16

_encode = msgspec.msgpack.Encoder().encode


class Digest(msgspec.Struct, frozen=True):
    """How many rows there are, and the sum of their hashes: the same whatever order they come in."""

    rows: int = 0
    total: int = 0

    def with_rows(self, rows: Sequence[Row]) -> "Digest":
        """Give the digest with these rows, too."""
        total = sum([int.from_bytes(blake2b(_encode(row), digest_size=HASH_BYTES).digest()) for row in rows])
        return Digest(self.rows + len(rows), (self.total + total) % (1 << (8 * HASH_BYTES)))


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Give the rows in lists of at most 1,000, which end once they hold 8 MiB."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(_encode(row))
        if len(chunk) == CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
