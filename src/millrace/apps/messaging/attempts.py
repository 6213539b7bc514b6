"""Attempts at jobs, as functions of an open transaction: begun with a delivery, closed with its settlement."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from millrace.apps.messaging import rows
from millrace.apps.messaging.ends import End
from millrace.apps.messaging.jobs import Job
from millrace.apps.messaging.providers.contract import TURN
from millrace.apps.messaging.queueing import CORRELATION, By, Rules, insert, note_queued
from millrace.apps.messaging.queues import QUEUE
from millrace.apps.messaging.reports import apply_kept
from millrace.apps.messaging.rows import DONE, REASON_CHARACTERS, Change, Row
from millrace.apps.messaging.sealing import named
from millrace.apps.messaging.status_queue import tell_status
from millrace.batch import BatchMessage
from millrace.errors import BodyDoesNotFit, ConfigurationError, InvalidInput
from millrace.placing import Placed
from millrace.settlement import Ack, Buried, Outcome, Postpone, Reject, Released, Removed, Retry, Settlement
from millrace.sql import queue_state, queues
from millrace.work import Work

QUEUE_OWNER = "queue"  # stands for the key of a job that came through the queue itself
TRAIL = 100


class Attempt(NamedTuple):
    """One try of a job. One with an `end` is over before it begins: it was done before, or is no job at all."""

    message: BatchMessage[Any]
    id: str
    type: str
    number: int
    job: Job | None = None
    end: End | None = None
    has_turn: bool = False  # in the rate of its provider


class Closed(NamedTuple):
    """What a settlement made of a job: done, retried, failed, postponed, or None when another delivery has it."""

    outcome: str | None
    reason: str | None = None
    trail: Sequence[Change] = ()


def begin(account_id: str, messages: Sequence[BatchMessage[Any]], rules: Rules, work: Work) -> list[Attempt]:
    """Write that these deliveries are being tried; a job without a row, sent past us, gets one."""
    known = rows.of_jobs(work, account_id, [message.id for message in messages])
    return [_begin(work, account_id, message, known.get(message.id), rules) for message in messages]


def close(account_id: str, attempt: Attempt, end: End, rules: Rules, work: Work) -> Closed:
    """Settle a delivery, and write what became of the job.

    A success is written even when the lease is lost by then: the provider has taken the message. A failure is not
    when another delivery has succeeded meanwhile.
    """
    row = rows.of_ids(work, account_id, [attempt.id]).get(attempt.id)
    is_its_own = row is not None and row.job_id == attempt.message.id
    is_done = is_its_own and row is not None and row.status in DONE
    settlement = _settle(work, account_id, attempt, End(outcome=Ack()) if is_done else end)
    if row is None or not is_its_own or (attempt.end is not None and end.is_success):
        return Closed("done" if end.is_success else "failed", end.reason)
    if not end.is_success and (is_done or settlement is None):
        return Closed(None, end.reason)
    row = _move(work, account_id, row, end, settlement)
    if end.is_success:
        row = apply_kept(work, account_id, row, rules)
    tell_status(work, account_id, row)
    outcome = _word(row, end)
    trail = (
        rows.history(work, account_id, row.id, max(0, row.changes - TRAIL)) if outcome in ("retried", "failed") else ()
    )
    return Closed(outcome, row.reason, trail)


def _begin(work: Work, account_id: str, message: BatchMessage[Any], row: Row | None, rules: Rules) -> Attempt:
    if row is not None and row.status in (*DONE, "cancelled"):  # it was done, and its ack was lost
        return Attempt(message, row.id, row.type, row.attempts, end=End(outcome=Ack()))
    try:
        job = _read(account_id, message, row, rules)
    except (InvalidInput, ConfigurationError) as error:
        return _refused(work, account_id, message, row, error)
    if row is None:
        message_id = named(job, message.id)
        known = rows.of_ids(work, account_id, [message_id]).get(message_id)
        if known is not None:
            return _repeat(message, known, job, rules)
        row = _adopt(work, account_id, message, message_id, job, rules)
    begun = rows.move(work, account_id, row, "processing", attempts=row.attempts + 1)
    return Attempt(message, row.id, row.type, begun.attempts, job=job, has_turn=row.reason == TURN)


def _read(account_id: str, message: BatchMessage[Any], row: Row | None, rules: Rules) -> Job:
    if row is not None:
        return rules.seals.open_row(account_id, row)
    try:
        body = message.body
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BodyDoesNotFit(f"the body cannot be read: {error}") from None
    return rules.seals.read_envelope(account_id, body)


def _refused(work: Work, account_id: str, message: BatchMessage[Any], row: Row | None, error: Exception) -> Attempt:
    """Bury what is no job; one that cannot be opened is tried again, for another server may have the master key."""
    reason = rows.storable(str(error))
    outcome: Outcome = Reject(reason) if isinstance(error, InvalidInput) else Retry(reason=reason)
    end = End(outcome=outcome, reason=reason)
    if row is None:
        return Attempt(message, message.id, "unknown", message.failures + 1, end=end)
    begun = rows.move(work, account_id, row, "processing", attempts=row.attempts + 1)
    return Attempt(message, row.id, row.type, begun.attempts, end=end)


def _repeat(message: BatchMessage[Any], known: Row, job: Job, rules: Rules) -> Attempt:
    """Drop a job that came a second time under its id; bury another one that came under it."""
    if rules.seals.is_hash_of(known.body_hash, job):
        return Attempt(message, known.id, known.type, known.attempts, end=End(outcome=Ack()))
    reason = f"id {known.id[:64]!r} stands for another job"
    return Attempt(message, known.id, known.type, 1, end=End(outcome=Reject(reason), reason=reason))


def _adopt(work: Work, account_id: str, message: BatchMessage[Any], id: str, job: Job, rules: Rules) -> Row:
    """Write the row of a job that was sent into the queue past our door, and note it as one that came through that."""
    note_queued(work, account_id, id, job, message.id, rules)
    by = By(QUEUE_OWNER, message.headers.get(CORRELATION, ""))
    return insert(work, account_id, id, job, "queued", rules, by, Placed(message.id, message.lease.key))


def _settle(work: Work, account_id: str, attempt: Attempt, end: End) -> Settlement | None:
    """Settle the delivery; None when its lease no longer counts, or somebody has deleted the queue."""
    queue = queues.named(work.tx, account_id, QUEUE)
    if queue is None:
        return None
    outcome = _outcome(work, queue.id, attempt, end)
    if attempt.end is None:
        outcome = _counted(outcome, attempt.number)
    return work.settle_delivery(queue.id, attempt.message, outcome)


def _outcome(work: Work, queue_id: str, attempt: Attempt, end: End) -> Outcome:
    """Give what the engine is told; a provider that asks for a pause gets it when it is longer than our own."""
    outcome = end.outcome
    if not isinstance(outcome, Retry) or outcome.delay_seconds is None:
        return outcome
    consumer = queue_state.load(work.tx, queue_id).queue.consumer
    backoff = consumer.policy.backoff if consumer is not None else None
    own_seconds = backoff.seconds(attempt.message.failures + 1, 0.5) if backoff is not None else 0
    return outcome if outcome.delay_seconds > own_seconds else Retry(None, outcome.reason)


def _counted(outcome: Outcome, number: int) -> Outcome:
    """Say with the reason which attempt it was: a dead letter counts its deliveries anew."""
    tail = f" (attempt {number})"
    match outcome:
        case Reject(reason=reason):
            return Reject(reason[: REASON_CHARACTERS - len(tail)] + tail)
        case Retry(delay_seconds=delay_seconds, reason=str(reason)):
            return Retry(delay_seconds, reason[: REASON_CHARACTERS - len(tail)] + tail)
    return outcome


def _move(work: Work, account_id: str, row: Row, end: End, settlement: Settlement | None) -> Row:
    about: dict[str, Any] = {"reason": end.reason, "provider": end.provider}
    if end.is_success:
        return rows.move(work, account_id, row, end.status, provider_id=end.provider_id, **about)
    match settlement:
        case Released(visible_at_ms=due_at_ms):
            tried = row.attempts - isinstance(end.outcome, Postpone)
            return rows.move(work, account_id, row, "queued", attempts=tried, due_at_ms=due_at_ms, **about)
        case Buried() | Removed():
            about_job = {"type": row.type, "job": row.job_id, "attempts": row.attempts}
            work.note(account_id, "message.failed", f"message {row.id}", **about_job)
    return rows.move(work, account_id, row, "failed", **about)


def _word(row: Row, end: End) -> str:
    if end.is_success:
        return "done"
    if row.status == "failed":
        return "failed"
    return "postponed" if isinstance(end.outcome, Postpone) else "retried"
