"""The page of one message: its facts, what it holds, what became of it, and the forms to act on it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from millrace.access.scopes import GRANTS, Scope
from millrace.apps.messaging import rows
from millrace.apps.messaging.jobs import EmailJob, ExportJob, Job, SmsJob
from millrace.apps.messaging.pages.exports import export_of
from millrace.apps.messaging.pages.rooms import Rooms
from millrace.apps.messaging.pages.words import segment, target_of, title_of, tone, type_word
from millrace.apps.messaging.rows import Change, Row
from millrace.apps.messaging.shown import SCHEDULED, status_word
from millrace.dashboard.figures import brief, moment
from millrace.dashboard.turn import Turn
from millrace.http.routes import Answer
from millrace.work import Work

SHOWN_CHANGES = 200
ACTS = {  # what a form may do with a message in this state
    "draft": ("approve", "reject", "reschedule"),
    SCHEDULED: ("reschedule", "cancel"),
    "queued": ("cancel",),
    "failed": ("redrive",),
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a message's history as the page shows it."""

    number: int
    word: str
    tone: str
    at_ms: int
    about: str
    reason: str


async def show_message(rooms: Rooms, turn: Turn) -> Answer:
    """Show a message."""
    return await answer_message(rooms, turn)


async def answer_message(rooms: Rooms, turn: Turn, status: int = 200, problem: str = "") -> Answer:
    """Answer with the page of a message; `problem` is why an act was refused."""
    row, changes = await rooms.platform.read(partial(_read, turn.account_id, turn.request.params["id"]))
    job = rooms.seals.show_row(turn.account_id, row)
    word = status_word(row, turn.desk.clock())
    return turn.page(
        "messages/message.html",
        status,
        here=f"/messages/{segment(row.id)}",
        row=row,
        word=word,
        tone=tone(word),
        type_word=type_word(row.type),
        target=target_of(job),
        title=title_of(job),
        facts=facts_of(row, job, word),
        content=job.content if isinstance(job, EmailJob | SmsJob) else None,
        export=await export_of(turn, row) if isinstance(job, ExportJob) else None,
        steps=[step_of(change) for change in changes],
        earlier=max(0, row.changes - SHOWN_CHANGES),
        acts=acts_of(turn, row, word),
        problem=problem,
    )


def acts_of(turn: Turn, row: Row, word: str) -> list[str]:
    """Give what the key may do with a message in its state; what was delivered before waits for its next attempt."""
    if row.status == "queued" and row.attempts:
        return []
    allowed = GRANTS[turn.request.key.role]
    return [act for act in ACTS.get(word, ()) if _scope(turn, act) in allowed]


def facts_of(row: Row, job: Job | None, word: str) -> list[tuple[str, str]]:
    """Give what is known of a message by name, in the order of the page; what is not known is left out."""
    due = f"{moment(row.due_at_ms)} UTC" if row.due_at_ms is not None else ""
    is_waiting = row.status == "queued" and row.attempts > 0
    facts = {
        ("Note" if tone(row.status) == "good" else "Reason"): row.reason,
        **_held(job),
        "Priority": row.priority,
        "Attempts": str(row.attempts),
        "Next attempt": due if is_waiting else "",
        "Send at": due if word in (SCHEDULED, "draft") else "",
        "Provider": row.provider,
        "Known there as": row.provider_id,
        "Brought by": row.owner,
        "Made": f"{moment(row.created_at_ms)} UTC",
        "Changed": f"{moment(row.updated_at_ms)} UTC",
        "Id": row.id,
        "Job": row.job_id,
        "Correlation": row.correlation_id,
    }
    return [(name, value) for name, value in facts.items() if value]


def step_of(change: Change) -> Step:
    """Make a line of the timeline."""
    word = "queued again" if change.status == "queued" and change.attempt else change.status
    about = [f"attempt {change.attempt}" if change.attempt else "", change.provider or "", f"by {change.actor}"]
    return Step(
        number=change.number,
        word=word,
        tone=tone(change.status),
        at_ms=change.at_ms,
        about=" · ".join(part for part in about if part),
        reason=change.reason or "",
    )


def _scope(turn: Turn, act: str) -> Scope | None:
    route, _ = turn.frame.table.find("POST", f"/api/messages/id/{act}")
    return route.scope


def _held(job: Job | None) -> dict[str, str]:
    if job is None or isinstance(job, EmailJob | SmsJob):  # which have a place of their own on the page
        return {}
    given: dict[str, Any] = msgspec.to_builtins(job)
    names = {"filters": "Filters", "format": "Format", "userId": "For", "notifyEmail": "Told when ready"}
    names |= {"target": "Removes", "olderThan": "Older than"}
    return {
        word: value if isinstance(value := given[name], str) else brief(value)
        for name, word in names.items()
        if given.get(name) is not None
    }


def _read(account_id: str, message_id: str, work: Work) -> tuple[Row, Sequence[Change]]:
    row = rows.find(work, account_id, message_id)
    return row, rows.history(work, account_id, row.id, max(0, row.changes - SHOWN_CHANGES))
