"""What can be typed about messages to people: `messaging …`, and `queue:demo` and its like."""

import argparse
from pathlib import Path

from millrace.cli.parsing import Commands, add_number, add_verb

PRIORITIES = ("high", "normal", "low")
KINDS = ("email_send", "sms_send")
TARGETS = ("audit_logs", "message_queue", "temp_files")
FORMATS = ("csv", "json", "parquet")
LISTED, LISTED_MAX = 50, 200
A_TIME = "a time with its offset, such as 2026-12-24T18:00:00+01:00"
A_DAY = "a date, such as 2026-01-31, or a time with its offset"


def add_queue_commands(commands: Commands) -> None:
    """Add the commands that try the queue, and the one that runs its consumer."""
    add_verb(commands, "queue:demo", "messaging_trial:demo", "put one job into the queue, and print its id")
    add_verb(commands, "queue:status", "messaging_trial:status", "show how the queue is doing")
    test = add_verb(commands, "queue:test", "messaging_trial:test", "put one job of each type in, and see how they end")
    add_number(test, "--seconds", 1, 3_600, "how long to wait for their ends (60)", default=60)
    consumer = commands.add_parser(
        "queue:consumer",
        help="run consumers only, beside a server that answers",
        description="Serve like serve --role consumer, until SIGTERM or Ctrl-C; a second one does not wait.",
        allow_abbrev=False,
    )
    consumer.set_defaults(run="serve:run", role="consumer", host=None, app=None, handler_seconds=None)
    consumer.set_defaults(dry_run=False, reload=False, show_key=False)
    consumer.add_argument("--data", type=Path, metavar="DIR", help="data directory (DATA_DIR, data)")
    consumer.add_argument("--store", metavar="URL", help="postgresql://… that servers share (DATABASE_URL)")
    consumer.add_argument("--config", metavar="FILE", help="wrangler file (looked for from here upwards; '' for none)")
    consumer.add_argument("--env", dest="environment", metavar="NAME", help="named environment of the file")
    consumer.add_argument("--port", type=int, default=0, help="port for health and metrics (a free one)")


def add_messaging(commands: Commands) -> None:
    """Add `messaging` with its verbs."""
    messaging = commands.add_parser(
        "messaging",
        help="send, review and follow e-mails and text messages",
        description="Send, review and follow e-mails and text messages; make exports and clean-ups.",
    )
    verbs = messaging.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_writing(verbs, "send", "have a message sent, past the review if the key may")
    _add_writing(verbs, "draft", "write a message that waits for a reviewer")
    _add_review(verbs)
    _add_views(verbs)
    _add_exports(verbs)
    _add_cleanups(verbs)


def _add_writing(verbs: Commands, name: str, does: str) -> None:
    verb = add_verb(verbs, name, f"messaging:{name}", does)
    verb.add_argument("recipient", metavar="RECIPIENT", help="e-mail address, or phone number with +")
    content = verb.add_mutually_exclusive_group(required=True)
    content.add_argument("--content", metavar="TEXT", help="what it says")
    content.add_argument("--content-file", metavar="FILE", help="file with what it says, in UTF-8; - is standard input")
    verb.add_argument("--subject", metavar="TEXT", help="subject of an e-mail")
    verb.add_argument(
        "--id", metavar="ID", help="stands for this message: the same again is not another one (a new id)"
    )
    verb.add_argument("--type", choices=KINDS, help="what it is sent as (by the recipient)")
    verb.add_argument("--priority", choices=PRIORITIES, default="normal", help="how soon it is sent (normal)")
    verb.add_argument("--at", metavar="TIME", help=f"when it is sent: {A_TIME}")


def _add_review(verbs: Commands) -> None:
    approve = _add_one(verbs, "approve", "let a draft be sent")
    approve.add_argument("--at", metavar="TIME", help=f"when it is sent: {A_TIME}")
    reject = _add_one(verbs, "reject", "send a draft never")
    reject.add_argument("--reason", metavar="TEXT", help="why, for its author")
    _add_one(verbs, "cancel", "take back a message whose time has not come")
    reschedule = _add_one(verbs, "reschedule", "give a message another time")
    reschedule.add_argument("--at", metavar="TIME", required=True, help=A_TIME)
    _add_one(verbs, "redrive", "have a message that failed tried again")


def _add_views(verbs: Commands) -> None:
    listing = add_verb(verbs, "list", "messaging:list_messages", "list messages, the newest first")
    listing.add_argument("--status", metavar="S", help="only those of this status, such as failed")
    listing.add_argument("--type", metavar="T", help="only those of this type, such as email_send")
    listing.add_argument("--search", metavar="TEXT", help="only those that are found by this")
    add_number(listing, "--limit", 1, LISTED_MAX, "how many (50)", default=LISTED)
    listing.add_argument("--before", metavar="CURSOR", help="go on where the list before ended")
    _add_one(verbs, "show", "show a message")
    _add_one(verbs, "history", "show what became of a message so far")
    watch = _add_one(verbs, "watch", "show what becomes of a message until it has ended", "messaging_streams:watch")
    watch.add_argument("--follow", action="store_true", help="go on until Ctrl-C: its provider may report later")
    failures = add_verb(verbs, "failures", "messaging:failures", "show which failures there are, and how often")
    add_number(failures, "--hours", 1, 744, "of how many hours (24)", default=24)


def _add_exports(verbs: Commands) -> None:
    export = add_verb(
        verbs, "export", "messaging_exports:export", "have a file made of messages, or of the audit trail"
    )
    export.add_argument("--id", metavar="ID", help="stands for this export (a new id)")
    export.add_argument("--format", choices=FORMATS, default="csv", help="of the file (csv)")
    export.add_argument("--source", choices=("messages", "audit"), help="what of (messages)")
    export.add_argument("--start-date", metavar="D", help=f"not before: {A_DAY}")
    export.add_argument("--end-date", metavar="D", help="not after; a day is included")
    export.add_argument("--status", metavar="S", help="only messages of this status")
    export.add_argument("--type", metavar="T", help="only messages of this type")
    export.add_argument("--user", metavar="U", default="command", help="whose export it is (command)")
    export.add_argument("--notify", metavar="ADDRESS", help="e-mail address that is told when it is there")
    exports = add_verb(verbs, "exports", "messaging_exports:exports", "list exports, or show one and get its file")
    exports.add_argument("id", metavar="ID", nargs="?", help="id of the export")
    exports.add_argument("--output", metavar="FILE", type=Path, help="with ID: write its file here")


def _add_cleanups(verbs: Commands) -> None:
    cleanup = add_verb(verbs, "cleanup", "messaging_exports:cleanup", "archive and remove what is old")
    cleanup.add_argument("target", choices=TARGETS, help="what")
    cleanup.add_argument("--older-than", metavar="D", required=True, help=A_DAY)
    add_verb(verbs, "archives", "messaging_exports:archives", "list what was archived, the newest first")
    restore = add_verb(verbs, "restore", "messaging_exports:restore", "put back what an archive holds")
    restore.add_argument("id", metavar="ARCHIVE", help="id of the archive")


def _add_one(verbs: Commands, name: str, does: str, run: str | None = None) -> argparse.ArgumentParser:
    verb = add_verb(verbs, name, run or f"messaging:{name}", does)
    verb.add_argument("id", metavar="ID", help="id of the message")
    return verb
