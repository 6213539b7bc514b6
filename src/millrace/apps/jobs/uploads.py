"""Uploads: a run with its job, and the permission to put its object there."""

import secrets

import msgspec

from millrace.apps.jobs import jobs, runs
from millrace.apps.jobs.filenames import object_key
from millrace.apps.jobs.jobs import JobBody
from millrace.apps.jobs.settling import UPLOAD_GRACE_MS
from millrace.apps.jobs.signing import Ticket
from millrace.errors import NotFound
from millrace.ids import new_id
from millrace.work import Work


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is going to upload."""

    tenant_id: str
    content_type: str
    filename: str
    max_bytes: int


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What was made for it."""

    job_id: str
    r2_key: str
    ticket: Ticket


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as it is stored: what it allows, and where the object goes."""

    ticket: Ticket
    r2_key: str


def create(work: Work, account_id: str, announced: Announced) -> Created:
    """Make run, job and permission, all or nothing.

    Raises:
        QueueNotFound: the account has no queue of jobs yet.
    """
    run_id = new_id()
    key = object_key(announced.tenant_id, run_id, announced.filename)
    ticket = Ticket(
        account_id=account_id,
        run_id=run_id,
        content_type=announced.content_type,
        max_bytes=announced.max_bytes,
        expires_at_ms=work.now_ms + UPLOAD_GRACE_MS,
        secret=secrets.token_bytes(32),
    )
    added = jobs.add(work, account_id, JobBody(run_id, announced.tenant_id, key))
    work.apply("insert_upload", {**ticket._asdict(), "r2_key": key})
    work.note(account_id, "upload.created", f"run {run_id}", tenant=announced.tenant_id, type=announced.content_type)
    return Created(job_id=added.id, r2_key=key, ticket=ticket)


def find(work: Work, run_id: str) -> Upload | None:
    """Give the upload of a run, of whatever account."""
    row = work.fetch_one("upload", (run_id,))
    if row is None:
        return None
    account_id, r2_key, content_type, max_bytes, expires_at_ms, secret = row
    ticket = Ticket(account_id, run_id, content_type, max_bytes, expires_at_ms, secret)
    return Upload(ticket=ticket, r2_key=r2_key)


def key_to_read(work: Work, account_id: str, run_id: str, tenant: str | None, *, may_read_any: bool) -> tuple[str, str]:
    """Give the key of a run's object, and its content type.

    A run may name any key, so only who `may_read_any` reads others than those of uploads.

    Raises:
        NotFound: no such run, or no object that the caller may read.
    """
    run = runs.find(work, account_id, run_id, tenant)
    upload = find(work, run_id)
    if upload is not None and upload.ticket.account_id == account_id and upload.r2_key == run.r2_key:
        return run.r2_key, upload.ticket.content_type
    if not may_read_any:
        raise NotFound(f"run {run_id[:128]!r} has no upload")
    return run.r2_key, "application/octet-stream"


def arrived(work: Work, ticket: Ticket, size: int, etag: str) -> None:
    """Note that the object is there, and tell the followers of its run."""
    bindings = {"run_id": ticket.run_id, "size": size, "etag": etag, "now_ms": work.now_ms}
    work.apply("upload_arrived", bindings)
    runs.object_arrived(work, ticket.account_id, ticket.run_id, size)
