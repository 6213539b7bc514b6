"""What can be typed about the views: `d1 execute`."""

import argparse

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
