"""Objects as files of a folder.

A file arrives under another name and is renamed when all of it is on the disk, so that a reader or a power cut meets
either all of an object or nothing.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from millrace.errors import InvalidInput, ObjectNotFound, ObjectTooLarge, StoreUnavailable
from millrace.ids import new_id
from millrace.resources.objects.contract import CHUNK_BYTES, Stat, check_key

T = TypeVar("T")

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
LEFT_OVER_SECONDS = 86_400  # an upload takes minutes; what is older was cut off by the end of a process


class FileObjects:
    """Keeps each object in a file below `folder`, under its key. Content types are not kept: the caller knows them."""

    def __init__(self, folder: Path) -> None:
        self._kept, self._arriving = folder / "kept", folder / "arriving"
        self._is_swept = False

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, max_bytes: int) -> Stat:
        """Store an object; see `ObjectStore`."""
        path = self._path(key)
        arriving = self._arriving / new_id()
        file = await _in_thread(lambda: self._open(arriving))
        try:
            await _write_all(file, chunks, max_bytes)
            return await _in_thread(lambda: _keep(file, arriving, path, self._kept))
        finally:
            await _in_thread(lambda: _discard(file, arriving))

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """Give the bytes of an object; see `ObjectStore`."""
        path = self._path(key)
        return _pieces(await _in_thread(lambda: path.open("rb"), key))

    async def stat(self, key: str) -> Stat | None:
        """Give size and etag; see `ObjectStore`."""
        path = self._path(key)
        try:
            return await _in_thread(lambda: _stat_of(path), key)
        except ObjectNotFound:
            return None

    async def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore`. The folders it was in stay."""
        path = self._path(key)
        with suppress(ObjectNotFound):
            await _in_thread(path.unlink, key)

    def _path(self, key: str) -> Path:
        return self._kept / check_key(key)

    def _open(self, path: Path) -> BinaryIO:
        self._arriving.mkdir(parents=True, exist_ok=True)
        file = path.open("xb", buffering=0)
        if not self._is_swept:
            self._is_swept = True
            _remove_left_overs(self._arriving, path.stat().st_mtime)
        return file


async def _write_all(file: BinaryIO, chunks: AsyncIterator[bytes], max_bytes: int) -> None:
    """Write in large pieces, since each is a trip to a thread."""
    size, gathered = 0, bytearray()
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise ObjectTooLarge(f"the object has more than {max_bytes:,} bytes; nothing of it was stored")
        gathered += chunk
        if len(gathered) >= CHUNK_BYTES:
            await _write(file, bytes(gathered))
            gathered.clear()
    await _write(file, bytes(gathered))


async def _write(file: BinaryIO, piece: bytes) -> None:
    def write() -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]

    await _in_thread(write)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await _in_thread(lambda: file.read(CHUNK_BYTES)):
            yield piece


def _keep(file: BinaryIO, arriving: Path, path: Path, root: Path) -> Stat:
    """Bring what arrived to its place, and see that the disk has it there."""
    os.fsync(file.fileno())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        arriving.replace(path)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        key = str(path.relative_to(root))
        raise InvalidInput(
            f"object key is {key!r}; an object with its beginning, or longer, is there already"
        ) from None
    for folder in path.parents:  # all of ours: another put may have made one that is not on the disk yet
        _sync_folder(folder)
        if folder == root.parent.parent:
            break
    return _stat_of(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(file: BinaryIO, arriving: Path) -> None:
    file.close()
    arriving.unlink(missing_ok=True)


def _remove_left_overs(folder: Path, now_seconds: float) -> None:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < now_seconds - LEFT_OVER_SECONDS:
                path.unlink()


def _stat_of(path: Path) -> Stat:
    found = path.stat()
    if not path.is_file():
        raise IsADirectoryError
    return Stat(size=found.st_size, etag=f"{found.st_mtime_ns:x}-{found.st_size:x}")


async def _in_thread(act: Callable[[], T], key: str | None = None) -> T:
    """Do something with the disk in a thread, to its end even when the caller is cancelled meanwhile.

    Raises:
        ObjectNotFound: there is no such file, where a key is given that may be absent.
        StoreUnavailable: any other error of the system.
    """
    doing = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])  # else a thread would write into a file that is closed
        raise
    except OSError as error:
        if key is not None and isinstance(error, ABSENT):
            raise ObjectNotFound(f"no object has the key {key!r}") from None
        raise StoreUnavailable(f"the folder of objects cannot be used: {error.strerror or error}") from None
