"""Where a request comes from, as far as its connection and its headers tell; the door itself asks for keys only."""

from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import msgspec

from millrace.http.app import is_loopback
from millrace.http.cors import ASGIApp
from millrace.http.request import ASGIReceive
from millrace.http.sending import ASGISend

OWN_SITES = ("same-origin", "none")  # `none` is an address that was typed


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser says of a request. `site` is Sec-Fetch-Site, which it leaves out over plain HTTP to other hosts.

    `is_refresh` when a page asks for its live part.
    """

    address: str = ""
    host: str = ""
    site: str = ""
    origin: str = ""
    is_https: bool = False
    is_refresh: bool = False

    @property
    def is_own(self) -> bool:
        """Say whether it comes from a page of ours; a request that tells nothing does not."""
        if self.site:
            return self.site in OWN_SITES
        return bool(self.host) and urlsplit(self.origin).netloc == self.host

    @property
    def is_local(self) -> bool:
        """Say whether a person at this machine asks, and no web page that somebody has open there."""
        name = urlsplit(f"//{self.host}").hostname or ""
        return self.site in ("", *OWN_SITES) and is_loopback(self.address) and is_loopback(name)


UNKNOWN = Visit()
VISIT: ContextVar[Visit] = ContextVar("visit", default=UNKNOWN)


def with_visits(app: ASGIApp) -> ASGIApp:
    """Let requests to the dashboard know where they come from."""

    async def serve(scope: Any, receive: ASGIReceive, send: ASGISend) -> None:
        if scope["type"] == "http" and scope["path"].lstrip("/").startswith("dashboard"):
            VISIT.set(_visit_of(scope))
        await app(scope, receive, send)

    return serve


def _visit_of(scope: Any) -> Visit:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get(b"origin", "")
    return Visit(
        address=(scope["client"] or ("",))[0],
        host=headers.get(b"host", ""),
        site=headers.get(b"sec-fetch-site", ""),
        origin=origin,
        is_https="https" in (scope["scheme"], headers.get(b"x-forwarded-proto"), origin.partition(":")[0]),
        is_refresh=b"hx-request" in headers,
    )
