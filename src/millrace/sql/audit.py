"""The audit trail as functions of an open transaction."""

from millrace.audit import Entry
from millrace.sql.transaction import Transaction


def note(tx: Transaction, entry: Entry) -> None:
    """Write what is done in this very transaction."""
