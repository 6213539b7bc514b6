"""What can be typed about secrets: `secret put`, `secret list`, `secret delete`."""

import argparse

from millrace.cli.parsing import Commands, add_place, add_verb


def add_secret(commands: Commands) -> None:
    """Add the commands."""
    secret = commands.add_parser(
        "secret",
        help="store values that programs find in their env, encrypted",
        description="Store, list and delete values that programs find in their env, over HTTP with an admin key or, "
        "with --data or --store, in a store. Programs see a change from their next start on.",
    )
    verbs = secret.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_secret_verb(verbs, "put", "put", "store a value, read from a prompt or from standard input", named=True)
    _add_secret_verb(verbs, "list", "list_secrets", "list secrets by name, without their values")
    _add_secret_verb(verbs, "delete", "delete", "remove a secret", named=True)


def _add_secret_verb(
    verbs: Commands, name: str, run: str, does: str, *, named: bool = False
) -> argparse.ArgumentParser:
    verb = add_verb(verbs, name, f"secrets:{run}", does)
    if named:
        verb.add_argument("name", metavar="NAME", help="its name, such as JWT_SECRET")
    add_place(verb, "work on")
    verb.add_argument(
        "--account", metavar="A", help="with --data or --store: account of the secret (ACCOUNT_ID, local)"
    )
    return verb
