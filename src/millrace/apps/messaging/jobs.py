"""The four types of jobs, as they stand on the wire: fields in camelCase, as the senders of JSON write them.

An id (`messageId`, `exportId`) is an idempotency key: the same job under it is the same job.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from millrace.apps.messaging.fields import (
    ADDRESS_CHARACTERS,
    ID_CHARACTERS,
    check_address,
    check_id,
    check_line,
    check_phone,
    check_text,
    read_moment,
    read_send_at,
)
from millrace.errors import BodyDoesNotFit

SUBJECT_CHARACTERS = 998  # RFC 5322, section 2.1.1
SMS_CHARACTERS = 1_600  # what Twilio takes
CONTENT_CHARACTERS = 100_000


Id = Annotated[str, Meta(min_length=1, max_length=ID_CHARACTERS)]
Priority = Literal["high", "normal", "low"]
PRIORITY_DELAY_SECONDS: dict[Priority, int] = {"high": 0, "normal": 1, "low": 5}
Format = Literal["csv", "json", "parquet"]
Target = Literal["audit_logs", "message_queue", "temp_files"]


class EmailJob(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag_field="type",
    tag="email_send",
    forbid_unknown_fields=True,
):
    """An e-mail to one address."""

    message_id: Id
    recipient: Annotated[str, Meta(min_length=3, max_length=ADDRESS_CHARACTERS)]
    subject: Annotated[str, Meta(min_length=1, max_length=SUBJECT_CHARACTERS)]
    content: Annotated[str, Meta(min_length=1, max_length=CONTENT_CHARACTERS)]
    priority: Priority
    send_at: str | None = None

    def __post_init__(self) -> None:
        check_id("messageId", self.message_id)
        check_address("recipient", self.recipient)
        check_line("subject", self.subject)
        check_text("content", self.content)
        read_send_at(self.send_at)


class SmsJob(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag_field="type",
    tag="sms_send",
    forbid_unknown_fields=True,
):
    """A text message to one number, which is written as `+` and 7 to 15 digits."""

    message_id: Id
    recipient: str
    content: Annotated[str, Meta(min_length=1, max_length=SMS_CHARACTERS)]
    priority: Priority
    send_at: str | None = None

    def __post_init__(self) -> None:
        check_id("messageId", self.message_id)
        check_phone("recipient", self.recipient)
        check_text("content", self.content)
        read_send_at(self.send_at)


class ExportJob(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag_field="type",
    tag="export_generation",
    forbid_unknown_fields=True,
):
    """A file to be made of messages, or of the audit trail. `notifyEmail` is told when it is there.

    Of the filters these count: source (messages or audit), startDate, endDate (the day itself included), status and type.
    Null stands for none.
    """

    export_id: Id
    filters: dict[str, Any] | None
    user_id: Id
    format: Format
    priority: Priority = "normal"
    notify_email: str | None = None
    send_at: str | None = None

    def __post_init__(self) -> None:
        check_id("exportId", self.export_id)
        check_id("userId", self.user_id)
        if self.notify_email is not None:
            check_address("notifyEmail", self.notify_email)
        read_filters(self.filters)
        read_send_at(self.send_at)


class CleanupJob(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag_field="type",
    tag="cleanup",
    forbid_unknown_fields=True,
):
    """What is older than a time is archived and removed: of the audit trail, of messages that ended, of exports' files."""

    target: Target
    older_than: str
    priority: Priority = "normal"
    send_at: str | None = None

    def __post_init__(self) -> None:
        read_moment("olderThan", self.older_than)
        read_send_at(self.send_at)


Job = EmailJob | SmsJob | ExportJob | CleanupJob
Letter = EmailJob | SmsJob
TYPES = {"email_send": EmailJob, "sms_send": SmsJob, "export_generation": ExportJob, "cleanup": CleanupJob}


STATUSES = (
    *("draft", "rejected", "scheduled", "queued", "cancelled", "processing"),
    *("sent", "stored", "delivered", "undelivered", "failed", "done"),
)


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into an export; times are epoch milliseconds, the end excluded."""

    source: Literal["messages", "audit"] = "messages"
    start_ms: int | None = None
    end_ms: int | None = None
    status: str | None = None
    type: str | None = None


def type_of(job: Job) -> str:
    """Give the word that stands for the type of a job."""
    return str(job.__struct_config__.tag)


def id_of(job: Job) -> str | None:
    """Give the id that the sender chose, None for a clean-up, which has none."""
    match job:
        case EmailJob() | SmsJob():
            return job.message_id
        case ExportJob():
            return job.export_id
    return None


def read_job(given: object) -> Job:
    """Make a job of a mapping with the fields of the wire.

    Raises:
        BodyDoesNotFit: a field that is missing, unknown or wrong, which the sentence names.
    """
    try:
        job: Job = msgspec.convert(given, Job)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BodyDoesNotFit(str(error)) from None
    return job


def read_filters(filters: dict[str, Any] | None) -> Filters:
    """Read what an export is to hold; filters that we do not know do not count.

    Raises:
        ValueError: one that counts is wrong.
    """
    given = filters or {}
    source = given.get("source", "messages")
    if source not in ("messages", "audit"):
        raise ValueError(f"filters.source is {str(source)[:40]!r}; expected 'messages' or 'audit'")
    words = {name: given.get(name) for name in ("status", "type")}
    allowed = {"status": STATUSES, "type": tuple(TYPES)} if source == "messages" else {}
    for name, word in words.items():
        if word is not None and (not isinstance(word, str) or word not in allowed.get(name, (word,))):
            expected = " or ".join(allowed.get(name, ("a word",)))
            raise ValueError(f"filters.{name} is {str(word)[:40]!r}; expected {expected}")
    start, end = given.get("startDate"), given.get("endDate")
    return Filters(
        source=source,
        start_ms=None if start is None else read_moment("filters.startDate", start),
        end_ms=None if end is None else read_moment("filters.endDate", end, is_end=True),
        **words,
    )
