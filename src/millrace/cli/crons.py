"""`millrace crons …`: what runs when, and a run at once."""

import argparse

from millrace.cli.clients import client_of
from millrace.cli.printing import print_json, print_lines, print_table, shortened

HEADS = ("program", "cron", "next run", "last run", "status")


def list_crons(arguments: argparse.Namespace) -> int:
    """List the crons of the account."""
    with client_of(arguments) as client:
        crons = client.ask("GET", "/api/crons")["crons"]
    if arguments.json:
        print_json(crons)
    elif not crons:
        print_lines("no crons")
    else:
        print_table(HEADS, [_row(cron) for cron in crons])
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Send a run of a cron now."""
    body = {"program": arguments.program, "cron": arguments.cron}
    with client_of(arguments) as client:
        sent = client.ask("POST", "/api/crons/run", body, once=True)
    if arguments.json:
        print_json(sent)
    else:
        print_lines(f"sent a run of {sent['program']}, {sent['cron']}, to queue {sent['queue']}")
    return 0


def _row(cron: dict[str, str | None]) -> tuple[str, ...]:
    status = cron["last_status"] or "-"
    if cron.get("last_error"):
        status = f"{status}: {shortened(cron['last_error'])}"
    return str(cron["program"]), str(cron["cron"]), cron["next_run"] or "-", cron["last_run"] or "-", status
