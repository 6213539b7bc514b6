"""Who may have which export made, and who may have its file."""

from millrace.access.keys import Key
from millrace.access.scopes import GRANTS, Scope
from millrace.apps.messaging.exports.rows import Export, Reach
from millrace.errors import Forbidden


def reach_of(key: Key) -> Reach:
    """Say whose messages the exports of a key hold: of one that may not read messages, what it sent itself."""
    return "all" if {Scope.PEEK, Scope.REVIEW} & GRANTS[key.role] else "own"


def check_opens(key: Key, export: Export) -> None:
    """Let the key pass that asked for an export, and those that manage the account.

    Raises:
        Forbidden: it is another key.
    """
    if key.id != export.owner and Scope.MANAGE not in GRANTS[key.role]:
        raise Forbidden("this export belongs to another key; ask with that one, or as admin or operator")
