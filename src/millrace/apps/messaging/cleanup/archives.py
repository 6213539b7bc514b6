"""Archives: gzip files of JSON lines in the object store, each with a row that knows its checksum."""

import hashlib
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import NamedTuple, TypeVar

from millrace.apps.messaging.jobs import Target
from millrace.clock import iso_milliseconds
from millrace.errors import Conflict, NotFound
from millrace.ids import new_id
from millrace.resources.objects.contract import ObjectStore
from millrace.sql.transaction import Row
from millrace.work import Work

T = TypeVar("T")

GZIP = 31  # zlib's window bits for a gzip file
ARCHIVE_BYTES = 10_000_000_000
LINE_BYTES = 16 * 1024 * 1024


class Archive(NamedTuple):
    """What there is of an archive without reading it."""

    id: str
    target: Target
    object_key: str
    lines: int
    bytes: int
    sha256: str
    older_than_ms: int
    created_at_ms: int
    restored_at_ms: int | None


class Filled(NamedTuple):
    """A file that is in the object store: under its key, so many lines and bytes, with this checksum."""

    key: str
    lines: int
    bytes: int
    sha256: str


class Page(NamedTuple):
    """Some lines of an archive to be, and how many they are."""

    text: bytes
    lines: int


async def fill(objects: ObjectStore, account_id: str, pages: AsyncIterator[Page]) -> Filled:
    """Write pages into a file of their own; it is on disk when this returns.

    Raises:
        StoreUnavailable: the object store cannot take it; nothing of it is left.
    """
    owner = hashlib.sha256(account_id.encode()).hexdigest()[:16]
    key = f"archives/{owner}/{new_id()}.jsonl.gz"
    digest, counted = hashlib.sha256(), [0, 0]

    async def chunks() -> AsyncIterator[bytes]:
        packer = zlib.compressobj(wbits=GZIP)
        async for page in pages:
            counted[0] += page.lines
            yield packer.compress(page.text)
        yield packer.flush()

    async def hashed() -> AsyncIterator[bytes]:
        async for chunk in chunks():
            digest.update(chunk)
            counted[1] += len(chunk)
            if chunk:
                yield chunk

    await objects.put(key, hashed(), content_type="application/gzip", max_bytes=ARCHIVE_BYTES)
    return Filled(key, counted[0], counted[1], digest.hexdigest())


def note(work: Work, account_id: str, target: Target, filled: Filled, older_than_ms: int) -> str:
    """Write the row of a file that is there, before anything of what it holds is removed; give its id."""
    archive_id = new_id()
    row = {
        "account_id": account_id,
        "id": archive_id,
        "target": target,
        "object_key": filled.key,
        "lines": filled.lines,
        "bytes": filled.bytes,
        "sha256": filled.sha256,
        "older_than_ms": older_than_ms,
        "now_ms": work.now_ms,
    }
    work.apply("insert_archive", row)
    about = {"target": target, "lines": filled.lines, "sha256": filled.sha256}
    work.note(account_id, "archive.created", f"archive {archive_id}", **about, before=iso_milliseconds(older_than_ms))
    return archive_id


def find(work: Work, account_id: str, archive_id: str) -> Archive:
    """Give an archive.

    Raises:
        NotFound: the account has none of that id.
    """
    row: Row | None = work.fetch_one("archive", (account_id, archive_id))
    if row is None:
        raise NotFound(f"archive {archive_id[:64]!r} does not exist")
    return Archive(*row)


def of_account(work: Work, account_id: str, limit: int) -> list[Archive]:
    """Give the account's archives, the newest first."""
    return [Archive(*row) for row in work.fetch("archives", (account_id, limit))]


async def check(objects: ObjectStore, archive: Archive) -> None:
    """Let an archive pass whose file is what was written.

    Raises:
        Conflict: its checksum is another one.
        ObjectNotFound: it is gone.
    """
    digest = hashlib.sha256()
    async for chunk in await objects.get(archive.object_key):
        digest.update(chunk)
    if digest.hexdigest() != archive.sha256:
        raise Conflict(f"archive {archive.id}: its file is not as it was written; nothing was restored")


async def lines(
    objects: ObjectStore, archive: Archive, read: Callable[[bytes], T], count: int
) -> AsyncGenerator[list[T]]:
    """Give what an archive holds, `count` lines at a time."""
    unpacker, rest = zlib.decompressobj(wbits=GZIP), b""
    found: list[T] = []
    async for chunk in await objects.get(archive.object_key):
        packed = chunk
        while packed:
            whole = (rest + unpacker.decompress(packed, LINE_BYTES)).split(b"\n")
            packed, rest = unpacker.unconsumed_tail, whole.pop()
            for line in whole:
                found.append(read(line))
                if len(found) == count:
                    yield found
                    found = []
    if found:
        yield found
