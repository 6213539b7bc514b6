"""The page of the audit trail."""

from millrace import limits
from millrace.dashboard.turn import Turn
from millrace.http.routes import Answer

SHOWN_ENTRIES = 50


async def show_audit(turn: Turn) -> Answer:
    """Show what was done last, and on demand whether the trail is whole."""
    before = turn.request.number("before", limits.PAGE, limits.PAGE)
    listed = await turn.ask("GET", "/api/audit", query={"limit": SHOWN_ENTRIES, "before": before})
    entries = listed["entries"]
    verdict = await turn.ask("GET", "/api/audit/verify") if "check" in turn.request.query else None
    return turn.page(
        "audit.html",
        entries=entries,
        before=before if before < limits.PAGE else 0,
        next_before=entries[-1]["number"] if len(entries) == SHOWN_ENTRIES else 0,
        verdict=verdict,
    )
