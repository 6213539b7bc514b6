"""The audit trail over HTTP: an account's own entries, and whether the chain of all of them holds."""

from typing import Any

import msgspec

from millrace import limits
from millrace.access.scopes import Scope
from millrace.audit import Noted, Verdict
from millrace.clock import iso_milliseconds
from millrace.errors import InvalidRequest
from millrace.http.desk import Desk, check_unlimited
from millrace.http.request import Request
from millrace.http.routes import Answer, Route
from millrace.sql.audit import page, verify

ENTRIES = 100
SUBJECT = "the audit trail tells of all queues"


class AuditEntry(msgspec.Struct, frozen=True):
    """One act; `hash` is null for about a second, until the entry is chained."""

    number: int
    at: str
    actor: str
    act: str
    object: str
    details: dict[str, Any]
    correlation_id: str
    hash: str | None


class AuditList(msgspec.Struct, frozen=True):
    """Entries of the account, newest first."""

    entries: list[AuditEntry]


async def list_entries(desk: Desk, request: Request) -> Answer:
    """List what was done in the account, newest first."""
    check_unlimited(request, SUBJECT)
    limit = request.number("limit", ENTRIES, limits.AUDIT_ENTRIES)
    before = request.number("before", limits.PAGE, limits.PAGE)
    account_id, words = request.key.account_id, {name: _word(request, name) for name in ("act", "object", "context")}
    noted = await desk.store.read(lambda tx: page(tx, account_id, limit, before=before, **words))
    return Answer(msgspec.json.encode(AuditList([audit_entry(one) for one in noted])))


async def verify_chain(desk: Desk, request: Request) -> Answer:
    """Follow the chain of all accounts' entries and tell where it is broken, if it is."""
    check_unlimited(request, SUBJECT)
    return Answer(msgspec.json.encode(await verify(desk.store)))


def audit_entry(noted: Noted) -> AuditEntry:
    """Show an entry."""
    number, entry, chained = noted
    return AuditEntry(
        number=number,
        at=iso_milliseconds(entry.at_ms),
        actor=entry.actor,
        act=entry.act,
        object=entry.object,
        details=entry.details,
        correlation_id=entry.correlation_id,
        hash=None if chained is None else chained.hex(),
    )


def _word(request: Request, name: str) -> str | None:
    return request.query.get(name, [""])[-1] or None


NUMBER = {"type": "integer", "minimum": 1, "maximum": limits.PAGE}
WORD = {"type": "string"}
QUERY = {
    "limit": {"type": "integer", "minimum": 1, "maximum": limits.AUDIT_ENTRIES},
    "before": NUMBER,
    "act": WORD,
    "object": WORD,
    "context": WORD,
}

ROUTES = [
    Route(method="GET", path="/api/audit", handle=list_entries, scope=Scope.AUDIT, gives=AuditList, query=QUERY,
          refuses=(InvalidRequest,)),
    Route(method="GET", path="/api/audit/verify", handle=verify_chain, scope=Scope.AUDIT, gives=Verdict),
]  # fmt: skip
