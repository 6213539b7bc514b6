"""Types and statuses as a person reads them, and the addresses of messages within the dashboard."""

from urllib.parse import quote

from millrace.apps.messaging.jobs import CleanupJob, EmailJob, ExportJob, Job, SmsJob, read_filters

TYPE_WORDS = {"email_send": "e-mail", "sms_send": "SMS", "export_generation": "export", "cleanup": "clean-up"}
STATUSES = (
    "draft",
    "scheduled",
    "queued",
    "processing",
    "sent",
    "delivered",
    "stored",
    "done",
    "failed",
    "undelivered",
    "rejected",
    "cancelled",
)
TONES = {  # classes of the style sheet
    "draft": "busy",
    "processing": "busy",
    "sent": "good",
    "delivered": "good",
    "stored": "good",
    "done": "good",
    "failed": "bad",
    "undelivered": "bad",
    "rejected": "bad",
}
FAILURES = "failures"  # a page of its own, beside those of messages
UNOPENED = "sealed with a master key that this server does not have"


def type_word(type: str) -> str:
    """Give the word for a type of jobs; one that we do not know stands for itself."""
    return TYPE_WORDS.get(type, type)


def tone(status: str) -> str:
    """Give the class of a status, "" for one that is neither good nor bad."""
    return TONES.get(status, "")


def segment(message_id: str) -> str:
    """Write an id as the last part of an address; it is never taken for the page of failures."""
    if message_id == FAILURES:
        return f"%{ord(FAILURES[0]):02X}{FAILURES[1:]}"
    return quote(message_id, safe="")


def target_of(job: Job | None) -> str:
    """Say whom or what a job is for."""
    match job:
        case EmailJob() | SmsJob():
            return job.recipient
        case ExportJob():
            return f"{read_filters(job.filters).source} as {job.format}"
        case CleanupJob():
            return job.target
    return UNOPENED


def subject_of(job: Job | None) -> str:
    """Say what a job is about, in a line."""
    match job:
        case EmailJob():
            return job.subject
        case SmsJob():
            return " ".join(job.content.split())
        case ExportJob():
            return f"for {job.user_id}"
        case CleanupJob():
            return f"older than {job.older_than}"
    return ""


def title_of(job: Job | None) -> str:
    """Name a job at the head of its page."""
    match job:
        case EmailJob():
            return job.subject or "No subject"
        case SmsJob():
            return f"SMS to {job.recipient}"
        case ExportJob():
            return f"Export {job.export_id}"
        case CleanupJob():
            return f"Clean-up of {job.target}"
    return "Message"
