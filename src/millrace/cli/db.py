"""`millrace db`: the schema of a data directory. Each start of the server does the same by itself."""

import argparse
from pathlib import Path

import msgspec

from millrace.cli.applications import SCHEMAS
from millrace.cli.environment import environment
from millrace.cli.printing import print_json, print_table
from millrace.config import read_settings
from millrace.sql.schemas import Version
from millrace.sql.sqlite.directory import prepare_directory, read_versions


def migrate(arguments: argparse.Namespace) -> int:
    """Bring the schema to the program's version; a second time does nothing."""
    if not arguments.status:
        folder = _folder(arguments)
        pending = [name for version in read_versions(folder, SCHEMAS) for name in version.pending]
        prepare_directory(folder, SCHEMAS)
        if not arguments.json:
            print("\n".join(f"applied {name}" for name in pending) or "nothing to apply")
    return status(arguments) if arguments.status or arguments.json else 0


def status(arguments: argparse.Namespace) -> int:
    """Show where each part of the schema stands."""
    versions = read_versions(_folder(arguments), SCHEMAS)
    if arguments.json:
        print_json([msgspec.to_builtins(version) for version in versions])
    else:
        print_table(("part", "present", "newest", "pending"), [_row(version) for version in versions])
    return 0


def _folder(arguments: argparse.Namespace) -> Path:
    return read_settings(environment(), {"data": arguments.data}).data  # with `.env`: the server's directory


def _row(version: Version) -> tuple[str, ...]:
    return version.name, str(version.present), str(version.newest), ", ".join(version.pending) or "-"
