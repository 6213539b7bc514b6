"""A row for each job, and each of its changes: one line of history, one update, told to whoever follows it."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from millrace.audit import ACTING
from millrace.errors import NotFound
from millrace.sql.transaction import RunAgain
from millrace.work import Work

Status = Literal[
    "draft",  # waits for a reviewer
    "rejected",
    "queued",
    "cancelled",
    "processing",
    "sent",  # a provider has it
    "stored",  # it lies in a file, and went nowhere
    "delivered",  # a provider reports so, as in the next
    "undelivered",
    "failed",
    "done",  # an export, a clean-up
]
ENDED = ("rejected", "cancelled", "sent", "stored", "delivered", "undelivered", "failed", "done")
DONE = ("sent", "stored", "delivered", "done")
FAILED = ("failed", "undelivered")
REASON_CHARACTERS = 500
LAST_MS = (1 << 63) - 1


class Row(NamedTuple):
    """A job as it is stored. `body` is sealed when there is a `key_id`."""

    id: str
    type: str
    status: Status
    priority: str
    body: bytes
    key_id: str | None
    body_hash: bytes
    job_id: str | None
    message_key: int | None
    attempts: int
    changes: int
    due_at_ms: int | None
    reason: str | None
    provider: str | None
    provider_id: str | None
    owner: str
    correlation_id: str
    created_at_ms: int
    updated_at_ms: int


class Change(NamedTuple):
    """One line of a job's history."""

    number: int
    at_ms: int
    status: str
    attempt: int
    reason: str | None
    provider: str | None
    actor: str


def storable(words: str) -> str:
    """Cut words from elsewhere to what a row should hold, and replace what is no text in every database."""
    return words[:REASON_CHARACTERS].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def watch_name(account_id: str, message_id: str) -> str:
    """Name a job to `Store.watch`."""
    return f"message:{account_id}:{message_id}"


def find(work: Work, account_id: str, message_id: str) -> Row:
    """Give the job of that id, or else of that job id.

    Raises:
        NotFound: the account has neither.
    """
    row = work.fetch_one("outbound", (account_id, message_id))
    if row is None:
        of_job = work.fetch_one("outbound_of_job", (account_id, message_id))
        row = work.fetch_one("outbound", (account_id, of_job[0])) if of_job else None
    if row is None:
        raise NotFound(f"message {message_id[:64]!r} does not exist")
    return Row(*row)


def of_ids(work: Work, account_id: str, ids: Iterable[str]) -> dict[str, Row]:
    """Give those of these ids that there are."""
    rows = work.fetch("outbound_of_ids", {"account_id": account_id, "ids": work.tx.array(sorted(set(ids)))})
    return {row[0]: Row(*row) for row in rows}


def of_jobs(work: Work, account_id: str, job_ids: Iterable[str]) -> dict[str, Row]:
    """Give the rows by the ids of their jobs, as far as there are any."""
    rows = work.fetch("outbound_of_jobs", {"account_id": account_id, "job_ids": work.tx.array(sorted(set(job_ids)))})
    return {str(row.job_id): row for row in (Row(*found) for found in rows)}


def move(
    work: Work,
    account_id: str,
    row: Row,
    status: Status,
    *,
    attempts: int | None = None,
    due_at_ms: int | None = None,
    reason: str | None = None,
    provider: str | None = None,
    provider_id: str | None = None,
) -> Row:
    """Give a job another status, with a line of history; who acts is whoever acts in this task.

    Raises:
        RunAgain: it has changed since it was read.
    """
    reason = None if reason is None else storable(reason)
    moved = row._replace(
        status=status,
        attempts=row.attempts if attempts is None else attempts,
        changes=row.changes + 1,
        due_at_ms=row.due_at_ms if due_at_ms is None else due_at_ms,
        reason=reason,
        provider=provider or row.provider,
        provider_id=provider_id or row.provider_id,
        updated_at_ms=work.now_ms,
    )
    bindings = {**moved._asdict(), "account_id": account_id, "now_ms": work.now_ms}
    names = (
        "account_id",
        "id",
        "status",
        "attempts",
        "changes",
        "due_at_ms",
        "reason",
        "provider",
        "provider_id",
        "now_ms",
    )
    if not work.fetch("move_outbound", {name: bindings[name] for name in names}):
        raise RunAgain(f"message {row.id[:64]!r} was changed at the same time")
    add_history(work, account_id, moved, reason, provider)
    return moved


def add_history(work: Work, account_id: str, row: Row, reason: str | None = None, provider: str | None = None) -> None:
    """Write the line of history of a row's latest change, and tell those who follow it."""
    line = {
        "account_id": account_id,
        "message_id": row.id,
        "number": row.changes,
        "now_ms": work.now_ms,
        "status": row.status,
        "attempt": row.attempts,
        "reason": reason,
        "provider": provider,
        "actor": ACTING.get().name,
    }
    work.apply("insert_history", line)
    work.tx.wake(watch_name(account_id, row.id))


def history(work: Work, account_id: str, message_id: str, after: int = 0, limit: int = 1_000) -> list[Change]:
    """Give the lines of a job's history after a number, oldest first."""
    bindings = {"account_id": account_id, "message_id": message_id, "after": after, "limit": limit}
    return [Change(*row) for row in work.fetch("history_after", bindings)]
