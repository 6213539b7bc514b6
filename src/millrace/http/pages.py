"""Two answers for a person who looks around: what this server is, and its routes as a page."""

from collections.abc import Iterable
from html import escape
from typing import Any

import msgspec

from millrace.http.desk import Desk
from millrace.http.errors import reply_to
from millrace.http.request import Request
from millrace.http.routes import Answer, Route

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "code{font:14px ui-monospace,monospace}table{border-collapse:collapse;width:100%;table-layout:fixed}"
    "th:nth-child(1){width:38%}th:nth-child(4){width:16%}"
    "td,th{overflow-wrap:anywhere;text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;border-bottom:1px solid #8884}"
)


JSON_TYPES: dict[Any, str] = {str: "string", int: "integer", bool: "true or false"}


class About(msgspec.Struct, frozen=True):
    """What this server is, and where to read on."""

    name: str
    version: str
    openapi: str
    docs: str


def routes(listed: Iterable[Route], version: str) -> list[Route]:
    """Give the routes of the two pages; the second lists all that are given."""
    listed = list(listed)
    about = Answer(msgspec.json.encode(About("millrace", version, "/openapi.json", "/docs")))

    async def show_about(desk: Desk, request: Request) -> Answer:
        """Say what this server is."""
        return about

    async def show_routes(desk: Desk, request: Request) -> Answer:
        """Show the routes as a page."""
        return Answer(_page(listed, version).encode(), content_type=b"text/html; charset=utf-8")

    return [
        Route(method="GET", path="/", handle=show_about, scope=None, gives=About),
        Route(method="GET", path="/docs", handle=show_routes, scope=None, gives=str, media_type="text/html"),
    ]


def _page(listed: Iterable[Route], version: str) -> str:
    rows = "".join(_row(route) for route in listed)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Millrace {version}</title><style>{STYLE}</style>"
        f"<h1>Millrace {version}</h1><p>Every route but the health checks wants a key: "
        "<code>Authorization: Bearer …</code>. The whole contract, with all types: <code>/openapi.json</code>.</p>"
        "<table><tr><th>route</th><th>does</th><th>takes</th><th>refuses with</th></tr>"
        f"{rows}</table>{_messages(listed)}</html>"
    )


def _messages(listed: Iterable[Route]) -> str:
    """Show the bodies that routes put into queues, for those who write consumers."""
    shown = "".join(
        f"<h3>{escape(route.message.__name__)}</h3><p>{escape((route.message.__doc__ or '').split(chr(10))[0])} "
        f"Sent by <code>{escape(route.method)} {escape(route.path)}</code>.</p><table><tr><th>field</th><th>type</th></tr>"
        f"{''.join(_field(field) for field in msgspec.structs.fields(route.message))}</table>"
        for route in listed
        if route.message is not None
    )
    return f"<h2>Messages</h2>{shown}" if shown else ""


def _field(field: msgspec.structs.FieldInfo) -> str:
    kind = JSON_TYPES.get(field.type, "any JSON")
    optional = "" if field.required else ", may be absent"
    return f"<tr><td><code>{escape(field.encode_name)}</code></td><td>{kind}{optional}</td></tr>"


def _row(route: Route) -> str:
    takes = _fields(route.takes.type) if route.takes else ""
    refuses = sorted({f"{reply_to(kind('')).status} / {reply_to(kind('')).code}" for kind in route.refuses})
    does = (route.handle.__doc__ or type(route.handle).__call__.__doc__ or "").strip().split("\n")[0]
    return (
        f"<tr><td><code>{route.method} {escape(route.path)}</code></td><td>{escape(does)}</td>"
        f"<td><code>{escape(takes)}</code></td><td>{', '.join(refuses)}</td></tr>"
    )


def _fields(kind: Any) -> str:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "one of several, see /openapi.json"
    fields = msgspec.structs.fields(kind)
    return "{" + ", ".join(field.encode_name + ("" if field.required else "?") for field in fields) + "}"
