"""Jobs from Python: each is checked, and is on disk when its function returns, or has been awaited."""

from collections.abc import Generator, Iterable, Mapping
from datetime import datetime
from typing import Any, Self, Unpack

from millrace.apps.messaging.given_jobs import (
    CleanupFields,
    EmailFields,
    ExportFields,
    Given,
    Parcel,
    SmsFields,
    parcel_of,
    parcels_of,
    type_by_fields,
    wire_of,
)
from millrace.apps.messaging.producer_log import tell_queued, tell_refused
from millrace.apps.messaging.ways_out import Enqueued, HandOver, Steps, follow, way_out_of
from millrace.client.wire import parts_of
from millrace.errors import BodyDoesNotFit, MillraceError


class EnqueuedBatch(tuple[Enqueued, ...]):
    """Jobs that are on disk, in the order they were given. It may be awaited, as it need not be."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, Self]:
        yield from ()
        return self


class QueueProducer:
    """Hands jobs over. A job is a mapping with the fields of the wire or with those of Python, a struct, or keywords.

    With an env that is awaited (of an `AsyncClient`, of an async handler), so are these.

    All methods raise:
        BodyDoesNotFit: a field is missing, unknown or wrong; nothing was sent.
        MessageTooLarge: a job has over 128,000 bytes of JSON; nothing was sent.
        Conflict: the id stands for another job.
        Overloaded, BacklogFull, StoreUnavailable: it cannot be taken now.
        MillraceError: as the client or the binding has it.
    """

    def __init__(self, hand_over: HandOver) -> None:
        self._hand_over = hand_over

    def enqueue_email(self, job: Given | None = None, /, **fields: Unpack[EmailFields]) -> Enqueued:
        """Have an e-mail sent."""
        return self._enqueue("email_send", job, fields)

    def enqueue_sms(self, job: Given | None = None, /, **fields: Unpack[SmsFields]) -> Enqueued:
        """Have a text message sent."""
        return self._enqueue("sms_send", job, fields)

    def enqueue_export(self, job: Given | None = None, /, **fields: Unpack[ExportFields]) -> Enqueued:
        """Have a file made of messages, or of the audit trail."""
        return self._enqueue("export_generation", job, fields)

    def enqueue_cleanup(self, job: Given | None = None, /, **fields: Unpack[CleanupFields]) -> Enqueued:
        """Have archived and removed what is older than a time."""
        return self._enqueue("cleanup", job, fields)

    def enqueue_send_later(self, job: Given, when: datetime) -> Enqueued:
        """Have a job of any type done at a time and not before; `when` has a time zone.

        A job that does not name its type is known by its fields.
        """
        if not isinstance(when, datetime) or when.utcoffset() is None:
            raise BodyDoesNotFit(
                f"when is {str(when)[:40]!r}; expected a datetime with a time zone, "
                "such as datetime.now(UTC) + timedelta(hours=24)"
            )
        return self._enqueue(type_by_fields(job), job, {"send_at": when})

    def enqueue_batch(self, jobs: Iterable[Given]) -> EnqueuedBatch:
        """Hand over any number of jobs of any types, in parts of at most 100 jobs and 256,000 bytes.

        All are checked first. Each part is stored as a whole or not at all; an error has in `sent` how many jobs were
        stored before it.
        """
        return follow(self._steps(parcels_of(jobs)))

    def _enqueue(self, type: str | None, job: Given | None, fields: Mapping[str, Any]) -> Enqueued:
        wire = wire_of({} if job is None else job, fields)
        if type is not None:
            wire = {"type": type, **wire}
            if wire["type"] != type:
                raise BodyDoesNotFit(f"type is {str(wire['type'])[:40]!r}; expected {type!r}, or none")
        return follow(self._one(parcel_of(wire)))

    def _one(self, parcel: Parcel) -> Steps[Enqueued]:
        [made] = yield from self._steps([parcel])
        return made

    def _steps(self, parcels: list[Parcel]) -> Steps[EnqueuedBatch]:
        made: list[Enqueued] = []
        for part in parts_of(parcels):
            try:
                made += yield from self._hand_over(part)
            except Exception as error:
                if isinstance(error, MillraceError):
                    error.sent = len(made)
                tell_refused(part, error)
                raise
            tell_queued(part)
        return EnqueuedBatch(made)


def create_queue_producer(env: Any) -> QueueProducer:
    """Make a producer of the bindings that a program has: of `client.bindings()`, of a handler, or of its own.

    An env that a client made leads to the server's route for jobs; any other leads to its binding `MESSAGE_QUEUE`.

    Raises:
        ConfigurationError: it leads nowhere.
    """
    return QueueProducer(way_out_of(env))
