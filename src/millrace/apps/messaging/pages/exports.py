"""How far an export is, for the page of its job."""

from typing import Any
from urllib.parse import quote

import msgspec

from millrace.apps.messaging.rows import Row
from millrace.dashboard.turn import Turn, root_of
from millrace.errors import Forbidden, NotFound


class ExportFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file of an export, or what there is of it. Its `address` is there as long as it can be downloaded."""

    rows: int
    bytes: int | None
    address: str
    expires_at: str
    is_running: bool
    examined: int
    total: int | None
    percentage: int | None


async def export_of(turn: Turn, row: Row) -> ExportFile | None:
    """Give the file of an export, None before it is begun and for keys that may not have it."""
    try:
        shown = await turn.ask("GET", f"/api/exports/{quote(row.id, safe='')}")
    except (Forbidden, NotFound):
        return None
    return _file(shown, root_of(turn.request.path))


def _file(shown: dict[str, Any], root: str) -> ExportFile:
    progress, url = shown["progress"], shown["downloadUrl"] or ""
    return ExportFile(
        rows=shown["rows"],
        bytes=shown["bytes"],
        address=f"{root}/..{url}" if url.startswith("/") else url,  # seen from here, whatever a proxy has before both
        expires_at=(shown["expiresAt"] or "")[:19].replace("T", " "),
        is_running=shown["status"] in ("queued", "scheduled", "processing"),
        examined=progress["rows"],
        total=progress["total"],
        percentage=progress["percentage"],
    )
