"""The ends of attempts, written in groups: those that come while one transaction is under way go in the next together.

Each is settled and told by itself all the same. On PostgreSQL a commit for each mail cost more than the mail
(docs/design/messaging.md).
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from millrace.apps.messaging import attempts
from millrace.apps.messaging.attempts import Attempt, Closed
from millrace.apps.messaging.ends import End
from millrace.apps.messaging.queueing import Rules
from millrace.errors import StoreUnavailable
from millrace.platform import Platform
from millrace.work import Work

GROUP = 1


class Closing(NamedTuple):
    """An end that waits to be written, with the future of who waits for that."""

    account_id: str
    attempt: Attempt
    end: End
    written: asyncio.Future[Closed]


class Closings:
    """Gathers ends for one transaction at a time."""

    def __init__(self, platform: Platform, rules: Rules) -> None:
        self._platform, self._rules = platform, rules
        self._waiting: list[Closing] = []
        self._writing: asyncio.Task[None] | None = None
        self._size = GROUP

    async def write(self, account_id: str, attempt: Attempt, end: End) -> Closed:
        """Settle and write an end; see `attempts.close`.

        Raises:
            StoreUnavailable: it could not be written.
        """
        closing = Closing(account_id, attempt, end, asyncio.get_running_loop().create_future())
        self._waiting.append(closing)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await closing.written

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
                await self._write_group(group)
        finally:
            self._writing = None

    async def _write_group(self, group: Sequence[Closing]) -> None:
        """Write a group; what one of them raises undoes all, so they are then written one by one."""
        try:
            closed = await self._platform.write(lambda work: [self._close(closing, work) for closing in group])
        except StoreUnavailable as error:
            self._give_up(group, error)
        except Exception as error:  # noqa: BLE001 - it is told to the one whose end it was
            if len(group) == 1:
                _tell(group[0], error)
            for closing in group if len(group) > 1 else ():
                await self._write_group([closing])
        else:
            self._size = min(GROUP, 2 * self._size)
            for closing, one in zip(group, closed, strict=True):
                _tell(closing, one)

    def _close(self, closing: Closing, work: Work) -> Closed:
        return attempts.close(closing.account_id, closing.attempt, closing.end, self._rules, work)

    def _give_up(self, group: Sequence[Closing], error: StoreUnavailable) -> None:
        """Tell all who wait, and begin with one the next time: it may have been the group that was in others' way."""
        waiting, self._waiting, self._size = self._waiting, [], 1
        for closing in (*group, *waiting):
            _tell(closing, error)


def _tell(closing: Closing, told: Closed | Exception) -> None:
    with suppress(asyncio.InvalidStateError):  # nobody waits any more
        if isinstance(told, Closed):
            closing.written.set_result(told)
        else:
            closing.written.set_exception(told)
