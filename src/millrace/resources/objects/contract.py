"""What an object store does, and which keys it takes."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from millrace.errors import InvalidInput

KEY_BYTES = 1_024  # as S3 has it
SEGMENT_BYTES = 255  # a name in most file systems
CHUNK_BYTES = 1024 * 1024


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an object without reading it. `etag` changes with the bytes."""

    size: int
    etag: str


class ObjectStore(Protocol):
    """Bytes under keys such as `uploads/acme/run-1/report.pdf`. An object is there as a whole, or not at all.

    All methods raise:
        InvalidInput: the key is none (`check_key`).
        StoreUnavailable: the disk or the other server does not work now.
    """

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, max_bytes: int) -> Stat:
        """Store what comes, in place of what was there; on disk before it returns.

        Whatever ends it early, of this or of `chunks`, leaves nothing of it behind.

        Raises:
            ObjectTooLarge: more than `max_bytes` came; the rest is not read.
        """
        ...

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """Give the bytes in pieces, of one state of the object.

        Raises:
            ObjectNotFound: nothing is under this key.
        """
        ...

    async def stat(self, key: str) -> Stat | None:
        """Give size and etag, or None when nothing is under this key."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is removed already."""
        ...


def check_key(key: str) -> str:
    """Give the key back when it is one.

    A key has segments with `/` between them, each of 1 to 255 bytes of printable UTF-8, none of them `.` or `..`, and
    without backslashes: what two systems read differently is no key.

    Raises:
        InvalidInput: it is none.
    """
    segments = key.split("/")
    if not 1 <= len(_bytes(key)) <= KEY_BYTES or not all(map(_is_segment, segments)):
        raise InvalidInput(
            f"object key is {key[:80]!r}; expected 1 to {KEY_BYTES:,} bytes, with segments of 1 to {SEGMENT_BYTES} "
            "bytes between '/', and neither '.', '..', backslashes nor control characters for a segment"
        )
    return key


def _is_segment(segment: str) -> bool:
    is_name = 1 <= len(_bytes(segment)) <= SEGMENT_BYTES and segment not in (".", "..")
    return is_name and segment.isprintable() and "\\" not in segment


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate is not printable, and so refused
