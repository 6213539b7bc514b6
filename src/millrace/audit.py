"""Who did what: an entry of the audit trail, and the chain of hashes that shows whether one was changed later.

An entry is written in the transaction of the act itself; who acts is set once, at the door, and goes along with the
caller's task.
"""

import hashlib
from contextvars import ContextVar
from typing import Any

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """Who acts: a key by its id, `system` for the server itself, `command` for a command on the data directory."""

    name: str
    correlation_id: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One act. `object` names what was acted on (`queue orders`); `details` hold no body and no secret."""

    account_id: str
    at_ms: int
    actor: str
    act: str
    object: str
    details: dict[str, Any] = {}
    correlation_id: str = ""


SYSTEM = Actor("system")
ACTING: ContextVar[Actor] = ContextVar("acting", default=SYSTEM)
GENESIS = bytes(32)  # what the first entry of a chain follows

_encode = msgspec.json.Encoder(order="deterministic").encode


def entry_of(account_id: str, at_ms: int, act: str, object: str, **details: Any) -> Entry:
    """Make the entry of an act by whoever acts in this task; details that are None are left out."""
    actor = ACTING.get()
    return Entry(
        account_id=account_id,
        at_ms=at_ms,
        actor=actor.name,
        act=act,
        object=object,
        details={key: value for key, value in details.items() if value is not None},
        correlation_id=actor.correlation_id,
    )


def next_hash(previous: bytes, number: int, entry: Entry) -> bytes:
    """Give the hash of an entry: SHA-256 over the hash before it, its number and its fields in a fixed order."""
    return hashlib.sha256(previous + b"%d " % number + _encode(entry)).digest()
