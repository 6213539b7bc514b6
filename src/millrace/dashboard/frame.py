"""The frame that all pages are set in: templates, headers, assets, and which pages there are."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from millrace.access.keys import Key
from millrace.dashboard.figures import FILTERS
from millrace.dashboard.pages import OWN_TEMPLATES, Page, check_names
from millrace.http.routes import Answer, Route, RouteTable

STATIC = Path(__file__).parent / "static"
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
    """Templates and assets, read once, of pages in the order of the menu. Pages ask the `listed` routes.

    Raises:
        ConfigurationError: the names of two pages are the same, or one cannot be a name.
    """

    def __init__(self, listed: Iterable[Route], pages: Sequence[Page]) -> None:
        check_names(pages)
        self.table, self.pages = RouteTable(listed), pages
        self.assets = {path.name: _asset(path) for path in sorted(STATIC.iterdir())}

    @cached_property
    def _templates(self) -> Any:
        """The templates; their library is loaded with the first page, which most servers never show."""
        from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined  # noqa: PLC0415

        folders = {page.name: FileSystemLoader(page.templates) for page in self.pages}
        loader = ChoiceLoader([FileSystemLoader(OWN_TEMPLATES), PrefixLoader(folders)])  # so none hides the frame's
        templates = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        templates.filters.update(FILTERS)
        digest = hashlib.sha256(b"".join(asset.body for asset in self.assets.values())).hexdigest()
        templates.globals["assets_version"] = digest[:12]  # in their addresses, as browsers keep them for a year
        return templates

    def menu(self, key: Key) -> list[Page]:
        """Give the pages that are for a key."""
        return [page for page in self.pages if page.is_for(key)]

    def answer(self, template: str, status: int = 200, **values: Any) -> Answer:
        """Set a page."""
        html = self._templates.get_template(template).render(**values)
        return Answer(html.encode(errors="replace"), status, b"text/html; charset=utf-8", HEADERS)


def _asset(path: Path) -> Answer:
    return Answer(path.read_bytes(), content_type=TYPES[path.suffix], headers=ASSET_HEADERS)
