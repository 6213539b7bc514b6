"""How far an export is, for the page of its job."""

from typing import Any
from urllib.parse import quote

from millrace.apps.messaging.rows import Row
from millrace.dashboard.turn import Turn
from millrace.errors import Forbidden, NotFound, RouteNotFound


async def export_of(turn: Turn, row: Row) -> dict[str, Any] | None:
    """Give what there is of an export, None for who may not have it."""
    try:
        return dict(await turn.ask("GET", f"/api/exports/{quote(row.id, safe='')}"))
    except (Forbidden, NotFound, RouteNotFound):
        return None
