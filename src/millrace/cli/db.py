"""`millrace db`: the schema of a store, its moves, its backups, and whether it is sound."""

import argparse

import msgspec

from millrace.cli.applications import SCHEMAS
from millrace.cli.environment import environment
from millrace.cli.printing import counted, print_json, print_lines, print_table
from millrace.cli.progress import ProgressLine
from millrace.clock import iso_milliseconds, wall_ms
from millrace.config import read_settings
from millrace.errors import ConfigurationError, StoreRefused
from millrace.moving.backups import back_up
from millrace.moving.backups import restore as restore_backup
from millrace.moving.checking import find_faults
from millrace.moving.moves import move
from millrace.moving.places import Place, place_of
from millrace.moving.standing import bring_up, script_for, versions_in
from millrace.sql.schemas import Version
from millrace.sql.sqlite.directory import DATABASE


def migrate(arguments: argparse.Namespace) -> int:
    """Bring the schema to the program's version; a second time does nothing."""
    place = place_in(arguments)
    if arguments.sql:
        print(script_for(place, SCHEMAS) or "-- nothing to apply")
        return 0
    if not arguments.status:
        applied = bring_up(place, SCHEMAS)
        if not arguments.json:
            print("\n".join(f"applied {name}" for name in applied) or "nothing to apply")
    return status(arguments) if arguments.status or arguments.json else 0


def status(arguments: argparse.Namespace) -> int:
    """Show where each part of the schema stands."""
    versions = versions_in(place_in(arguments), SCHEMAS)
    if arguments.json:
        print_json([msgspec.to_builtins(version) for version in versions])
    else:
        print_table(("part", "present", "newest", "pending"), [_row(version) for version in versions])
    return 0


def copy(arguments: argparse.Namespace) -> int:
    """Copy a whole store into an empty place."""
    source, target = place_of(arguments.source), place_of(arguments.target)
    if source == target:
        raise ConfigurationError(f"--from and --to are both {source}; name an empty place with --to")
    copied = move(source, target, SCHEMAS, wall_ms, ProgressLine())
    if arguments.json:
        print_json(msgspec.to_builtins(copied))
    elif copied.finished_at_ms is not None:
        print_lines(_already(target, copied.finished_at_ms))
    else:
        print_lines(f"copied {source} to {target}: {_counts(copied.rows)}; both sides are the same")
    return 0


def backup(arguments: argparse.Namespace) -> int:
    """Write the store of this moment into a file."""
    rows = back_up(place_in(arguments), arguments.file, SCHEMAS, wall_ms, ProgressLine())
    if arguments.json:
        print_json({"file": str(arguments.file), "rows": rows})
    else:
        print_lines(f"wrote {arguments.file}: {_counts(rows)}")
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Put a backup into an empty place, or in the place of another store."""
    place = place_in(arguments)
    if arguments.replace and not arguments.yes:
        raise StoreRefused(f"--replace removes the store in {place} for good; add --yes if that is what you want")
    copied = restore_backup(arguments.file, place, SCHEMAS, wall_ms, ProgressLine(), replace=arguments.replace)
    if arguments.json:
        print_json(msgspec.to_builtins(copied))
    elif copied.finished_at_ms is not None:
        print_lines(_already(place, copied.finished_at_ms))
    else:
        print_lines(f"restored {arguments.file} to {place}: {_counts(copied.rows)}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Look for what is wrong in a store."""
    place = place_in(arguments) if arguments.file is None else Place("sqlite", str(arguments.file))
    faults = find_faults(place, SCHEMAS)
    if arguments.json:
        print_json({"ok": not faults, "faults": faults})
    else:
        print_lines(*(faults or [f"{place} is sound"]))
    return 1 if faults else 0


def place_in(arguments: argparse.Namespace) -> Place:
    """Give the store that flags name, else the environment with `.env`: the server's own."""
    if arguments.data and arguments.store:
        arguments.refuse("--data names a directory and --store a database; give one of them")
    if arguments.store:
        return place_of(arguments.store)
    if arguments.data:
        return Place("sqlite", str(arguments.data / DATABASE))
    settings = read_settings(environment(), {})
    if settings.store is None:
        return Place("sqlite", str(settings.data / DATABASE))
    return place_of(settings.direct_store or settings.store)


def _already(place: Place, at_ms: int) -> str:
    return f"{place} is a copy already, finished at {iso_milliseconds(at_ms)}; nothing was done"


def _counts(rows: dict[str, int]) -> str:
    total, messages, queues = sum(rows.values()), rows.get("messages", 0), rows.get("queues", 0)
    return f"{total:,} rows of {len(rows)} tables, with {counted(messages, 'message')} of {counted(queues, 'queue')}"


def _row(version: Version) -> tuple[str, ...]:
    return version.name, str(version.present), str(version.newest), ", ".join(version.pending) or "-"
