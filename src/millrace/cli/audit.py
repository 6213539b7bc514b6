"""`millrace audit`: who did what, and whether the trail was changed; over HTTP, or from a data directory."""

import argparse

import msgspec

from millrace.audit import START, Link, Verdict
from millrace.cli.clients import client_of
from millrace.cli.directory import check_place, is_at_hand, read_place, settings_of
from millrace.cli.printing import print_json, print_lines, print_table, shortened
from millrace.http.audit import AuditEntry, AuditList, audit_entry
from millrace.sql.audit import follow, page
from millrace.sql.transaction import Transaction

BROKEN = 1


def list_entries(arguments: argparse.Namespace) -> int:
    """List entries, newest first."""
    check_place(arguments)
    entries = _read(arguments) if is_at_hand(arguments) else _ask(arguments)
    if arguments.json:
        print_json(entries)
    elif not entries:
        print_lines("no entries")
    else:
        print_table(("number", "at", "actor", "act", "object", "details"), [_row(entry) for entry in entries])
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Follow the whole chain; say where it is broken, if it is."""
    check_place(arguments)
    if is_at_hand(arguments):
        verdict = read_place(settings_of(arguments), _verify_at_once)
    else:
        with client_of(arguments) as client:
            verdict = msgspec.convert(client.ask("GET", "/api/audit/verify"), Verdict)
    if arguments.json:
        print_json(verdict)
    else:
        print_lines(_sentence(verdict))
    return 0 if verdict.ok else BROKEN


def _read(arguments: argparse.Namespace) -> list[AuditEntry]:
    settings = settings_of(arguments)
    account = arguments.account or settings.account_id
    words = {"act": arguments.act, "object": arguments.object, "context": arguments.context}
    noted = read_place(settings, lambda tx: page(tx, account, arguments.limit, **words))
    return [audit_entry(one) for one in noted]


def _ask(arguments: argparse.Namespace) -> list[AuditEntry]:
    words = {"act": arguments.act, "object": arguments.object, "context": arguments.context}
    params = {"limit": arguments.limit, **{name: word for name, word in words.items() if word}}
    with client_of(arguments) as client:
        return msgspec.convert(client.ask("GET", "/api/audit", params=params), AuditList).entries


def _verify_at_once(tx: Transaction) -> Verdict:
    found: Link | Verdict = START
    while isinstance(found, Link):
        found = follow(tx, found)
    return found


def _row(entry: AuditEntry) -> tuple[str, ...]:
    details = shortened(entry.details) if entry.details else ""
    return str(entry.number), entry.at, entry.actor, entry.act, shortened(entry.object), details


def _sentence(verdict: Verdict) -> str:
    last = f"the last good entry is {verdict.number}, its hash {verdict.hash}" if verdict.number else "no entry is good"
    if not verdict.ok:
        return f"broken at entry {verdict.first_bad_number}: {verdict.what}; {last}"
    waiting = f", and {verdict.unchained} more not chained yet" if verdict.unchained else ""
    return f"whole: {verdict.number} entries{waiting}; {last}" if verdict.number else f"whole: no entries{waiting}"
