"""What a handler holds. It notes outcomes and does no I/O.

First call wins, message by message and for the batch; a call on a message beats a call on the batch;
what nobody spoke for is acknowledged when the handler returned and retried when it did not
(docs/lifecycle.md draws it). A second retry replaces the delay of the first.
"""

from collections.abc import Sequence
from copy import copy
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Generic

from millrace import limits
from millrace.errors import InvalidInput
from millrace.message import HIGH, LOW, NORMAL, Backlog, Lease, Message, decode_body
from millrace.settlement import Ack, Outcome, Reject, Retry

if TYPE_CHECKING:  # for checkers, `MessageBatch` alone is MessageBatch[object]; Python can say so from 3.13
    from typing_extensions import TypeVar

    Body = TypeVar("Body", default=object)
else:
    from typing import TypeVar

    Body = TypeVar("Body")

PRIORITY_WORDS = {LOW: "low", NORMAL: "normal", HIGH: "high"}
IGNORED_CALLS = 1_000  # as many are told of


class BatchMessage(Generic[Body]):
    """One delivery of one message."""

    def __init__(self, message: Message, batch: "MessageBatch[Body]") -> None:
        self._message, self._batch = message, batch
        self.outcome: Outcome | None = None
        self.is_settled = False  # by a transaction of the handler's own: `Work.settle_delivery`

    @property
    def id(self) -> str:
        """32 hex characters, the same at every delivery."""
        return self._message.id

    @property
    def lease(self) -> Lease:
        """Proof of this delivery."""
        return self._message.lease

    @property
    def failures(self) -> int:
        """Failures that were reported before this delivery."""
        return self._message.failures

    @property
    def attempts(self) -> int:
        """Deliveries begun so far, this one included."""
        return self._message.attempts

    @property
    def timestamp(self) -> datetime:
        """When the message was accepted (UTC)."""
        return datetime.fromtimestamp(self._message.sent_at_ms / 1000, UTC)

    @property
    def headers(self) -> dict[str, str]:
        """What travels beside the body, such as `traceparent` and `X-Correlation-ID`."""
        return self._message.headers or {}

    @property
    def priority(self) -> str:
        """`high`, `normal` or `low`."""
        return PRIORITY_WORDS[self._message.priority]

    @property
    def ordering_key(self) -> str | None:
        """Names the messages that come one after the other, of which this is one; None for a message on its own."""
        return self._message.ordering_key

    @property
    def content_type(self) -> str:
        """`json`, `text`, `bytes` or `v8`."""
        return self._message.content_type

    @property
    def raw_body(self) -> bytes:
        """The bytes that are stored."""
        return self._message.body

    @cached_property
    def body(self) -> Body:
        """The JSON value, str (text) or bytes (bytes, v8) that was sent; of the type the handler asks for, if any."""
        return decode_body(self._message.body, self._message.content_type)  # type: ignore[return-value]

    def ack(self) -> None:
        """Settle this message as done, even if the handler fails later."""
        if isinstance(self.outcome, Retry | Reject) or (
            self.outcome is None and isinstance(self._batch.outcome, Retry)
        ):
            self._batch.note_ignored("ack", self.outcome)
        elif self.outcome is None:
            self.outcome = Ack()

    def retry(self, *, delay_seconds: float | None = None) -> None:
        """Have this message delivered again, even if the handler returns.

        Raises:
            InvalidInput: `delay_seconds` is not within 0 to 86,400.
        """
        retry = Retry(check_delay_seconds(delay_seconds))
        if isinstance(self.outcome, Ack | Reject) or isinstance(self._batch.outcome, Ack):
            self._batch.note_ignored("retry", self.outcome)
        else:
            self.outcome = retry

    def reject(self, reason: str) -> None:
        """Move this message to the dead-letter queue without further deliveries."""
        if self.outcome is None:
            self.outcome = Reject(check_reason(reason))
        elif not isinstance(self.outcome, Reject):
            self._batch.note_ignored("reject", self.outcome)

    def note(self, outcome: Outcome) -> None:
        """Note what came of this message, unless the handler has spoken for it."""
        if self.outcome is None:
            self.outcome = outcome


class MessageBatch(Generic[Body]):
    """One to `batch_size` messages of one queue.

    `failures` holds what was raised over single messages, and `ignored` the calls that changed nothing, for whoever
    called the handler to report.
    """

    def __init__(self, queue: str, messages: Sequence[Message], backlog: Backlog | None = None) -> None:
        self.queue = queue
        self.backlog = backlog
        self.outcome: Ack | Retry | None = None
        self.messages: list[BatchMessage[Body]] = [BatchMessage(message, self) for message in messages]
        self.failures: list[tuple[BatchMessage[Body], BaseException]] = []
        self.ignored: list[str] = []
        self._whole = self

    def ack_all(self) -> None:
        """Settle every message that has no call of its own as done."""
        if self._whole.outcome is None:
            self._whole.outcome = Ack()
        elif isinstance(self._whole.outcome, Retry):
            self.note_ignored("ack_all")

    def retry_all(self, *, delay_seconds: float | None = None) -> None:
        """Have every message that has no call of its own delivered again.

        Raises:
            InvalidInput: `delay_seconds` is not within 0 to 86,400.
        """
        retry = Retry(check_delay_seconds(delay_seconds))
        if isinstance(self._whole.outcome, Ack):
            self.note_ignored("retry_all")
        else:
            self._whole.outcome = retry

    def note_ignored(self, call: str, earlier: Outcome | None = None) -> None:
        """Note a call that changed nothing, because one of the message, or else of the batch, came first."""
        first = type(earlier).__name__.lower() if earlier is not None else None
        on_batch = "ack_all" if isinstance(self._whole.outcome, Ack) else "retry_all"
        if len(self.ignored) < IGNORED_CALLS:
            self.ignored.append(f"{call} after {first or on_batch}")

    def only(self, messages: Sequence[BatchMessage[Body]]) -> "MessageBatch[Body]":
        """Show some of the messages; what is said about this view counts for the whole batch."""
        view = copy(self)
        view.messages = list(messages)
        return view

    def outcomes(self, unspoken: Outcome) -> list[Outcome]:
        """Give the outcome of each message, in order; `unspoken` is for those that nobody spoke for."""
        rest = self.outcome or unspoken
        return [message.outcome or rest for message in self.messages]


def check_reason(reason: str) -> str:
    """Cut a reason to what a row should hold, and replace what is no text."""
    return reason[: limits.REASON_CHARACTERS].encode("utf-8", "replace").decode()


def check_delay_seconds(delay_seconds: float | None) -> float | None:
    """Return the delay.

    Raises:
        InvalidInput: not a number from 0 to 86,400.
    """
    if delay_seconds is None:
        return None
    if isinstance(delay_seconds, bool) or not isinstance(delay_seconds, int | float):
        raise InvalidInput(f"delay_seconds is {delay_seconds!r}; expected a number")
    if not 0 <= delay_seconds <= limits.DELAY_SECONDS:
        raise InvalidInput(f"delay_seconds is {delay_seconds}; expected 0 to {limits.DELAY_SECONDS}")
    return delay_seconds
