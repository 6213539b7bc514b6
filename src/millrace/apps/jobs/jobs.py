"""Jobs: each is a message of the queue `jobs`, a row that says whose it is, and a run that it belongs to."""

import re
from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from millrace.apps.jobs import runs
from millrace.apps.jobs.runs import Change
from millrace.errors import IdempotencyKeyReused, QueueNotFound
from millrace.message import Outgoing
from millrace.platform import QueueNeed
from millrace.queue import QueueSettings
from millrace.sql import queues
from millrace.work import Work

QUEUE, DEAD_LETTERS = "jobs", "jobs-dlq"
NEEDS = (
    QueueNeed(name=DEAD_LETTERS, settings=QueueSettings(message_retention_period=None)),
    QueueNeed(
        name=QUEUE,
        settings=QueueSettings(message_retention_period=None),
        consumer={
            "type": "http_pull",
            "applied_by": "apps/jobs",  # no file of that name takes it for its own
            "dead_letter_queue": DEAD_LETTERS,
            "settings": {"batch_size": 10, "visibility_timeout_ms": 60_000, "max_retries": 4, "retry_delay": 0},
        },
    ),
)

NAME_CHARACTERS = 128  # of a run or a tenant
KEY_CHARACTERS = 1024  # of an object's key
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Name = Annotated[str, Meta(max_length=NAME_CHARACTERS, pattern=r"\S")]  # not blank
ObjectKey = Annotated[str, Meta(max_length=KEY_CHARACTERS, pattern=r"\S")]


class JobBody(msgspec.Struct, frozen=True, rename="camel"):
    """What a job is about: the body of `/jobs/enqueue`, and of the message."""

    run_id: Name
    tenant_id: Name
    r2_key: ObjectKey

    def __post_init__(self) -> None:
        check_printable(runId=self.run_id, tenantId=self.tenant_id, r2Key=self.r2_key)
        check_run_id(self.run_id)


class Added(NamedTuple):
    """A job that is in the queue, or was before (`is_new` is false)."""

    id: str
    is_new: bool


def check_printable(**texts: str | None) -> None:
    """Let texts without control characters pass.

    Raises:
        ValueError: there is one, which the decoder turns into its own error.
    """
    for name, text in texts.items():
        if text is not None and CONTROL.search(text):
            raise ValueError(f"{name} is {text[:40]!r}; expected no control characters")


def check_run_id(run_id: str) -> None:
    """Let a run's id pass that can stand in a URL.

    Raises:
        ValueError: it cannot, which the decoder turns into its own error.
    """
    if run_id in (".", ".."):
        raise ValueError(f"runId is {run_id!r}, which URLs leave out; choose another")


def queue_id_of(work: Work, account_id: str) -> str:
    """Give the id of the account's queue of jobs.

    Raises:
        QueueNotFound: the account has none.
    """
    queue = queues.named(work.tx, account_id, QUEUE)
    if queue is None:
        raise QueueNotFound(f"Queue '{QUEUE}' does not exist.")
    return queue.id


def hash_of_key(key: str, tenant: str | None) -> bytes:
    """Give what is stored of an idempotency key: those of a tenant-scoped caller are that tenant's own."""
    return sha256(f"{tenant or ''}\0{key}".encode()).digest()


def add(work: Work, account_id: str, body: JobBody, key_hash: bytes | None = None) -> Added:
    """Put a job into the queue, with its run: all of it or nothing. The run is made when it is not there.

    Raises:
        QueueNotFound: the account has no queue of jobs yet.
        Conflict: the run is another tenant's.
        IdempotencyKeyReused: the key stands for another job.
    """
    queue_id = queue_id_of(work, account_id)
    earlier = None if key_hash is None else work.fetch_one("job_with_key", (account_id, key_hash))
    if earlier is not None:
        _check_same(body, JobBody(*earlier[1:]))
        return Added(str(earlier[0]), is_new=False)
    (placed,) = work.send(queue_id, [Outgoing(body=msgspec.json.encode(body), source="jobs")])
    if not placed.key:  # the queue's owner has it drop doubles
        return Added(placed.id, is_new=False)
    record(work, account_id, body, placed.id, placed.key, key_hash=key_hash)
    runs.tell(work, account_id, [body.run_id], {placed.id: Change("pending")})
    return Added(placed.id, is_new=True)


def record(
    work: Work,
    account_id: str,
    body: JobBody,
    job_id: str,
    message_key: int,
    *,
    key_hash: bytes | None = None,
) -> None:
    """Write the row of a job whose message is in the queue, and note it as the latest of its run.

    Raises:
        Conflict: the run is another tenant's.
    """
    runs.start(work, account_id, run_id=body.run_id, tenant_id=body.tenant_id, r2_key=body.r2_key, job_id=job_id)
    work.apply(
        "insert_job",
        {
            "id": job_id,
            "account_id": account_id,
            "run_id": body.run_id,
            "tenant_id": body.tenant_id,
            "r2_key": body.r2_key,
            "message_key": message_key,
            "key_hash": key_hash,
            "now_ms": work.now_ms,
        },
    )


def _check_same(body: JobBody, earlier: JobBody) -> None:
    if body != earlier:
        raise IdempotencyKeyReused("the idempotency key was used for another job; enqueue this one with a new key")
