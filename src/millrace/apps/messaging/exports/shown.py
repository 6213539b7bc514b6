"""Exports as they are shown over HTTP."""

import msgspec

from millrace.apps.messaging.exports.links import LinkRules, url_of
from millrace.apps.messaging.exports.rows import Export
from millrace.apps.messaging.jobs import ExportJob
from millrace.apps.messaging.rows import Row
from millrace.apps.messaging.sealing import Seals
from millrace.apps.messaging.shown import status_word
from millrace.clock import iso_milliseconds

WHOLE = 100


class Progress(msgspec.Struct, frozen=True):
    """How many rows were looked at; total and percentage are null while nobody knows."""

    rows: int
    total: int | None
    percentage: int | None


class ExportShown(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An export. `rows` are those in its file, which `downloadUrl` leads to while it is there."""

    export_id: str
    status: str
    format: str
    user_id: str | None
    rows: int
    bytes: int | None
    progress: Progress
    download_url: str | None
    created_at: str
    finished_at: str | None
    expires_at: str | None
    reason: str | None


class ExportList(msgspec.Struct, frozen=True):
    """Exports, the newest first."""

    exports: list[ExportShown]


def shown(export: Export, row: Row | None, account_id: str, seals: Seals, links: LinkRules, now_ms: int) -> ExportShown:
    """Show an export; the row of its job may be cleaned away."""
    status = _status(export, row, now_ms)
    return ExportShown(
        export_id=export.id,
        status=status,
        format=export.format,
        user_id=None if row is None else _user_id(row, account_id, seals),
        rows=export.written,
        bytes=export.bytes,
        progress=_progress(export),
        download_url=url_of(export, account_id, links, now_ms) if status == "done" else None,
        created_at=iso_milliseconds(export.asked_at_ms),
        finished_at=_time(export.finished_at_ms),
        expires_at=_time(export.expires_at_ms),
        reason=None if row is None or export.finished_at_ms is not None else row.reason,
    )


def _status(export: Export, row: Row | None, now_ms: int) -> str:
    """Give the status: the file's own once it is finished, else that of the job."""
    if export.finished_at_ms is not None:
        return "done" if export.removed_at_ms is None else "expired"
    return "failed" if row is None else status_word(row, now_ms)


def _progress(export: Export) -> Progress:
    if export.finished_at_ms is not None:
        return Progress(export.examined, export.examined, WHOLE)
    if export.begun_at_ms is None or export.total is None:
        return Progress(export.examined, export.total, None)
    percentage = export.examined * WHOLE // export.total if export.total else 0
    return Progress(export.examined, export.total, min(percentage, WHOLE - 1))


def _user_id(row: Row, account_id: str, seals: Seals) -> str | None:
    job = seals.show_row(account_id, row)
    return job.user_id if isinstance(job, ExportJob) else None


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_milliseconds(at_ms)
