"""What follows an export: a letter to whoever waits for it, and the removal of its file when its time is over."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from millrace.apps.messaging.attempts import QUEUE_OWNER
from millrace.apps.messaging.exports import rows
from millrace.apps.messaging.exports.links import LinkRules, plain_path, url_of
from millrace.apps.messaging.exports.rows import Export
from millrace.apps.messaging.fields import ID_CHARACTERS
from millrace.apps.messaging.jobs import CleanupJob, EmailJob, ExportJob, Job
from millrace.apps.messaging.queueing import By, Queued, Rules, queue_jobs
from millrace.apps.messaging.rows import of_ids
from millrace.apps.messaging.settings import MessagingSettings
from millrace.clock import iso_milliseconds
from millrace.ids import new_id
from millrace.work import Work

OWNER = "export"  # stands for the key of what follows
DAY_MS = 86_400_000


class Following(NamedTuple):
    """How jobs are queued, how links are made, and for how long a file is kept."""

    rules: Rules
    links: LinkRules
    kept_ms: int


def kept_ms(settings: MessagingSettings) -> int:
    """Give for how long files are kept, in milliseconds."""
    return round(settings.temp_files_days * DAY_MS)


def queue_following(work: Work, account_id: str, job: ExportJob, following: Following) -> list[Queued]:
    """Queue what follows a file that is finished in this transaction."""
    export = rows.find(work, account_id, job.export_id)
    jobs: list[Job] = [_removal(export)]
    if job.notify_email is not None:
        letter_id = _letter_id(work, account_id, job.export_id)
        jobs.append(_letter(export, job.notify_email, letter_id, _link(work, account_id, export, following.links)))
    rules = following.rules._replace(recipient_rate=None)  # a file is not made again for a letter
    return queue_jobs(work, account_id, jobs, rules, By(OWNER))


def _removal(export: Export) -> CleanupJob:
    """Remove, once the file's time is over, files that were finished no later than this one."""
    assert export.finished_at_ms is not None
    assert export.expires_at_ms is not None
    older_than, send_at = iso_milliseconds(export.finished_at_ms + 1), iso_milliseconds(export.expires_at_ms)
    return CleanupJob(target="temp_files", older_than=older_than, send_at=send_at, priority="low")


def _letter(export: Export, recipient: str, letter_id: str, link: str) -> EmailJob:
    assert export.expires_at_ms is not None
    lines: Sequence[str] = (
        f"Your export {export.id} is ready: {export.written} rows, {export.bytes} bytes.",
        "",
        link,
        "",
        f"The file is kept until {_shown(export.expires_at_ms)}.",
    )
    return EmailJob(
        message_id=letter_id,
        recipient=recipient,
        subject=f"Export {export.id} is ready",
        content="\n".join(lines) + "\n",
        priority="normal",
    )


def _link(work: Work, account_id: str, export: Export, links: LinkRules) -> str:
    """Give the link of the letter. Nobody knows who sent a job past our door: his letter's link asks for a key."""
    if export.owner == QUEUE_OWNER:
        return (links.public_url or "") + plain_path(export.id)
    return url_of(export, account_id, links, work.now_ms)


def _letter_id(work: Work, account_id: str, export_id: str) -> str:
    """Name the letter after the export, unless that is too long for an id, or is somebody's."""
    name = f"export-{export_id}-ready"
    if len(name) > ID_CHARACTERS:
        name = f"export-{sha256(export_id.encode()).hexdigest()}-ready"
    return f"export-{new_id()}-ready" if of_ids(work, account_id, [name]) else name


def _shown(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
