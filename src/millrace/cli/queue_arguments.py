"""What can be typed about queues and their messages: `queues …`."""

import argparse

from millrace import limits
from millrace.cli.parsing import Commands, add_number, add_verb

PEEK_MESSAGES = 1_000  # more than one request shows; the client turns the pages
PRIORITIES = ("high", "normal", "medium", "low")
A_TIME = "a time with its offset, such as 2026-12-24T18:00:00+01:00"


def add_queues(commands: Commands) -> None:
    """Add `queues` with its verbs."""
    queues = commands.add_parser(
        "queues", help="see and change queues and their messages", description="See and change queues and messages."
    )
    verbs = queues.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_verb(verbs, "list", "queues:list_queues", "list the queues of the account")
    _add_queue_verb(verbs, "info", "show a queue, its consumer and its backlog")
    _add_create(verbs)
    _add_set(verbs)
    _add_queue_verb(verbs, "delete", "delete a queue with its messages")
    _add_queue_verb(verbs, "pause", "deliver nothing until resumed")
    _add_queue_verb(verbs, "resume", "deliver again")
    purge = _add_queue_verb(verbs, "purge", "delete all messages of a queue for good")
    purge.add_argument("--force", action="store_true", help="say that the deletion is meant; purge needs it")
    _add_redrive(verbs)
    _add_message_verbs(verbs)


def _add_message_verbs(verbs: Commands) -> None:
    _add_send(verbs)
    peek = _add_queue_verb(verbs, "peek", "show messages without taking them", "messages")
    add_number(peek, "--limit", 1, PEEK_MESSAGES, "how many, oldest first (10)", default=10)
    _add_pull(verbs)
    _add_ack(verbs)
    cancel = _add_queue_verb(verbs, "cancel", "take back messages whose time has not come", "messages")
    discard = _add_queue_verb(verbs, "discard", "delete chosen messages for good", "messages")
    for verb in (cancel, discard):
        verb.add_argument("refs", metavar="REF", nargs="+", help="ref of a message, as peek --json prints it")
    reschedule = _add_queue_verb(verbs, "reschedule", "give a message another time", "messages")
    reschedule.add_argument("ref", metavar="REF", help="ref of a message whose time has not come")
    reschedule.add_argument("--at", metavar="TIME", required=True, help=A_TIME)


def _add_create(verbs: Commands) -> None:
    create = _add_queue_verb(verbs, "create", "create a queue", names="the new queue's name")
    _add_times(create, f" ({limits.RETENTION_SECONDS})", " (0)")


def _add_times(verb: argparse.ArgumentParser, retention_default: str = "", delay_default: str = "") -> None:
    add_number(verb, "--delay-seconds", 0, limits.DELAY_SECONDS, f"delay of each message{delay_default}")
    low, high = limits.RETENTION_SECONDS_MIN, limits.RETENTION_SECONDS_MAX
    add_number(verb, "--retention-seconds", low, high, f"how long messages are kept{retention_default}")


def _add_set(verbs: Commands) -> None:
    change = _add_queue_verb(verbs, "set", "change settings of a queue")
    _add_times(change)
    window = (1, limits.DEDUPLICATION_SECONDS_MAX)
    add_number(change, "--deduplication-seconds", *window, "how long a deduplication key counts")
    _add_switch(change, "--deduplicate-content", "whether the content is the key of messages without one")
    forwards = change.add_mutually_exclusive_group()
    forwards.add_argument(
        "--forward-to", metavar="QUEUE", action="append", help="copy each message into this queue; may be repeated"
    )
    forwards.add_argument("--no-forwards", action="store_true", help="copy messages nowhere")
    _add_switch(change, "--forward-only", "whether messages that were copied are kept here, too")
    redrives = change.add_mutually_exclusive_group()
    redrives.add_argument(
        "--auto-redrive-after", metavar="SECONDS", type=int, help="move dead letters back by themselves after so long"
    )
    redrives.add_argument("--no-auto-redrive", action="store_true", help="move no dead letters back by themselves")
    change.add_argument("--auto-redrive-times", metavar="N", type=int, help="each of them so many times at most (1)")


def _add_switch(parser: argparse.ArgumentParser, flag: str, help: str) -> None:
    parser.add_argument(flag, choices=("on", "off"), help=help)


def _add_redrive(verbs: Commands) -> None:
    redrive = _add_queue_verb(verbs, "redrive", "move dead letters back to the queues they came from")
    redrive.add_argument("--reason", metavar="TEXT", help="only those whose reason has this text in it")
    redrive.add_argument("--origin", metavar="QUEUE", help="only those that came from this queue")
    redrive.add_argument("--sent-after", metavar="TIME", help=f"only those sent then or later: {A_TIME}")
    redrive.add_argument("--sent-before", metavar="TIME", help="only those sent earlier than that")
    redrive.add_argument("--id", dest="ids", metavar="ID", action="append", help="only this message; may be repeated")
    redrive.add_argument("--limit", metavar="N", type=int, help="at most so many, oldest first")
    redrive.add_argument("--per-second", metavar="N", type=float, help="let so many become ready in each second")


def _add_send(verbs: Commands) -> None:
    send = _add_queue_verb(verbs, "send", "send a message", "messages")
    send.add_argument("body", metavar="BODY", help="JSON, unless a flag says otherwise; - reads standard input")
    kind = send.add_mutually_exclusive_group()
    kind.add_argument(
        "--text", dest="content_type", action="store_const", const="text", default="json", help="BODY is plain text"
    )
    kind.add_argument(
        "--bytes", dest="content_type", action="store_const", const="bytes", help="BODY is base64 of any bytes"
    )
    add_number(send, "--delay", 0, limits.DELAY_SECONDS, "seconds until it is ready (the queue's delay)")
    send.add_argument("--at", metavar="TIME", help=f"when it is ready: {A_TIME}")
    send.add_argument("--priority", choices=PRIORITIES, help="how soon it is delivered among those that are ready")
    send.add_argument("--ordering-key", metavar="KEY", help="messages with one key come one after the other")
    send.add_argument("--dedupe-key", metavar="KEY", help="store it once, however often it is sent with this key")
    send.add_argument(
        "--header", dest="headers", metavar="NAME=VALUE", action="append", help="what travels beside the body"
    )


def _add_pull(verbs: Commands) -> None:
    pull = _add_queue_verb(verbs, "pull", "take messages under a lease, for ack", "messages")
    add_number(pull, "--batch-size", 1, limits.CONSUMER_BATCH_SIZE, "how many at most (the consumer's setting)")
    add_number(
        pull, "--visibility-timeout-ms", 0, limits.VISIBILITY_TIMEOUT_MS_MAX, "length of the lease (the consumer's)"
    )


def _add_ack(verbs: Commands) -> None:
    ack = _add_queue_verb(verbs, "ack", "acknowledge pulled messages, or have them delivered again", "messages")
    ack.add_argument("leases", metavar="LEASE", nargs="+", help="lease id, as pull printed it")
    ack.add_argument("--retry", action="store_true", help="deliver the messages again")
    add_number(ack, "--delay", 0, limits.DELAY_SECONDS, "with --retry: seconds until then (the consumer's)")


def _add_queue_verb(
    verbs: Commands, name: str, does: str, module: str = "queues", names: str = "name or id"
) -> argparse.ArgumentParser:
    verb = add_verb(verbs, name, f"{module}:{name if name != 'set' else 'change'}", does)
    verb.add_argument("queue", metavar="QUEUE", help=names)
    return verb
