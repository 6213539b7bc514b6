"""Entries of the audit trail that go after their time, and come back from an archive.

What is left of a pruned entry is its number and its hash, so that the chain can be followed over it. The entry that
tells of a pruning holds a digest of what went with it, and is itself never pruned.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from millrace import limits
from millrace.audit import GENESIS, PRUNED, RESTORED, Link, Noted, digest_of, entry_of, next_hash
from millrace.errors import InvalidInput
from millrace.sql.audit import columns_of, note, noted_of
from millrace.sql.transaction import Transaction

TRAIL = "audit trail"  # the object of acts on it
HOLD = "audit pruning"


def audit_before(tx: Transaction, account_id: str, at_ms: int, after_number: int, limit: int) -> list[Noted]:
    """Give chained entries of the account from before a time, oldest first, above a number; never the newest of all."""
    bindings = {"account_id": account_id, "at_ms": at_ms, "after_number": after_number, "limit": limit}
    return [noted_of(row) for row in tx.fetch("audit_before", bindings)]


def prune(tx: Transaction, account_id: str, numbers: Sequence[int], now_ms: int) -> int:
    """Delete those of the entries that are the account's and may go; note it, and give how many they were.

    Raises:
        InvalidInput: there are too many for one transaction.
    """
    _check_count(len(numbers))
    tx.hold(HOLD)
    rows = tx.fetch("audit_prunable", {"numbers": tx.array(numbers), "account_id": account_id}) if numbers else []
    if not rows:
        return 0
    pruned = [Link(number, chained) for number, chained, was_restored in rows if not was_restored]
    first, last = rows[0][0], rows[-1][0]
    words = {"entries": len(rows), "first": first, "last": last, "digest": digest_of(pruned)}
    note(tx, entry_of(account_id, now_ms, PRUNED, TRAIL, **words))
    noted_in = tx.fetch("audit_numbers_given")[0][0]
    tx.apply_many("note_pruned", [(*link, noted_in) for link in pruned])
    tx.apply("delete_audit", {"numbers": tx.array([row[0] for row in rows])})
    return len(rows)


def restore(tx: Transaction, entries: Sequence[Noted], now_ms: int) -> int:
    """Put entries back as they were, note it for each account, and give how many were not there.

    Raises:
        InvalidInput: there are too many, or one does not follow from the entry before it.
    """
    _check_count(len(entries))
    tx.hold(HOLD)
    wanted = tx.array(sorted({place for noted in entries for place in (noted.number - 1, noted.number)} or {0}))
    pruned: dict[int, bytes] = dict(tx.fetch("audit_pruned_hashes", {"numbers": wanted}))
    present: dict[int, bytes] = dict(tx.fetch("audit_hashes", {"numbers": wanted}))
    for noted in entries:
        _check_fit(noted, pruned, {**pruned, **present})
    missing = [*{noted.number: noted for noted in entries if noted.number not in present}.values()]
    tx.apply_many("restore_audit", [_row_of(noted) for noted in missing])
    for account_id in sorted({noted.entry.account_id for noted in missing}):
        numbers = [noted.number for noted in missing if noted.entry.account_id == account_id]
        words = {"entries": len(numbers), "first": min(numbers), "last": max(numbers)}
        note(tx, entry_of(account_id, now_ms, RESTORED, TRAIL, **words))
    return len(missing)


def _row_of(noted: Noted) -> dict[str, Any]:
    return {"number": noted.number, **columns_of(noted.entry), "hash": noted.hash}


def _check_fit(noted: Noted, pruned: Mapping[int, bytes], links: Mapping[int, bytes]) -> None:
    number, entry, chained = noted
    before = GENESIS if number == 1 else links.get(number - 1) or b""
    if chained is None or not chained == pruned.get(number) == next_hash(before, number, entry):
        raise InvalidInput(
            f"entry {number} of the audit trail is not as it was pruned; restore it from another archive"
        )


def _check_count(count: int) -> None:
    if count > limits.ROWS_PER_TRANSACTION:
        raise InvalidInput(f"{count} audit entries; expected at most {limits.ROWS_PER_TRANSACTION} at a time")
