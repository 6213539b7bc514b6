"""The audit trail as functions of an open transaction; its chaining and checking, a chunk a transaction."""

from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import msgspec

from millrace import limits
from millrace.audit import PRUNED, START, Entry, Link, Noted, Verdict, digest_of, find_fault, next_hash
from millrace.sql.transaction import Row, Transaction
from millrace.store import Store

FIRST, LAST = -(1 << 63), (1 << 63) - 1


def note(tx: Transaction, entry: Entry | None) -> None:
    """Write what is done in this very transaction; None is nothing worth a note."""
    if entry is not None:
        tx.apply("insert_audit", columns_of(entry))


def columns_of(entry: Entry) -> dict[str, Any]:
    """Give what is written of an entry, by column."""
    return {**msgspec.structs.asdict(entry), "details": msgspec.json.encode(entry.details).decode()}


def page(
    tx: Transaction,
    account_id: str,
    limit: int,
    *,
    before: int | None = None,
    act: str | None = None,
    object: str | None = None,
    context: str | None = None,
) -> list[Noted]:
    """Give entries of an account, newest first: numbers below `before`, objects that end in `-` and the context."""
    bindings = {
        "account_id": account_id,
        "limit": limit,
        "before": LAST if before is None else before,
        "act": act,
        "object": object,
        "ending": None if context is None else f"-{context}",
    }
    return [noted_of(row) for row in tx.fetch("audit_page", bindings)]


async def chain(store: Store) -> int:
    """Give the entries that have no hash theirs, in order, in chunks; give how many."""
    chained = 0
    while await store.read(_waits):
        chained += await store.write(_chain_chunk)
    return chained


async def verify(store: Store) -> Verdict:
    """Walk along the whole chain, beside the writer, and tell where it is broken first."""
    found: Link | Verdict = START
    while isinstance(found, Link):
        found = await store.read(partial(follow, link=found))
    return found


def follow(tx: Transaction, link: Link) -> Link | Verdict:
    """Follow the chain by one chunk; give the place to go on from, or the verdict at its end."""
    number = FIRST if link == START else link.number  # nothing stands before number 1, unless somebody put it there
    steps = [*takewhile(lambda step: step.hash is not None, _steps(tx, number))]
    link, fault = find_fault(link, steps, _digests(tx, steps))
    if fault is None and len(steps) == limits.ROWS_PER_TRANSACTION:
        return link
    return _judge(tx, link, fault)


def _steps(tx: Transaction, number: int) -> list[Noted | Link]:
    """Give what follows a number: entries, and what is left of pruned ones."""
    following = {"number": number, "limit": limits.ROWS_PER_TRANSACTION}
    entries = {row[0]: noted_of(row) for row in tx.fetch("audit_after", following)}
    # read afterwards: what is pruned between the two is then seen twice, and not missed
    links = {row[0]: Link(*row) for row in tx.fetch("audit_pruned_after", following)}
    found: dict[int, Noted | Link] = {**links, **entries}
    return [found[one] for one in sorted(found)[: limits.ROWS_PER_TRANSACTION]]


def _digests(tx: Transaction, steps: Sequence[Noted | Link]) -> dict[int, str]:
    prunings = [step.number for step in steps if isinstance(step, Noted) and step.entry.act == PRUNED]
    found = {number: tx.fetch("audit_pruned_in", {"number": number}) for number in prunings}
    return {number: digest_of(Link(*row) for row in rows) for number, rows in found.items() if rows}


def _judge(tx: Transaction, link: Link, fault: str | None) -> Verdict:
    """Hold the end of a walk against the head, and against what may follow it."""
    rest, rest_chained, last_number = tx.fetch("audit_tail", {"number": link.number})[0]
    fault = fault or _fault_of_end(tx, link, rest_chained)
    if fault is None and rest and last_number != link.number + rest:
        fault = f"an entry after {link.number} is missing"
    if fault is None and tx.fetch("audit_numbers_given")[0][0] != link.number + rest:
        fault = f"entries after {link.number + rest} are missing"
    return Verdict(
        ok=fault is None,
        entries=link.number + rest,
        unchained=rest - rest_chained,
        number=link.number,
        hash=link.hash.hex(),
        first_bad_number=None if fault is None else link.number + 1,
        what=fault,
    )


def _fault_of_end(tx: Transaction, link: Link, rest_chained: int) -> str | None:
    head = tx.fetch_one("audit_head")
    if head is None or (head[0] == link.number and head[1] != link.hash):
        return "the head of the chain was changed"
    if rest_chained:
        return f"entry {link.number + 1} has lost its hash"
    if head[0] > link.number:
        return f"entries from {link.number + 1} to {head[0]} are missing, or have lost their hashes"
    return "the head of the chain was set back" if head[0] < link.number else None


def _waits(tx: Transaction) -> bool:
    return bool(_unchained(tx, _head(tx), 1))


def _chain_chunk(tx: Transaction) -> int:
    link = _head(tx)
    waiting = _unchained(tx, link, limits.ROWS_PER_TRANSACTION)
    hashes = []
    for number, entry, _ in waiting:
        link = Link(number, next_hash(link.hash, number, entry))
        hashes.append((link.hash, number))
    tx.apply_many("chain_audit", hashes)
    tx.apply("set_audit_head", {"number": link.number, "hash": link.hash})
    return len(waiting)


def _unchained(tx: Transaction, link: Link, limit: int) -> list[Noted]:
    return [noted_of(row) for row in tx.fetch("audit_unchained", {"number": link.number, "limit": limit})]


def _head(tx: Transaction) -> Link:
    row = tx.fetch_one("audit_head")
    return Link(*row) if row else START


def noted_of(row: Row) -> Noted:
    """Give an entry from its row."""
    number, account_id, at_ms, actor, act, acted_on, details, correlation_id, chained = row
    entry = Entry(
        account_id=account_id,
        at_ms=at_ms,
        actor=actor,
        act=act,
        object=acted_on,
        details=_details(details),
        correlation_id=correlation_id,
    )
    return Noted(number, entry, chained)


def _details(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):  # somebody's hand; the chain must tell, not fail
        return {"unreadable": text}
