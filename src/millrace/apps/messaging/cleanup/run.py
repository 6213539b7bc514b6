"""The processor of clean-ups: what is older than a time goes into an archive, and then goes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple, TypeVar

from millrace.apps.messaging.cleanup import archives, messages
from millrace.apps.messaging.cleanup.archives import Page
from millrace.apps.messaging.cleanup.lines import line_of_entry
from millrace.apps.messaging.cleanup.messages import Place
from millrace.apps.messaging.consumer import Doing, Process
from millrace.apps.messaging.ends import End
from millrace.apps.messaging.fields import read_moment
from millrace.apps.messaging.jobs import CleanupJob, Target
from millrace.audit import Noted
from millrace.platform import Platform
from millrace.resources.objects.contract import ObjectStore
from millrace.settlement import Ack
from millrace.work import Work

T = TypeVar("T")

ARCHIVE_LINES = 10_000  # of one archive; what is older than it fills as many as it takes
AUDIT_ENTRIES = 500
REMOVED_ENTRIES = 500

RemoveFiles = Callable[[str, int], Awaitable[int]]
"""Remove the files of an account's exports that were finished before a time, and give how many they were."""


class Cleaner(NamedTuple):
    """The rooms that a clean-up needs."""

    platform: Platform
    objects: ObjectStore
    remove_files: RemoveFiles

    async def clean(self, doing: Doing) -> End:
        """Do one clean-up; one that is cut off goes on with what is left when it is tried again."""
        job: CleanupJob = doing.job
        # what changes while it is archived must not go with it
        older_than_ms = min(read_moment("olderThan", job.older_than), self.platform.clock())
        removed = await self._remove(job.target, doing.account_id, older_than_ms)
        about = {"target": job.target, "removed": removed, "before": job.older_than}
        await self.platform.write(
            lambda work: work.note(doing.account_id, "cleanup.done", f"message {doing.id}", **about)
        )
        return End(outcome=Ack(), reason=f"{removed} removed")

    async def _remove(self, target: Target, account_id: str, older_than_ms: int) -> int:
        match target:
            case "message_queue":
                return await self._messages(account_id, older_than_ms)
            case "audit_logs":
                return await self._audit(account_id, older_than_ms)
            case "temp_files":
                return await self.remove_files(account_id, older_than_ms)

    async def _messages(self, account_id: str, older_than_ms: int) -> int:
        removed, place = 0, Place()
        while True:
            batch = _Messages(self.platform, account_id, older_than_ms, place)
            filled = await archives.fill(self.objects, account_id, batch.pages())
            if not filled.lines:
                await self.objects.delete(filled.key)
                return removed
            await self._note(account_id, "message_queue", filled, older_than_ms)
            for ids in _parts(batch.ids, messages.REMOVED_ROWS):
                removed += await self._remove_messages(account_id, ids, older_than_ms)
            if batch.place is None:
                return removed
            place = batch.place

    async def _remove_messages(self, account_id: str, ids: list[str], older_than_ms: int) -> int:
        return await self.platform.write(lambda work: messages.remove(work, account_id, ids, older_than_ms))

    async def _audit(self, account_id: str, older_than_ms: int) -> int:
        removed, number = 0, 0
        while True:
            batch = _Entries(self.platform, account_id, older_than_ms, number)
            filled = await archives.fill(self.objects, account_id, batch.pages())
            if not filled.lines:
                await self.objects.delete(filled.key)
                return removed
            await self._note(account_id, "audit_logs", filled, older_than_ms)
            for numbers in _parts(batch.numbers, REMOVED_ENTRIES):
                removed += await self._prune(account_id, numbers)
            number = batch.number

    async def _prune(self, account_id: str, numbers: list[int]) -> int:
        return await self.platform.write(lambda work: work.prune_audit(account_id, numbers))

    async def _note(self, account_id: str, target: Target, filled: archives.Filled, older_than_ms: int) -> None:
        await self.platform.write(lambda work: archives.note(work, account_id, target, filled, older_than_ms))


class _Messages:
    """Messages for one archive: their pages, then their ids and the place to go on from, None at the end."""

    def __init__(self, platform: Platform, account_id: str, older_than_ms: int, place: Place) -> None:
        self._platform, self._account_id, self._older_than_ms = platform, account_id, older_than_ms
        self.place: Place | None = place
        self.ids: list[str] = []

    async def pages(self) -> AsyncIterator[Page]:
        while self.place is not None and len(self.ids) < ARCHIVE_LINES:
            found = await self._platform.read(self._read)
            self.ids += found.ids
            self.place = found.after
            yield found.page

    def _read(self, work: Work) -> messages.Found:
        assert self.place is not None
        return messages.read_page(work, self._account_id, self._older_than_ms, self.place)


class _Entries:
    """Entries of the audit trail for one archive: their pages, then their numbers."""

    def __init__(self, platform: Platform, account_id: str, older_than_ms: int, number: int) -> None:
        self._platform, self._account_id, self._older_than_ms = platform, account_id, older_than_ms
        self.number = number
        self.numbers: list[int] = []

    async def pages(self) -> AsyncIterator[Page]:
        while len(self.numbers) < ARCHIVE_LINES:
            found = await self._platform.read(self._read)
            if not found:
                return
            self.numbers += [noted.number for noted in found]
            self.number = found[-1].number
            yield Page(b"".join(line_of_entry(noted) for noted in found), len(found))

    def _read(self, work: Work) -> list[Noted]:
        return work.audit_before(self._account_id, self._older_than_ms, self.number, AUDIT_ENTRIES)


def _parts(values: list[T], count: int) -> Iterator[list[T]]:
    for begin in range(0, len(values), count):
        yield values[begin : begin + count]


def cleaning(platform: Platform, objects: ObjectStore, remove_files: RemoveFiles) -> Process:
    """Make the processor."""
    return Cleaner(platform, objects, remove_files).clean
