"""What Python programs give for a job: a mapping of the wire, one in snake_case, or a struct; and its fields as keywords."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple, TypedDict

import msgspec

from millrace import limits
from millrace.apps.messaging.jobs import Format, Job, Priority, Target, read_job
from millrace.errors import BodyDoesNotFit, MessageTooLarge

Given = Job | Mapping[str, Any]


class Parcel(NamedTuple):
    """A job that was checked: as a value, as the wire has it, and as the bytes of that."""

    job: Job
    wire: dict[str, Any]
    body: bytes


# A field that tells the type of a job that does not name it, the first that is there.
TELLING = {
    "exportId": "export_generation",
    "olderThan": "cleanup",
    "subject": "email_send",
    "recipient": "sms_send",
}


class SmsFields(TypedDict, total=False):
    """A text message. Its priority is normal unless it is said; `send_at` has a time zone."""

    message_id: str
    recipient: str
    content: str
    priority: Priority
    send_at: datetime | str


class EmailFields(SmsFields, total=False):
    """An e-mail."""

    subject: str


class ExportFields(TypedDict, total=False):
    """An export."""

    export_id: str
    filters: Mapping[str, Any]
    user_id: str
    format: Format
    notify_email: str
    priority: Priority
    send_at: datetime | str


class CleanupFields(TypedDict, total=False):
    """A clean-up."""

    target: Target
    older_than: date | str
    priority: Priority
    send_at: datetime | str


def wire_of(job: object, more: Mapping[str, Any], place: str = "$") -> dict[str, Any]:
    """Write a job as the wire has it, `more` in place of its own fields; it is not checked yet.

    Raises:
        BodyDoesNotFit: no job at all, or a value that JSON has not; `place` says which.
    """
    try:
        given, other = (msgspec.to_builtins(_plain(one), str_keys=True) for one in (job, more))
    except (TypeError, ValueError, RecursionError) as error:
        raise BodyDoesNotFit(f"{place} cannot be written as JSON: {error}") from None
    if not isinstance(given, dict):
        raise BodyDoesNotFit(f"{place} is of type {type(job).__name__}; expected a mapping, or a struct of jobs")
    wire = {name: value for name, value in {**_camel(given), **_camel(other)}.items() if value is not None}
    if isinstance(wire.get("filters"), dict):
        wire["filters"] = _camel(wire["filters"])
    return {**wire, "priority": wire.get("priority", "normal")}


def type_by_fields(job: Given) -> str | None:
    """Give the type of a mapping without one by the fields that it has; None when it names it, or nothing tells."""
    if not isinstance(job, Mapping) or "type" in job:
        return None
    fields = {_camel_word(str(name)) for name in job}
    return next((kind for field, kind in TELLING.items() if field in fields), None)


def parcel_of(wire: dict[str, Any]) -> Parcel:
    """Check a job.

    Raises:
        BodyDoesNotFit: it is wrong; the sentence says where, as in `$.recipient`, and what is allowed.
        MessageTooLarge: it is larger than a message may be.
    """
    return _parcel(read_job(wire), wire, "$")


def parcels_of(jobs: Iterable[object]) -> list[Parcel]:
    """Write jobs as the wire has them, and check them.

    Raises:
        BodyDoesNotFit: one of them is wrong; the sentence says which and where, as in `$[3].recipient`.
        MessageTooLarge: one of them is larger than a message may be.
    """
    wires = [wire_of(job, {}, f"$[{index}]") for index, job in enumerate(jobs)]
    try:
        checked = msgspec.convert(wires, list[Job])
    except (msgspec.ValidationError, RecursionError) as error:
        raise BodyDoesNotFit(str(error)) from None
    both = zip(checked, wires, strict=True)
    return [_parcel(job, wire, f"$[{index}]") for index, (job, wire) in enumerate(both)]


def _parcel(job: Job, wire: dict[str, Any], place: str) -> Parcel:
    try:
        body = msgspec.json.encode(wire)
    except ValueError as error:  # half of a character among the filters
        raise BodyDoesNotFit(f"{place} cannot be written as JSON: {error}") from None
    if len(body) > limits.MESSAGE_BYTES:
        raise MessageTooLarge(f"{place} has {len(body)} bytes; expected at most {limits.MESSAGE_BYTES}")
    return Parcel(job, wire, body)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _camel(given: Mapping[str, Any]) -> dict[str, Any]:
    return {_camel_word(name): value for name, value in given.items()}


def _camel_word(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
