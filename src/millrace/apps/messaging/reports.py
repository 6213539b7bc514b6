"""What providers report of messages they have taken, as functions of an open transaction.

A report may come before our own row says `sent`: then it is kept, and counts as soon as the row does.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from millrace.apps.messaging import rows
from millrace.apps.messaging.jobs import EmailJob, SmsJob
from millrace.apps.messaging.providers.scrub import without_recipient
from millrace.apps.messaging.queueing import Rules
from millrace.apps.messaging.rows import Row, Status
from millrace.coordination.claims import claim
from millrace.ids import new_id
from millrace.work import Work

Event = Literal["sent", "delivered", "undelivered", "failed", "complained", "delayed"]

REPEAT_MS = 3_600_000  # so long a report is remembered by its id: signatures end far sooner
SINCE_MS = 600_000
KEPT_MS = 86_400_000
CHUNK = 200

PROVIDERS = {
    "twilio": ("twilio",),
    "resend": ("resend",),
    "email": ("smtp", "resend"),
}  # whose messages each reports of
STEPS: dict[tuple[Status, Event], Status] = {
    ("sent", "delivered"): "delivered",
    ("sent", "undelivered"): "undelivered",
    ("sent", "failed"): "failed",
    ("sent", "complained"): "sent",  # a line of history, and nothing else, as in the next
    ("sent", "delayed"): "sent",
    ("delivered", "complained"): "delivered",
}
UNSENT = ("queued", "processing")


class Report(NamedTuple):
    """One report. It names the message by our id of it, or by the provider's.

    `once` is the id under which the provider repeats it; `reason` names no recipient by address or number.
    """

    provider: str
    event: Event
    provider_id: str | None = None
    message_id: str | None = None
    reason: str | None = None
    account_id: str | None = None
    once: str | None = None

    @property
    def reference(self) -> str:
        """Name the message as it is looked up later."""
        return f"message:{self.message_id}" if self.message_id else f"{self.provider}:{self.provider_id}"


def take(work: Work, account_id: str, report: Report, rules: Rules) -> Row | None:
    """Let a report count, or keep it until its message is there as sent; give the message if it has another status now.

    A repeat changes nothing.
    """
    if report.once is not None:
        key = f"{report.provider} {report.once}"
        if not claim(work.tx, account_id, "delivery report", key, new_id(), work.now_ms, REPEAT_MS).is_first:
            return None
    row = _find(work, account_id, report)
    if row is not None and row.status not in UNSENT:
        return _apply(work, account_id, row, report, rules)
    place = {"account_id": account_id, "reference": report.reference, "event": report.event}
    work.apply("keep_report", {**place, "reason": report.reason, "now_ms": work.now_ms})
    return None


def apply_kept(work: Work, account_id: str, row: Row, rules: Rules) -> Row:
    """Let reports count that came before a message was known as sent; give the message as it is then."""
    if row.status != "sent":
        return row
    references = _references(row)
    bindings = {"account_id": account_id, "references": work.tx.array(references)}
    for reference, event, reason in work.fetch("reports_of", bindings):
        place = {"account_id": account_id, "reference": reference, "event": event}
        if work.fetch("delete_report", place):  # unless another server does the same at this moment
            report = Report(reference.partition(":")[0], event, reason=reason)
            row = _apply(work, account_id, row, report, rules) or row
    return row


def match_kept(
    work: Work, account_id: str, rules: Rules, after: tuple[int, str, str]
) -> tuple[list[Row], tuple[int, str, str] | None]:
    """Try one chunk of the kept reports of the last minutes again; give the messages that changed, and where to go on.

    A report that was kept at the moment at which its message was written as sent saw nothing of that, nor was it seen.
    """
    at_ms, reference, event = after
    bindings = {"account_id": account_id, "since_ms": work.now_ms - SINCE_MS, "limit": CHUNK,
                "after_ms": at_ms, "after_reference": reference, "after_event": event}  # fmt: skip
    kept = work.fetch("reports_since", bindings)
    found = [_find(work, account_id, _report_of(one[0], one[1])) for one in kept]
    sent = {row.id: row for row in found if row is not None and row.status not in UNSENT}
    changed = [apply_kept(work, account_id, row, rules) for row in sent.values()]
    last = (kept[-1][3], kept[-1][0], kept[-1][1]) if len(kept) == CHUNK else None
    return [row for row in changed if row.status != sent[row.id].status], last


def forget(work: Work, account_id: str) -> int:
    """Drop one chunk of the reports that nothing was found for within a day; give how many."""
    bindings = {"account_id": account_id, "before_ms": work.now_ms - KEPT_MS, "limit": CHUNK}
    old = work.fetch("old_reports", bindings)
    for reference, event in old:
        work.apply("delete_report", {"account_id": account_id, "reference": reference, "event": event})
    return len(old)


def _apply(work: Work, account_id: str, row: Row, report: Report, rules: Rules) -> Row | None:
    step = STEPS.get((row.status, report.event))
    if step is None:
        return None
    reason = _scrubbed(account_id, row, report, rules)
    moved = rows.move(work, account_id, row, step, reason=reason, provider=row.provider)
    return moved if step != row.status else None


def _scrubbed(account_id: str, row: Row, report: Report, rules: Rules) -> str | None:
    """Say what is known of the cause, without the recipient's name, too."""
    said = report.reason or (report.event if report.event in ("complained", "delayed") else None)
    if said is None:
        return None
    job = rules.seals.show_row(account_id, row)
    if job is None:  # nobody can tell what stands in the reason
        return report.event
    return without_recipient(said, job) if isinstance(job, EmailJob | SmsJob) else said


def _find(work: Work, account_id: str, report: Report) -> Row | None:
    """Give the message that a report is about, if it went out by a provider that may report of it."""
    providers = PROVIDERS.get(report.provider, ())
    if report.message_id is not None:
        row = rows.of_ids(work, account_id, [report.message_id]).get(report.message_id)
        return row if row is not None and (row.provider is None or row.provider in providers) else None
    for provider in providers:
        bindings = {"account_id": account_id, "provider": provider, "provider_id": report.provider_id}
        found = work.fetch_one("outbound_of_provider", bindings)
        if found is not None:
            return rows.of_ids(work, account_id, [found[0]])[found[0]]
    return None


def _references(row: Row) -> Iterable[str]:
    """Name a message in all ways in which reports may have named it."""
    named = [f"message:{row.id}"] if row.type == "email_send" else []
    if row.provider_id is None:
        return named
    return [
        *named,
        *(f"{name}:{row.provider_id}" for name, providers in PROVIDERS.items() if row.provider in providers),
    ]


def _report_of(reference: str, event: Event) -> Report:
    provider, _, name = reference.partition(":")
    if provider == "message":
        return Report("email", event, message_id=name)
    return Report(provider, event, provider_id=name)
