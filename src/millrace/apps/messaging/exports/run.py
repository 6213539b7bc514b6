"""The processor of exports: reads in pages, writes as it reads, and tells how far it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple

from millrace.apps.messaging.consumer import Doing, Process
from millrace.apps.messaging.ends import End
from millrace.apps.messaging.exports import rows
from millrace.apps.messaging.exports.columns import Column, Line
from millrace.apps.messaging.exports.files import object_key
from millrace.apps.messaging.exports.following import Following, queue_following
from millrace.apps.messaging.exports.formats import CONTENT_TYPES, CsvWriter, JsonWriter, Writer
from millrace.apps.messaging.exports.parquet import ParquetWriter
from millrace.apps.messaging.exports.rows import Export
from millrace.apps.messaging.exports.sources import Source, source_of
from millrace.apps.messaging.jobs import ExportJob, read_filters
from millrace.apps.messaging.queueing import Queued
from millrace.apps.messaging.telling import tell_queued
from millrace.errors import ObjectTooLarge, StoreUnavailable
from millrace.handlers import PermanentError
from millrace.platform import Platform
from millrace.resources.objects.contract import ObjectStore
from millrace.settlement import Ack, Retry
from millrace.sql.transaction import Row
from millrace.work import Work

FILE_BYTES = 100_000_000_000
TELL_SECONDS, TELL_ROWS = 1.0, 20_000
FIRST_ROWS, PAGE_ROWS, PAGE_BYTES = (
    25,
    250,
    2 * 1024 * 1024,
)  # a message may have 128 KB, and is several times in memory
WRITERS: dict[str, Callable[[Sequence[Column]], Writer]] = {
    "csv": CsvWriter,
    "json": JsonWriter,
    "parquet": ParquetWriter,
}


class Exporter(NamedTuple):
    """The rooms that an export needs."""

    platform: Platform
    objects: ObjectStore
    following: Following

    async def export(self, doing: Doing) -> End:
        """Write one file. A repeat begins again, in another file; what is finished already is left alone."""
        job: ExportJob = doing.job
        found = await self.platform.read(lambda work: rows.find(work, doing.account_id, doing.id))
        if found.finished_at_ms is not None:
            return _done(found.written)
        seals, now_ms = self.following.rules.seals, self.platform.clock()
        source = source_of(doing.account_id, read_filters(job.filters), found, seals, now_ms)
        writer = await asyncio.to_thread(WRITERS[job.format], source.columns)
        key = object_key(doing.account_id, doing.id, job.format)
        await self._begin(doing, found, source, key)
        return await self._write(doing, job, _Attempt(self.platform, doing, key, source, writer))

    async def _begin(self, doing: Doing, found: Export, source: Source, key: str) -> None:
        total = await self.platform.read(source.count)
        await self.platform.write(lambda work: rows.begin(work, doing.account_id, doing.id, key, total))
        if found.object_key is not None:  # of an attempt that was cut off
            await self.objects.delete(found.object_key)

    async def _write(self, doing: Doing, job: ExportJob, attempt: "_Attempt") -> End:
        key, content_type = attempt.key, CONTENT_TYPES[job.format]
        try:
            stat = await self.objects.put(key, attempt.chunks(), content_type=content_type, max_bytes=FILE_BYTES)
        except StoreUnavailable as error:
            return _again(f"the file cannot be written: {error}")
        except ObjectTooLarge as error:
            raise PermanentError(f"{error}; ask for fewer days at a time") from None
        queued = await self.platform.write(partial(self._finish, doing, job, attempt, stat.size))
        if queued is None:
            await self.objects.delete(key)
            return _again("another attempt at this export has begun")
        tell_queued(self.platform.telemetry, doing.account_id, queued, "")
        return _done(attempt.written)

    def _finish(self, doing: Doing, job: ExportJob, attempt: "_Attempt", size: int, work: Work) -> list[Queued] | None:
        """Write that the file is there, and queue what follows; None when it does not count any more."""
        expires_at_ms = work.now_ms + self.following.kept_ms
        counted = {"examined": attempt.examined, "written": attempt.written, "size": size}
        is_ours = rows.finish(work, doing.account_id, doing.id, attempt.key, **counted, expires_at_ms=expires_at_ms)
        return queue_following(work, doing.account_id, job, self.following) if is_ours else None


class _Attempt:
    """The bytes of one file as they are read, and how far it is."""

    def __init__(self, platform: Platform, doing: Doing, key: str, source: Source, writer: Writer) -> None:
        self._platform, self._doing, self.key = platform, doing, key
        self._source, self._writer = source, writer
        self.examined = self.written = 0
        self._told_rows, self._told_at = 0, monotonic()

    async def chunks(self) -> AsyncIterator[bytes]:
        place, limit = self._source.first, FIRST_ROWS
        while page := await self._platform.read(partial(self._source.read, after=place, limit=limit)):
            place, limit = self._source.place(page[-1]), rows_of_page(len(page), self._size_of(page))
            yield await asyncio.to_thread(self._encoded, page)
            await self._tell()
        yield await asyncio.to_thread(self._writer.end)

    def _encoded(self, page: Sequence[Row]) -> bytes:
        lines: list[Line] = self._source.lines(page)
        self.examined += len(page)
        self.written += len(lines)
        return self._writer.add(lines)

    def _size_of(self, page: Sequence[Row]) -> int:
        return sum(map(self._source.size, page))

    async def _tell(self) -> None:
        """Write how far it is, now and then."""
        if self.examined - self._told_rows < TELL_ROWS and monotonic() - self._told_at < TELL_SECONDS:
            return
        self._told_rows, self._told_at = self.examined, monotonic()
        place = (self._doing.account_id, self._doing.id, self.key, self.examined, self.written)
        await self._platform.write(lambda work: rows.advance(work, *place))


def rows_of_page(rows: int, size: int) -> int:
    """Say how many rows to read next, when the last ones had this many bytes together."""
    return max(1, min(PAGE_ROWS, PAGE_BYTES * rows // max(size, 1)))


def exporting(platform: Platform, objects: ObjectStore, following: Following) -> Process:
    """Make the processor."""
    return Exporter(platform, objects, following).export


def _done(written: int) -> End:
    return End(outcome=Ack(), reason=f"{written} row{'' if written == 1 else 's'}")


def _again(reason: str) -> End:
    return End(outcome=Retry(reason=reason), reason=reason)
