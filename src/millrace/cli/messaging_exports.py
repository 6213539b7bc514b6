"""`millrace messaging export|exports|cleanup|archives|restore`: files of what there is, and archives of what was."""

import argparse
from typing import Any

from millrace.cli.clients import client_of, report
from millrace.cli.messaging import facts
from millrace.cli.messaging_streams import download
from millrace.cli.printing import print_json, print_lines, print_table, shortened
from millrace.client.wire import given, quoted
from millrace.ids import new_id

RESTORE_SECONDS = 900
EXPORT_HEADS = ("id", "status", "format", "progress", "rows", "bytes", "made", "kept until")
ARCHIVE_HEADS = ("id", "target", "rows", "bytes", "older than", "made", "restored")


def export(arguments: argparse.Namespace) -> int:
    """Have a file made, and print the id of the export."""
    filters = given(
        source=arguments.source,
        startDate=arguments.start_date,
        endDate=arguments.end_date,
        status=arguments.status,
        type=arguments.type,
    )
    export_id = arguments.id or f"export-{new_id()}"
    job = {"type": "export_generation", "exportId": export_id, "filters": filters, "userId": arguments.user}
    job |= {"format": arguments.format, **given(notifyEmail=arguments.notify)}
    with client_of(arguments) as client:
        made = client.ask("POST", "/api/enqueue-job", job)
    return report(arguments, {"exportId": export_id, **made}, export_id)


def exports(arguments: argparse.Namespace) -> int:
    """List exports, or show one; with --output get its file."""
    if arguments.output is not None and arguments.id is None:
        arguments.refuse("--output is for the file of one export; give its ID")
    if arguments.output is not None:
        return download(arguments)
    with client_of(arguments) as client:
        found = client.ask("GET", "/api/exports" if arguments.id is None else _path_of(arguments.id))
    if arguments.json:
        print_json(found)
    elif arguments.id is not None:
        print_lines(*facts(found))
    elif not found["exports"]:
        print_lines("no exports")
    else:
        print_table(EXPORT_HEADS, [_export_row(one) for one in found["exports"]])
    return 0


def cleanup(arguments: argparse.Namespace) -> int:
    """Have archived and removed what is old."""
    job = {"type": "cleanup", "target": arguments.target, "olderThan": arguments.older_than}
    with client_of(arguments) as client:
        made = client.ask("POST", "/api/enqueue-job", job, once=True)
    return report(arguments, made, f"{made['jobId']} is queued")


def archives(arguments: argparse.Namespace) -> int:
    """List archives, the newest first."""
    with client_of(arguments) as client:
        found = client.ask("GET", "/api/archives")
    if arguments.json:
        print_json(found)
    elif not found["archives"]:
        print_lines("no archives")
    else:
        print_table(ARCHIVE_HEADS, [_archive_row(archive) for archive in found["archives"]])
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Put back what an archive holds and is not there."""
    with client_of(arguments) as client:
        done = client.ask("POST", f"/api/archives/{quoted(arguments.id)}/restore", timeout=RESTORE_SECONDS)
    return report(arguments, done, f"restored {done['restored']} of {done['rows']} rows")


def _path_of(export_id: str) -> str:
    return f"/api/exports/{quoted(export_id)}"


def _export_row(found: dict[str, Any]) -> tuple[str, ...]:
    percentage = found["progress"]["percentage"]
    numbers = ["-" if found[name] is None else str(found[name]) for name in ("rows", "bytes")]
    words = (found["status"], found["format"], "-" if percentage is None else f"{percentage}%", *numbers)
    return shortened(found["exportId"]), *words, *_times(found, "createdAt", "expiresAt")


def _archive_row(archive: dict[str, Any]) -> tuple[str, ...]:
    numbers = (str(archive["rows"]), str(archive["bytes"]))
    return archive["archiveId"], archive["target"], *numbers, *_times(archive, "olderThan", "createdAt", "restoredAt")


def _times(found: dict[str, Any], *names: str) -> tuple[str, ...]:
    return tuple(found[name] or "-" for name in names)
