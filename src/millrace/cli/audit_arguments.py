"""What can be typed about the audit trail: `audit`, `audit verify`."""

import argparse

from millrace import limits
from millrace.cli.parsing import Commands, add_number, add_place, add_server

ENTRIES = 100


def add_audit(commands: Commands) -> None:
    """Add `audit` and `audit verify`."""
    audit = commands.add_parser(
        "audit",
        help="see who did what, and check the trail",
        description="List what was done, newest first. `audit verify` follows the chain of hashes.",
        allow_abbrev=False,
    )
    audit.set_defaults(run="audit:list_entries", refuse=audit.error)
    _add_place(audit)
    audit.add_argument("--account", metavar="A", help="with --data: entries of this account (ACCOUNT_ID, local)")
    add_number(audit, "--limit", 1, limits.AUDIT_ENTRIES, "how many (100)", default=ENTRIES)
    audit.add_argument("--act", metavar="ACT", help="only this act, such as queue.purged")
    audit.add_argument("--object", metavar="OBJECT", help="only what was done to this, such as 'queue orders'")
    audit.add_argument("--context", metavar="C", help="only objects whose names end in -C")
    verbs = audit.add_subparsers(title="commands", metavar="COMMAND")
    verify = verbs.add_parser(
        "verify",
        help="follow the chain; exit code 1 when it is broken",
        description="Follow the chain of hashes through the whole trail; exit code 1 when it is broken.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,  # a flag before the word counts as well
    )
    verify.set_defaults(run="audit:verify", refuse=verify.error)
    _add_place(verify)


def _add_place(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    add_place(parser, "read")
    parser.add_argument("--json", action="store_true", help="print JSON")
