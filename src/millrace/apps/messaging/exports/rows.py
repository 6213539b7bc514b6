"""A row for each export: how far its file is, where it lies, and when it goes."""

import secrets
from typing import Literal, NamedTuple

from millrace.apps.messaging.jobs import ExportJob
from millrace.errors import NotFound
from millrace.work import Work

SECRET_BYTES = 32

Reach = Literal["all", "own"]


class Export(NamedTuple):
    """An export as it is stored. Its `object_key` counts as a file once it is finished."""

    id: str
    format: str
    reach: Reach
    owner: str
    secret: bytes
    object_key: str | None
    examined: int
    total: int | None
    written: int
    bytes: int | None
    asked_at_ms: int
    begun_at_ms: int | None
    finished_at_ms: int | None
    expires_at_ms: int | None
    removed_at_ms: int | None


def insert(work: Work, account_id: str, job: ExportJob, owner: str, reach: Reach) -> None:
    """Write the row of an export that is asked for."""
    row = {
        "account_id": account_id,
        "id": job.export_id,
        "format": job.format,
        "reach": reach,
        "owner": owner,
        "secret": secrets.token_bytes(SECRET_BYTES),
        "now_ms": work.now_ms,
    }
    work.apply("insert_export", row)


def find(work: Work, account_id: str, export_id: str) -> Export:
    """Give an export.

    Raises:
        NotFound: the account has none of that id.
    """
    row = work.fetch_one("export", (account_id, export_id))
    if row is None:
        raise NotFound(f"export {export_id[:64]!r} does not exist")
    return Export(*row)


def of_owner(work: Work, account_id: str, owner: str, limit: int) -> list[Export]:
    """Give the exports that a key asked for, the newest first."""
    return [Export(*row) for row in work.fetch("exports_of_owner", (account_id, owner, limit))]


def begin(work: Work, account_id: str, export_id: str, object_key: str, total: int | None) -> None:
    """Write that an attempt has begun: from the start, into a file of its own."""
    row = {"account_id": account_id, "id": export_id, "object_key": object_key, "total": total}
    work.apply("begin_export", {**row, "now_ms": work.now_ms})


def advance(work: Work, account_id: str, export_id: str, object_key: str, examined: int, written: int) -> None:
    """Write how far an attempt is."""
    row = {"account_id": account_id, "id": export_id, "object_key": object_key}
    work.apply("advance_export", {**row, "examined": examined, "written": written})


def finish(
    work: Work,
    account_id: str,
    export_id: str,
    object_key: str,
    *,
    examined: int,
    written: int,
    size: int,
    expires_at_ms: int,
) -> bool:
    """Write that the file is there, and say whether it is: another attempt may have taken this one's place."""
    row = {
        "account_id": account_id,
        "id": export_id,
        "object_key": object_key,
        "examined": examined,
        "written": written,
        "bytes": size,
        "expires_at_ms": expires_at_ms,
        "now_ms": work.now_ms,
    }
    return bool(work.fetch("finish_export", row))
