"""What people do with messages, as functions of an open transaction: draft, approve, reject, cancel, move, redrive.

Each leaves a line of history and one in the audit trail. Two at once give one success and one Conflict: a change counts
only upon the one that was read (`rows.move`).
"""

from typing import NamedTuple

import msgspec

from millrace.apps.messaging import rows
from millrace.apps.messaging.fields import read_send_at
from millrace.apps.messaging.jobs import Job, Letter
from millrace.apps.messaging.queueing import (
    By,
    Rules,
    check_same,
    check_size,
    insert,
    queue_id_of,
    queue_jobs,
    send_row,
)
from millrace.apps.messaging.queues import DEAD_LETTERS
from millrace.apps.messaging.rows import Row
from millrace.apps.messaging.shown import status_word
from millrace.apps.messaging.status_queue import tell_status
from millrace.clock import iso_milliseconds
from millrace.errors import Conflict, Forbidden
from millrace.placing import Placed
from millrace.sql import queues
from millrace.work import Work


class Person(NamedTuple):
    """Who acts: a key by its id. Without `may_act` it acts on what it brought itself."""

    key_id: str
    may_act: bool

    def check(self, row: Row) -> None:
        """Let it pass.

        Raises:
            Forbidden: the message is another key's.
        """
        if not self.may_act and row.owner != self.key_id:
            raise Forbidden("the message is another key's; this takes messages:send or messages:review")


def draft(work: Work, account_id: str, letter: Letter, rules: Rules, by: By) -> Row:
    """Keep a message for its reviewer. The same one again, under the same id, is what became of the first.

    Raises:
        IdempotencyKeyReused: the id stands for another job.
        MessageTooLarge: it is.
    """
    check_size(letter)
    known = rows.of_ids(work, account_id, [letter.message_id]).get(letter.message_id)
    if known is not None:
        check_same(known.id, known.body_hash, letter, rules.seals)
        return known
    row = insert(work, account_id, letter.message_id, letter, "draft", rules, by)
    digest = row.body_hash.hex()
    work.note(account_id, "message.drafted", f"message {row.id}", type=row.type, hash=digest, at=letter.send_at)
    return row


def send_direct(work: Work, account_id: str, letter: Letter, rules: Rules, by: By) -> Row:
    """Put a message into the queue without a review; see `queue_jobs`."""
    queue_jobs(work, account_id, [letter], rules, by)
    return rows.find(work, account_id, letter.message_id)


def approve(work: Work, account_id: str, message_id: str, send_at: str | None, rules: Rules) -> Row:
    """Put a draft into the queue, at `send_at` if that is given in place of the time that its author named.

    Raises:
        NotFound: there is no such message.
        Conflict: it is no draft, or not any more.
        QueueNotFound, MessageTooLarge, BacklogFull, Overloaded: as for `send_row`.
    """
    row = _draft(work, account_id, message_id)
    job = _open(account_id, row, rules)
    if send_at is not None:
        job = msgspec.structs.replace(job, send_at=send_at)
        _reseal(work, account_id, row.id, job, rules)
    work.note(account_id, "message.approved", f"message {row.id}", type=row.type, at=job.send_at)
    return send_row(work, account_id, row, job, rules, reason="approved")


def reject(work: Work, account_id: str, message_id: str, reason: str | None) -> Row:
    """End a draft for good; the reason stands in its history, not in the audit trail.

    Raises:
        NotFound, Conflict: as for `approve`.
    """
    row = _draft(work, account_id, message_id)
    work.note(account_id, "message.rejected", f"message {row.id}", type=row.type)
    return _end(work, account_id, row, "rejected", reason)


def cancel(work: Work, account_id: str, message_id: str, person: Person) -> Row:
    """End a draft, or a message that lies in the queue and was never delivered, scheduled or due.

    Raises:
        NotFound: there is no such message.
        Forbidden: it is another key's.
        Conflict: it is too late.
    """
    row = rows.find(work, account_id, message_id)
    person.check(row)
    if not (row.status == "draft" or (row.status == "queued" and _take_back(work, account_id, row))):
        allowed = "a draft, and a message that waits and was not delivered yet, can be cancelled"
        raise _conflict(row, work.now_ms, allowed)
    work.note(account_id, "message.cancelled", f"message {row.id}", type=row.type, job=row.job_id)
    return _end(work, account_id, row, "cancelled", None)


def reschedule(work: Work, account_id: str, message_id: str, send_at: str, person: Person, rules: Rules) -> Row:
    """Give a draft, or a message that is scheduled for later, another time. One that has passed means at once.

    Raises:
        NotFound, Forbidden: as for `cancel`.
        Conflict: its time has come.
    """
    row = rows.find(work, account_id, message_id)
    person.check(row)
    at_ms = read_send_at(send_at)
    assert at_ms is not None
    if not (row.status == "draft" or (row.status == "queued" and _reschedule(work, account_id, row, at_ms))):
        raise _conflict(row, work.now_ms, "a draft, and a message whose time has not come, can be moved")
    job = msgspec.structs.replace(_open(account_id, row, rules), send_at=send_at)
    _reseal(work, account_id, row.id, job, rules)
    work.note(account_id, "message.rescheduled", f"message {row.id}", type=row.type, at=send_at)
    reason = f"moved to {iso_milliseconds(at_ms)}"
    return rows.move(work, account_id, row, row.status, due_at_ms=at_ms, reason=reason)


def redrive(work: Work, account_id: str, message_id: str) -> Row:
    """Put a failed job back into the queue.

    Raises:
        NotFound: there is no such message.
        Conflict: it did not fail, or is not among the dead letters any more.
    """
    row = rows.find(work, account_id, message_id)
    if row.status != "failed":
        raise _conflict(row, work.now_ms, "a message that failed, and lies in the dead letters, can be redriven")
    dead_letters = queues.named(work.tx, account_id, DEAD_LETTERS)
    if dead_letters is None or row.job_id is None or not work.redrive(dead_letters.id, _place(row)):
        raise Conflict(f"message {row.id[:64]!r} is not in the dead letters any more; send it anew, under another id")
    work.note(account_id, "message.redriven", f"message {row.id}", type=row.type, job=row.job_id)
    return rows.move(work, account_id, row, "queued", due_at_ms=work.now_ms, reason="redriven")


def _draft(work: Work, account_id: str, message_id: str) -> Row:
    row = rows.find(work, account_id, message_id)
    if row.status != "draft":
        raise _conflict(row, work.now_ms, "a draft can be approved or rejected")
    return row


def _conflict(row: Row, now_ms: int, allowed: str) -> Conflict:
    tried = ", and was tried before" if row.status == "queued" and row.attempts else ""
    return Conflict(f"message {row.id[:64]!r} is {status_word(row, now_ms)}{tried}; only {allowed}")


def _end(work: Work, account_id: str, row: Row, status: rows.Status, reason: str | None) -> Row:
    ended = rows.move(work, account_id, row, status, reason=reason)
    tell_status(work, account_id, ended)
    return ended


def _take_back(work: Work, account_id: str, row: Row) -> bool:
    return row.job_id is not None and work.take_back(queue_id_of(work, account_id), [_place(row)])[0]


def _reschedule(work: Work, account_id: str, row: Row, at_ms: int) -> bool:
    return row.job_id is not None and work.reschedule(queue_id_of(work, account_id), _place(row), at_ms)


def _place(row: Row) -> Placed:
    assert row.job_id is not None
    return Placed(row.job_id, row.message_key or 0)


def _open(account_id: str, row: Row, rules: Rules) -> Job:
    job = rules.seals.show_row(account_id, row)
    if job is None:
        raise Conflict(f"message {row.id[:64]!r} was sealed with another master key; start the server with that one")
    return job


def _reseal(work: Work, account_id: str, message_id: str, job: Job, rules: Rules) -> None:
    kept = rules.seals.keep(account_id, message_id, job)
    work.apply("reseal_outbound", {**kept._asdict(), "account_id": account_id, "id": message_id})
