"""What can be typed: commands, arguments and flags. Imports nothing that takes time, so that help is quick."""

import argparse
from pathlib import Path

from millrace import __version__
from millrace.cli.agent_arguments import add_agent, add_bridge, add_upload
from millrace.cli.alert_arguments import add_alerts
from millrace.cli.audit_arguments import add_audit
from millrace.cli.cron_arguments import add_crons
from millrace.cli.db_arguments import add_db, add_doctor
from millrace.cli.messaging_arguments import add_messaging, add_queue_commands
from millrace.cli.parsing import Commands, add_number, add_place, add_server, add_verb
from millrace.cli.queue_arguments import add_queues
from millrace.cli.secret_arguments import add_secret
from millrace.cli.sql_arguments import add_d1
from millrace.cli.watching_arguments import add_bench, add_tail

ROLES = ("admin", "operator", "producer", "consumer", "agent", "author", "reviewer")


def make_parser(program: str) -> argparse.ArgumentParser:
    """Make the parser; the chosen command stands in `run`, as `module:function` below `millrace.cli`."""
    parser = argparse.ArgumentParser(
        prog=program, description="A durable message queue that speaks Cloudflare Queues' own language."
    )
    parser.add_argument("--version", action="version", version=f"millrace {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        *(_add_serve, _add_dev, _add_consume, add_queues, add_queue_commands, add_messaging, _add_keys),
        *(add_agent, add_upload, add_bridge, add_crons, add_alerts, add_secret, add_audit, add_d1),
        *(add_db, add_doctor, add_tail, add_bench),
    ):
        add(commands)
    return parser


def _add_serve(commands: Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve queues from a data directory or a database",
        description="Serve queues from a data directory or a PostgreSQL database until SIGTERM or Ctrl-C; a second one does not wait.",
    )
    serve.set_defaults(run="serve:run")
    _add_serving(serve, reloads=False)


def _add_dev(commands: Commands) -> None:
    dev = commands.add_parser(
        "dev",
        help="serve for development, on this machine only",
        description="Serve like serve --reload, with CLOUDFLARE_ENV=local and, on a loopback address, AUTH_MODE=local, where "
        "neither is set: no key is asked for. The section env.local of the wrangler file counts, if there is one.",
    )
    dev.set_defaults(run="dev:run")
    _add_serving(dev, reloads=True)


def _add_serving(serve: argparse.ArgumentParser, *, reloads: bool) -> None:
    serve.add_argument("--host", help="address to listen on (HOST, 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 for a free one (PORT, 8787)")
    serve.add_argument("--data", type=Path, metavar="DIR", help="data directory (DATA_DIR, data)")
    serve.add_argument(
        "--store", metavar="URL", help="postgresql://… for many servers, in place of the file there (DATABASE_URL)"
    )
    serve.add_argument(
        "--role",
        choices=("all", "api", "consumer"),
        help="answer HTTP, run handlers, or both (MILLRACE_ROLE, all)",
    )
    _add_file(serve)
    serve.add_argument("--app", metavar="MODULE:NAME", help="handlers to run: package.module:name or path.py:name")
    _add_handler_seconds(serve)
    serve.add_argument(
        "--reload",
        action=argparse.BooleanOptionalAction,
        default=reloads,
        help="restart when a Python or wrangler file changes (development)",
    )
    serve.add_argument("--show-key", action="store_true", help="print ADMIN_TOKEN in the example line (development)")


def _add_file(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--config", metavar="FILE", help="wrangler.toml, .json or .jsonc (looked for from here upwards; '' for none)"
    )
    serve.add_argument("--env", dest="environment", metavar="NAME", help="named environment of the file")
    serve.add_argument("--dry-run", action="store_true", help="print what the file would change, and end")


def _add_handler_seconds(parser: argparse.ArgumentParser) -> None:
    add_number(parser, "--handler-seconds", 1, 86_400, "time for one batch (HANDLER_SECONDS, 900)")


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
    add_number(consume, "--processes", 1, 250, "how many processes do the same work (1)", default=1)
    _add_handler_seconds(consume)
    add_server(consume)


def _add_keys(commands: Commands) -> None:
    keys = commands.add_parser(
        "keys",
        help="make, list and revoke keys",
        description="Make, list and revoke keys, over HTTP with an admin key or, with --data or --store, in a store; "
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
    create.add_argument("--tenant", metavar="T", help="limit an agent's or producer's key to this tenant's jobs")
    create.add_argument("--test", action="store_true", help="make a test key (sk_test_…)")
    create.add_argument("--secret-stdin", action="store_true", help="read a secret of your own from standard input")
    _add_key_verb(verbs, "list", "keys:list_keys", "list keys, without their secrets")
    revoke = _add_key_verb(verbs, "revoke", "keys:revoke", "refuse a key from now on")
    revoke.add_argument("id", metavar="ID", help="id of the key, as list prints it")


def _add_key_verb(
    verbs: Commands, name: str, run: str, does: str, account: str = "only keys of this account (with --data of all)"
) -> argparse.ArgumentParser:
    verb = add_verb(verbs, name, run, does)
    add_place(verb, "work on")
    verb.add_argument("--account", metavar="A", help=account)
    return verb
