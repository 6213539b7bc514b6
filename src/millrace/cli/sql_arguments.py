"""What can be typed about the database: `d1 execute`, `db migrate`, `db status`."""

import argparse
from pathlib import Path

from millrace.cli.parsing import Commands, add_server


def add_d1(commands: Commands) -> None:
    """Add `d1 execute`."""
    d1 = commands.add_parser("d1", help="read the published views by SQL", description="Read the views by SQL.")
    verbs = d1.add_subparsers(title="commands", metavar="COMMAND", required=True)
    execute = verbs.add_parser(
        "execute",
        help="run one SELECT over the views jobs, queues and messages",
        description="Run one SELECT over the views jobs, queues and messages of the key's account (an admin's).",
        allow_abbrev=False,
    )
    execute.set_defaults(run="sql:execute", refuse=execute.error)
    execute.add_argument("name", metavar="NAME", help="any name: there is one database; it is there for scripts")
    execute.add_argument("--command", required=True, metavar="SQL", help="the statement")
    execute.add_argument("--write", action="store_true", help="refused: the views are for reading")
    execute.add_argument("--json", action="store_true", help="print what wrangler prints with --json")
    for ignored in ("--remote", "--local", "--yes"):
        execute.add_argument(ignored, action="store_true", help=argparse.SUPPRESS)
    add_server(execute)


def add_db(commands: Commands) -> None:
    """Add `db migrate` and `db status`."""
    db = commands.add_parser("db", help="the schema of a data directory", description="See and bring up the schema.")
    verbs = db.add_subparsers(title="commands", metavar="COMMAND", required=True)
    migrate = _add_db_verb(verbs, "migrate", "bring the database to this program's schema, as each start does")
    migrate.add_argument("--status", action="store_true", help="only show where it stands")
    migrate.add_argument("--env", choices=("local", "prod"), help="accepted for scripts; the directory decides")
    _add_db_verb(verbs, "status", "show where the schema stands")


def _add_db_verb(verbs: Commands, name: str, does: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    verb.set_defaults(run=f"db:{name}", status=False)
    verb.add_argument("--data", type=Path, metavar="DIR", help="data directory (DATA_DIR, data)")
    verb.add_argument("--json", action="store_true", help="print JSON")
    return verb
