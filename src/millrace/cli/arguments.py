"""What can be typed: commands, arguments and flags. Imports nothing that takes time, so that help is quick."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from millrace import __version__, limits
from millrace.cli.sql_arguments import add_d1, add_db

PEEK_MESSAGES = 1_000  # more than one request shows; the client turns the pages
ROLES = ("admin", "operator", "producer", "consumer", "agent")


def make_parser(program: str) -> argparse.ArgumentParser:
    """Make the parser; the chosen command stands in `run`, as `module:function` below `millrace.cli`."""
    parser = argparse.ArgumentParser(
        prog=program, description="A durable message queue that speaks Cloudflare Queues' own language."
    )
    parser.add_argument("--version", action="version", version=f"millrace {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_consume(commands)
    _add_queues(commands)
    _add_keys(commands)
    add_d1(commands, _add_server)
    add_db(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def _add_serve(commands: Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve queues from a data directory",
        description="Serve queues from a data directory until SIGTERM or Ctrl-C; a second one does not wait.",
    )
    serve.set_defaults(run="serve:run")
    serve.add_argument("--host", help="address to listen on (HOST, 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 for a free one (PORT, 8787)")
    serve.add_argument("--data", type=Path, metavar="DIR", help="data directory (DATA_DIR, data)")
    serve.add_argument(
        "--config", metavar="FILE", help="wrangler.toml, .json or .jsonc (looked for from here upwards; '' for none)"
    )
    serve.add_argument("--env", dest="environment", metavar="NAME", help="named environment of the file")
    serve.add_argument("--dry-run", action="store_true", help="print what the file would change, and end")
    serve.add_argument("--app", metavar="MODULE:NAME", help="handlers to run: package.module:name or path.py:name")
    _add_handler_seconds(serve)
    serve.add_argument("--reload", action="store_true", help="restart when a Python file changes (development)")
    serve.add_argument("--show-key", action="store_true", help="print ADMIN_TOKEN in the example line (development)")


def _add_handler_seconds(parser: argparse.ArgumentParser) -> None:
    _add_number(parser, "--handler-seconds", 1, 86_400, "time for one batch (HANDLER_SECONDS, 900)")


def _add_consume(commands: Commands) -> None:
    consume = commands.add_parser(
        "consume",
        help="run handlers here, for the queues of a server elsewhere",
        description="Take batches from a server over HTTP and hand them to handlers in this process, until SIGTERM "
        "or Ctrl-C; a second one does not wait. Give --queue and --handler, or --config for the handlers of a file.",
        allow_abbrev=False,
    )
    consume.set_defaults(run="consume:run", refuse=consume.error)
    consume.add_argument("--queue", metavar="NAME", help="queue to consume; with --config, only this one of the file")
    consume.add_argument("--handler", metavar="MODULE:NAME", help="its handler: package.module:name or path.py:name")
    consume.add_argument("--config", type=Path, metavar="FILE", help="wrangler file with handlers, bindings and vars")
    consume.add_argument("--env", dest="environment", metavar="NAME", help="named environment of the file")
    _add_number(consume, "--processes", 1, 250, "how many processes do the same work (1)", default=1)
    _add_handler_seconds(consume)
    _add_server(consume)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", type=_url, help="server (MILLRACE_URL, CTX_URL, http://127.0.0.1:8787)")
    parser.add_argument("--token", help="key (MILLRACE_TOKEN, CHITTY_ID_TOKEN)")


def _add_queues(commands: Commands) -> None:
    queues = commands.add_parser(
        "queues", help="see and change queues and their messages", description="See and change queues and messages."
    )
    verbs = queues.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_verb(verbs, "list", "queues:list_queues", "list the queues of the account")
    _add_queue_verb(verbs, "info", "show a queue, its consumer and its backlog")
    _add_create(verbs)
    _add_queue_verb(verbs, "delete", "delete a queue with its messages")
    _add_send(verbs)
    peek = _add_queue_verb(verbs, "peek", "show messages without taking them")
    _add_number(peek, "--limit", 1, PEEK_MESSAGES, "how many, oldest first (10)", default=10)
    _add_pull(verbs)
    _add_ack(verbs)
    _add_queue_verb(verbs, "pause", "deliver nothing until resumed")
    _add_queue_verb(verbs, "resume", "deliver again")
    purge = _add_queue_verb(verbs, "purge", "delete all messages of a queue for good")
    purge.add_argument("--force", action="store_true", help="say that the deletion is meant; purge needs it")
    _add_queue_verb(verbs, "redrive", "move dead letters back to the queues they came from")


def _add_create(verbs: Commands) -> None:
    create = _add_queue_verb(verbs, "create", "create a queue", names="the new queue's name")
    _add_number(create, "--delay-seconds", 0, limits.DELAY_SECONDS, "delay of each message (0)")
    retention = (limits.RETENTION_SECONDS_MIN, limits.RETENTION_SECONDS_MAX)
    _add_number(create, "--retention-seconds", *retention, f"how long messages are kept ({limits.RETENTION_SECONDS})")


def _add_send(verbs: Commands) -> None:
    send = _add_queue_verb(verbs, "send", "send a message")
    send.add_argument("body", metavar="BODY", help="JSON, unless a flag says otherwise; - reads standard input")
    kind = send.add_mutually_exclusive_group()
    kind.add_argument(
        "--text", dest="content_type", action="store_const", const="text", default="json", help="BODY is plain text"
    )
    kind.add_argument(
        "--bytes", dest="content_type", action="store_const", const="bytes", help="BODY is base64 of any bytes"
    )
    _add_number(send, "--delay", 0, limits.DELAY_SECONDS, "seconds until it is ready (the queue's delay)")


def _add_pull(verbs: Commands) -> None:
    pull = _add_queue_verb(verbs, "pull", "take messages under a lease, for ack")
    _add_number(pull, "--batch-size", 1, limits.CONSUMER_BATCH_SIZE, "how many at most (the consumer's setting)")
    _add_number(
        pull, "--visibility-timeout-ms", 0, limits.VISIBILITY_TIMEOUT_MS_MAX, "length of the lease (the consumer's)"
    )


def _add_ack(verbs: Commands) -> None:
    ack = _add_queue_verb(verbs, "ack", "acknowledge pulled messages, or have them delivered again")
    ack.add_argument("leases", metavar="LEASE", nargs="+", help="lease id, as pull printed it")
    ack.add_argument("--retry", action="store_true", help="deliver the messages again")
    _add_number(ack, "--delay", 0, limits.DELAY_SECONDS, "with --retry: seconds until then (the consumer's)")


def _add_keys(commands: Commands) -> None:
    keys = commands.add_parser(
        "keys",
        help="make, list and revoke keys",
        description="Make, list and revoke keys, over HTTP with an admin key or, with --data, in a data directory; "
        "a server that runs on it follows within a second.",
    )
    verbs = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    create = _add_key_verb(
        verbs,
        "create",
        "keys:create",
        "make a key and print its secret, this once",
        account="account of the key (with --data ACCOUNT_ID, local; over HTTP the account of the key in use)",
    )
    create.add_argument("--role", choices=ROLES, default="admin", help="what the key may do (admin)")
    create.add_argument(
        "--queue", dest="queues", metavar="NAME", action="append", help="limit the key to this queue; may be repeated"
    )
    create.add_argument("--test", action="store_true", help="make a test key (sk_test_…)")
    create.add_argument("--secret-stdin", action="store_true", help="read a secret of your own from standard input")
    _add_key_verb(verbs, "list", "keys:list_keys", "list keys, without their secrets")
    revoke = _add_key_verb(verbs, "revoke", "keys:revoke", "refuse a key from now on")
    revoke.add_argument("id", metavar="ID", help="id of the key, as list prints it")


def _add_key_verb(
    verbs: Commands, name: str, run: str, does: str, account: str = "only keys of this account (with --data of all)"
) -> argparse.ArgumentParser:
    verb = _add_verb(verbs, name, run, does)
    verb.add_argument("--data", type=Path, metavar="DIR", help="work on this data directory instead of over HTTP")
    verb.add_argument("--account", metavar="A", help=account)
    return verb


def _add_queue_verb(verbs: Commands, name: str, does: str, names: str = "name or id") -> argparse.ArgumentParser:
    verb = _add_verb(verbs, name, f"queues:{name}", does)
    verb.add_argument("queue", metavar="QUEUE", help=names)
    return verb


def _add_verb(verbs: Commands, name: str, run: str, does: str) -> argparse.ArgumentParser:
    """Add a command that speaks to a server; `refuse` ends it as wrongly used, for rules that argparse has not."""
    verb = verbs.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    verb.set_defaults(run=run, refuse=verb.error)
    _add_server(verb)
    verb.add_argument("--json", action="store_true", help="print JSON")
    return verb


def _add_number(
    parser: argparse.ArgumentParser, flag: str, low: int, high: int, help: str, default: int | None = None
) -> None:
    parser.add_argument(flag, metavar="N", type=_whole_number(low, high), default=default, help=help)


def _url(text: str) -> str:
    if text.startswith(("http://", "https://")):
        return text
    raise argparse.ArgumentTypeError(f"it is {text!r}; expected one such as http://127.0.0.1:8787")


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 18 and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"it is {text!r}; expected a whole number from {low} to {high}")

    return read
