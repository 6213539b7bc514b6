"""What came of deliveries: counted from the events of broker and consumer, errors from the handlers' calls."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any

import msgspec

from millrace.batch import BatchMessage, MessageBatch
from millrace.handlers import Call, PermanentError, RetryLater
from millrace.telemetry import Telemetry

COUNTED = {
    "message.received": "deliveries",
    "message.acked": "acked",
    "message.released": "retried",
    "message.buried": "buried",
    "message.dropped": "dropped",
    "message.expired": "expired",
}
IDS_SHOWN = 3


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the deliveries of one `drain` or `run_until_idle`, in messages.

    A message that was delivered twice counts twice. `errors` is what the handlers raised, PermanentError and
    RetryLater as well; the notes of an error tell queue and messages.
    """

    deliveries: int = 0
    acked: int = 0
    retried: int = 0
    buried: int = 0
    dropped: int = 0
    expired: int = 0
    errors: tuple[Exception, ...] = ()


class Tally:
    """The counts since the last `renew`."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.by_queue: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._errors: list[Exception] = []
        telemetry.subscribe(self._count, *COUNTED)

    def renew(self) -> None:
        """Begin anew."""
        self.by_queue.clear()
        self._counts.clear()
        self._errors = []

    def report(self) -> Report:
        """Give the counts as they stand."""
        return Report(**self._counts, errors=tuple(self._errors))

    def watched(self, call: Call, handler_seconds: float) -> Call:
        """Make a call that notes what the handler raises, over the batch or over single messages, and that ends."""

        async def watched(batch: MessageBatch, env: Any) -> None:
            try:
                await _in_time(call(batch, env), handler_seconds)
            except Exception as error:
                self._note(error, batch.queue, batch.messages)
                raise
            finally:
                for message, failure in batch.failures:
                    self._note(failure, batch.queue, [message])

        return watched

    def raise_errors(self) -> None:
        """Raise what the handlers raised, unless it was meant: PermanentError and RetryLater are.

        Raises:
            ExceptionGroup: of all that was not meant.
        """
        __tracebackhide__ = True
        unmeant = [error for error in self._errors if not isinstance(error, PermanentError | RetryLater)]
        if unmeant:
            raise ExceptionGroup("handlers raised errors; with raise_errors=False they are in the report", unmeant)

    def _count(self, event: str, fields: dict[str, Any]) -> None:
        self._counts[COUNTED[event]] += fields["count"]
        if event == "message.received":
            self.by_queue[fields["queue"]] += fields["count"]

    def _note(self, error: BaseException, queue: str, messages: Sequence[BatchMessage[Any]]) -> None:
        if not isinstance(error, Exception):
            return
        shown = ", ".join(f"{message.id} (delivery {message.attempts})" for message in messages[:IDS_SHOWN])
        more = f" and {len(messages) - IDS_SHOWN} more" if len(messages) > IDS_SHOWN else ""
        error.add_note(f"in the handler of queue {queue!r}, with {shown}{more}")
        self._errors.append(error)


async def _in_time(work: Awaitable[None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds) as limit:
            await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(f"the handler ran longer than {seconds:g} s; the broker's handler_seconds says so") from None
