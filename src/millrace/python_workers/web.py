"""Requests and responses for Python Workers, as far as a queue handler needs them: `fetch`, and what it gives."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from millrace.python_workers.values import shown

FETCH_SECONDS = 60
REDIRECT_STATUS = 302


class Headers(dict[str, str]):
    """Header fields, found whatever the case of their names."""

    def __init__(self, fields: Any = None) -> None:
        super().__init__((name.lower(), value) for name, value in dict(fields or {}).items())

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Give a field, or the default."""
        return super().get(name.lower(), default)

    @classmethod
    def new(cls, fields: Any = None) -> "Headers":
        """Make one as JavaScript's `new` does."""
        return cls(fields)


class _Content:
    """The body of a request or response."""

    def __init__(self, body: str | bytes | None, headers: Any) -> None:
        self.body, self.headers = body, Headers(headers)

    async def bytes(self) -> bytes:
        """Give the body as bytes."""
        return self.body.encode() if isinstance(self.body, str) else self.body or b""

    async def text(self) -> str:
        """Give the body as text."""
        return (await self.bytes()).decode(errors="replace")

    async def _read_json(self) -> Any:
        return shown(msgspec.json.decode(await self.bytes()))


class Request(_Content):
    """What is asked of a server."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, **named: Any) -> None:
        given = {**dict(options or {}), **named}
        super().__init__(given.get("body"), given.get("headers"))
        self.url, self.method = url, str(given.get("method") or "GET").upper()

    async def json(self) -> Any:
        """Read the body as JSON."""
        return await self._read_json()

    @classmethod
    def new(cls, url: str, options: Mapping[str, Any] | None = None, **named: Any) -> "Request":
        """Make one as JavaScript's `new` does."""
        return cls(url, options, **named)


class Response(_Content):
    """What a server answers."""

    def __init__(
        self, body: str | bytes | None = None, status: int = 200, status_text: str = "", headers: Any = None
    ) -> None:
        super().__init__(body, headers)
        self.status, self.status_text = int(status), status_text

    @property
    def ok(self) -> bool:
        """Say whether the status is one of success."""
        return 200 <= self.status < 300

    def json(self, *arguments: Any, **options: Any) -> Any:
        """Read the body as JSON; or, as `Response.json(data)`, make a response of JSON."""
        return self._read_json() if isinstance(self, Response) else Response.from_json(self, *arguments, **options)

    @staticmethod
    def from_json(data: Any, status: int = 200, status_text: str = "", headers: Any = None) -> "Response":
        """Make a response of JSON."""
        fields = {"content-type": "application/json", **Headers(headers)}
        return Response(msgspec.json.encode(data).decode(), status, status_text, fields)

    @staticmethod
    def redirect(url: str, status: int = REDIRECT_STATUS) -> "Response":
        """Make a response that leads elsewhere."""
        return Response(status=status, headers={"location": url})

    @classmethod
    def new(cls, body: Any = None, options: Mapping[str, Any] | None = None, **named: Any) -> "Response":
        """Make one as JavaScript's `new` does."""
        given = {**dict(options or {}), **named}
        return cls(body, given.get("status", 200), given.get("statusText", ""), given.get("headers"))


async def fetch(resource: str | Request, options: Mapping[str, Any] | None = None, **named: Any) -> Response:
    """Ask a server, within a minute; a status of failure is an answer like another.

    Raises:
        OSError: the server cannot be reached.
        ValueError: the URL is not one of http or https.
    """
    request = resource if isinstance(resource, Request) else Request(str(resource), options, **named)
    if not request.url.lower().startswith(("http://", "https://")):
        raise ValueError(f"URL is {request.url!r}; expected http:// or https://")
    content = None if request.body is None else await request.bytes()
    return await asyncio.to_thread(_ask, request, content)


def _ask(request: Request, content: bytes | None) -> Response:
    import urllib.error  # noqa: PLC0415 - 15 ms at the start of each process; few handlers ask servers
    import urllib.request  # noqa: PLC0415

    asked = urllib.request.Request(request.url, content, request.headers, method=request.method)  # noqa: S310 - checked by `fetch`
    try:
        with urllib.request.urlopen(asked, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - checked by `fetch`
            return Response(answer.read(), answer.status, answer.reason, answer.headers)
    except urllib.error.HTTPError as answer:
        with answer:
            return Response(answer.read(), answer.code, answer.reason, answer.headers)
