"""Which events of telemetry are failures that somebody must hear of, and what a report of one says.

A report names the job, the queue and what went before; it holds no body, no address and no secret.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.clock import iso_milliseconds
from millrace.privacy import scrubbed
from millrace.stacks import LEFT_OUT, exceptions_of

REPORTED = {
    "job.ended": "Job failed",
    "message.failed": "Handler failed with one message",
    "handler.failed": "Handler failed",
    "handler.died": "Handler's process ended unexpectedly",
    "workflow.errored": "Workflow instance failed",
    "cron.failed": "A run of a cron could not be sent",
    "loop.failed": "Background work failed",
    "request.failed": "Request failed unexpectedly",
    "event.refused": "Failed to queue event",
    "store.failed": "Store cannot be used",
    "store.corrupt": "Store is corrupt",
}
NOTED = (
    "message.sent",
    "message.deduplicated",
    "message.received",
    "message.acked",
    "message.released",
    "message.buried",
    "message.dropped",
    "message.expired",
    "message.redriven",
    "lease.stale",
    "queue.purged",
    "handler.lease_lost",
    "job.queued",
    "job.begun",
    "target.opened",
    "target.closed",
)
OF_USERS = ("message.failed", "handler.failed", "workflow.errored")  # whose errors may quote a body
TAGS = (
    *("account_id", "queue", "type", "job_id", "attempt", "attempts", "correlation_id", "message_id", "outcome"),
    *("workflow", "instance_id", "program", "cron", "step"),
)
DETAILS = ("duration_ms", "message_ids", "correlation_ids", "left_out")
STEP_FIELDS = ("account_id", "queue", "type", "job_id", "attempt", "outcome", "count", "target")
TRAIL_MAX = 100

Step = dict[str, Any]


def is_reported(name: str, fields: Mapping[str, Any]) -> bool:
    """Say whether an event is a failure; a job that is done, or put off, is none."""
    return name in REPORTED and fields.get("outcome") not in ("done", "postponed")


def step_of(at_ms: int, name: str, fields: Mapping[str, Any]) -> Step:
    """Give an event as a step on the way to a later failure."""
    data = {field: fields[field] for field in STEP_FIELDS if field in fields}
    return {"timestamp": iso_milliseconds(at_ms), "category": name, "data": data}


def report_of(name: str, fields: Mapping[str, Any], before: Sequence[Step]) -> dict[str, Any]:
    """Write the report of a failure in Sentry's words; a job has its own trail, others what was `before`."""
    error, trail = fields.get("error"), fields.get("trail")
    message = _message(name, fields)
    report: dict[str, Any] = {
        "level": "warning" if fields.get("outcome") == "retried" else "error",
        "logger": "millrace",
        "message": message,
        "tags": {"event": name, **{tag: scrubbed(str(fields[tag])) for tag in TAGS if fields.get(tag) is not None}},
        "extra": {detail: _detail(fields[detail]) for detail in DETAILS if detail in fields},
        "breadcrumbs": {
            "values": list(before) if trail is None else [_step_of_trail(*step) for step in trail[-TRAIL_MAX:]]
        },
    }
    if isinstance(error, BaseException):
        report["exception"] = {"values": exceptions_of(error, is_ours=name not in OF_USERS)}
    else:
        report["fingerprint"] = [name, str(fields.get("queue", "")), str(fields.get("type", "")), message]
    return report


def _detail(value: Any) -> Any:
    """Give a number, or ids; a correlation id is a header, which callers fill."""
    return [scrubbed(str(each)) for each in value] if isinstance(value, list) else value


def _message(name: str, fields: Mapping[str, Any]) -> str:
    sentence = "Job failed, and is tried again" if fields.get("outcome") == "retried" else REPORTED[name]
    reason = fields.get("reason") or fields.get("error")
    if not isinstance(reason, str):
        return sentence
    return f"{sentence}: {LEFT_OUT if name in OF_USERS else scrubbed(reason)}"


def _step_of_trail(at_ms: int, status: str, reason: str | None = None) -> Step:
    return {"timestamp": iso_milliseconds(at_ms), "category": status, "message": scrubbed(reason or "")}
