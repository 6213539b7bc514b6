"""From a job to a message in the queue: checked, remembered under its id, written in one transaction."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from millrace import limits
from millrace.apps.messaging import rows
from millrace.apps.messaging.exports import rows as exports
from millrace.apps.messaging.exports.rows import Reach
from millrace.apps.messaging.fields import read_send_at
from millrace.apps.messaging.jobs import EmailJob, ExportJob, Job, SmsJob, id_of, type_of
from millrace.apps.messaging.queues import QUEUE, due_at_ms
from millrace.apps.messaging.rows import Row
from millrace.apps.messaging.sealing import Seals, encode
from millrace.bindings import priority_of
from millrace.bucket import Rate
from millrace.coordination import buckets
from millrace.errors import Conflict, IdempotencyKeyReused, MessageTooLarge, Overloaded, QueueNotFound
from millrace.ids import new_id
from millrace.message import Outgoing
from millrace.placing import Placed
from millrace.sql import queues
from millrace.sql.transaction import RunAgain
from millrace.work import Work

CORRELATION = "X-Correlation-ID"
SEALED_BYTES = limits.MESSAGE_BYTES * 4 // 3 + 1_000  # base64 around what is as large as it may be


class By(NamedTuple):
    """Who brings a job: the key, the id of the request, and whose messages an export of that key may hold."""

    owner: str
    correlation_id: str = ""
    reach: Reach = "all"


class Rules(NamedTuple):
    """What holds for every job on its way in."""

    seals: Seals
    recipient_rate: Rate | None = None


class Queued(NamedTuple):
    """A job that is in the queue, or was before."""

    job_id: str
    id: str
    type: str
    status: rows.Status
    due_at_ms: int | None


def queue_id_of(work: Work, account_id: str) -> str:
    """Give the id of the account's queue.

    Raises:
        QueueNotFound: the account has none.
    """
    queue = queues.named(work.tx, account_id, QUEUE)
    if queue is None:
        raise QueueNotFound(f"Queue '{QUEUE}' does not exist.")
    return queue.id


def queue_jobs(work: Work, account_id: str, jobs: Sequence[Job], rules: Rules, by: By) -> list[Queued]:
    """Put jobs into the queue, all or none. One that is there already under its id, and is the same, counts as put.

    Raises:
        QueueNotFound: the account has no queue for them yet.
        IdempotencyKeyReused: an id stands for another job.
        Conflict: an id stands for a draft, which is for its reviewer, or for what was rejected or cancelled.
        MessageTooLarge, BacklogFull: as for a send.
        Overloaded: a recipient has had enough for now.
    """
    queue_id = queue_id_of(work, account_id)
    named = [id_of(job) for job in jobs]
    earlier = rows.of_ids(work, account_id, [name for name in named if name is not None])
    ids = [name or new_id() for name in named]  # a clean-up has none, and is never a repeat
    fresh: dict[str, Job] = {}
    for message_id, job in zip(ids, jobs, strict=True):
        if message_id in earlier:
            _check_queued(earlier[message_id], job, rules.seals)
        elif message_id in fresh:
            check_same(message_id, rules.seals.hash(fresh[message_id]), job, rules.seals)
        else:
            fresh[message_id] = job
    made = _put(work, account_id, queue_id, fresh, rules, by)
    return [made.get(message_id) or _known(earlier[message_id]) for message_id in ids]


def send_row(work: Work, account_id: str, row: Row, job: Job, rules: Rules, *, reason: str | None = None) -> Row:
    """Put the message of a row that is there into the queue, as an approval does.

    Raises:
        QueueNotFound, MessageTooLarge, BacklogFull, Overloaded: as for `queue_jobs`.
    """
    _check_recipient(work, account_id, job, rules.recipient_rate)
    queue_id = queue_id_of(work, account_id)
    (placed,) = _send(work, account_id, queue_id, {row.id: job}, rules, row.correlation_id)
    work.apply(
        "queue_outbound", {"job_id": placed.id, "message_key": placed.key, "account_id": account_id, "id": row.id}
    )
    note_queued(work, account_id, row.id, job, placed.id, rules)
    queued = row._replace(job_id=placed.id, message_key=placed.key)
    return rows.move(work, account_id, queued, "queued", due_at_ms=read_send_at(job.send_at), reason=reason)


def check_size(job: Job) -> None:
    """Let a job pass that fits into a message.

    Raises:
        MessageTooLarge: it does not.
    """
    size = len(encode(job))
    if size > limits.MESSAGE_BYTES:
        raise MessageTooLarge(f"the job has {size} bytes; expected at most {limits.MESSAGE_BYTES}")


def check_same(id: str, body_hash: bytes, job: Job, seals: Seals) -> None:
    """Let a job pass that is, by its hash, the one that the id stands for.

    Raises:
        IdempotencyKeyReused: it is another.
    """
    if not seals.is_hash_of(body_hash, job):
        raise IdempotencyKeyReused(f"id {id[:64]!r} stands for another job; send this one with an id of its own")


def insert(
    work: Work,
    account_id: str,
    id: str,
    job: Job,
    status: rows.Status,
    rules: Rules,
    by: By,
    placed: Placed | None = None,
) -> Row:
    """Write the row of a job that is new, with the first line of its history.

    Raises:
        RunAgain: somebody else wrote one with this id at this moment.
    """
    kept = rules.seals.keep(account_id, id, job)
    row = Row(
        id=id,
        type=type_of(job),
        status=status,
        priority=job.priority,
        body=kept.body,
        key_id=kept.key_id,
        body_hash=rules.seals.hash(job),
        job_id=None if placed is None else placed.id,
        message_key=None if placed is None else placed.key,
        attempts=0,
        changes=1,
        due_at_ms=read_send_at(job.send_at),
        reason=None,
        provider=None,
        provider_id=None,
        owner=by.owner,
        correlation_id=by.correlation_id,
        created_at_ms=work.now_ms,
        updated_at_ms=work.now_ms,
    )
    if not work.fetch("insert_outbound", {**row._asdict(), "account_id": account_id, "now_ms": work.now_ms}):
        raise RunAgain(f"message {id[:64]!r} was made at the same time")
    if isinstance(job, ExportJob):
        exports.insert(work, account_id, job, by.owner, by.reach)
    rows.add_history(work, account_id, row)
    return row


def note_queued(work: Work, account_id: str, id: str, job: Job, job_id: str, rules: Rules) -> None:
    """Leave who queued what in the audit trail: of the job itself its hash."""
    digest = rules.seals.hash(job).hex()
    work.note(account_id, "message.queued", f"message {id}", type=type_of(job), job=job_id, hash=digest, at=job.send_at)


def _put(
    work: Work, account_id: str, queue_id: str, fresh: Mapping[str, Job], rules: Rules, by: By
) -> dict[str, Queued]:
    if not fresh:
        return {}
    for job in fresh.values():
        _check_recipient(work, account_id, job, rules.recipient_rate)
    places = _send(work, account_id, queue_id, fresh, rules, by.correlation_id)
    made = {}
    for (message_id, job), placed in zip(fresh.items(), places, strict=True):
        kept_as = placed.id if id_of(job) is None else message_id
        row = insert(work, account_id, kept_as, job, "queued", rules, by, placed)
        note_queued(work, account_id, kept_as, job, placed.id, rules)
        made[message_id] = _known(row)
    return made


def _send(
    work: Work, account_id: str, queue_id: str, jobs: Mapping[str, Job], rules: Rules, correlation_id: str
) -> list[Placed]:
    outgoing = [
        _outgoing(account_id, message_id, job, rules.seals, correlation_id, work.now_ms)
        for message_id, job in jobs.items()
    ]
    return work.send(queue_id, outgoing, max_bytes=SEALED_BYTES)


def _outgoing(account_id: str, id: str, job: Job, seals: Seals, correlation_id: str, now_ms: int) -> Outgoing:
    check_size(job)
    return Outgoing(
        body=seals.envelope(account_id, id, job),
        source="messaging",
        headers={CORRELATION: correlation_id} if correlation_id else None,
        send_at_ms=due_at_ms(job, now_ms),
        priority=priority_of(job.priority),
    )


def _check_queued(row: Row, job: Job, seals: Seals) -> None:
    check_same(row.id, row.body_hash, job, seals)
    if row.job_id is None or row.status == "cancelled":  # it never was in the queue, or was taken out of it
        raise Conflict(f"message {row.id[:64]!r} is a {row.status} message; approve it, or send with another id")


def _check_recipient(work: Work, account_id: str, job: Job, rate: Rate | None) -> None:
    """Let a message pass whose recipient has not had too many."""
    if rate is None or not isinstance(job, EmailJob | SmsJob):
        return
    name = f"recipient {sha256(job.recipient.lower().encode()).hexdigest()}"
    wait_seconds = buckets.take(work.tx, account_id, name, 1, rate, work.now_ms)
    if wait_seconds:
        raise Overloaded("the recipient gets no more messages for now", wait_seconds)


def _known(row: Row) -> Queued:
    assert row.job_id is not None
    return Queued(row.job_id, row.id, row.type, row.status, row.due_at_ms)
