"""The frame that all pages are set in: templates, headers, and which pages there are."""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from millrace.dashboard.figures import FILTERS
from millrace.http.routes import Answer, Route, RouteTable

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
ASSET_HEADERS = ((b"cache-control", b"public, max-age=31536000, immutable"), (b"x-content-type-options", b"nosniff"))
TYPES = {".js": b"text/javascript; charset=utf-8", ".css": b"text/css; charset=utf-8", ".svg": b"image/svg+xml"}


class Frame:
    """Templates and assets, read once. Pages ask the `listed` routes; a page whose route is missing is left out."""

    def __init__(self, listed: Iterable[Route]) -> None:
        self.table = RouteTable(listed)
        self.assets = {path.name: _asset(path) for path in sorted((HERE / "static").iterdir())}

    @cached_property
    def _templates(self) -> Any:
        """The templates; their library is loaded with the first page, which most servers never show."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

        loader = FileSystemLoader(HERE / "templates")
        templates = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        templates.filters.update(FILTERS)
        digest = hashlib.sha256(b"".join(asset.body for asset in self.assets.values())).hexdigest()
        templates.globals |= {
            "assets_version": digest[:12],  # in their addresses, as browsers keep them for a year
            "has_events": self.has("POST", "/events"),
            "has_audit": self.has("GET", "/api/audit"),
        }
        return templates

    def has(self, method: str, path: str) -> bool:
        """Say whether the server has this route."""
        return any(route.method == method and route.path == path for route in self.table.routes)

    def answer(self, template: str, status: int = 200, **values: Any) -> Answer:
        """Set a page."""
        html = self._templates.get_template(template).render(**values)
        return Answer(html.encode(errors="replace"), status, b"text/html; charset=utf-8", HEADERS)


def _asset(path: Path) -> Answer:
    return Answer(path.read_bytes(), content_type=TYPES[path.suffix], headers=ASSET_HEADERS)
