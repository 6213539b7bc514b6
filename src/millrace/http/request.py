"""One request as a route's function sees it, and the reading of its body within limits."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

import msgspec

from millrace import limits
from millrace.access.keys import Key
from millrace.errors import (
    BodyDoesNotFit,
    BodyNotJson,
    EncodingRefused,
    InvalidInput,
    InvalidRequest,
    RequestTimedOut,
    RequestTooLarge,
)

PLACE = re.compile(r"(?:at|in) `(\$[^`]*)`")  # where in the body, as the decoder tells it
INDEX = re.compile(r"\[[^\]]*\]")

ASGIReceive = Callable[[], Awaitable[Any]]
T = TypeVar("T")


class Head(NamedTuple):
    """What the door needs of the headers, read in one pass."""

    authorization: bytes | None
    content_length: int
    content_encoding: bytes
    correlation_id: str
    idempotency_key: str | None
    is_correlated: bool = False  # the id is the caller's own
    traceparent: str | None = None
    headers: Mapping[bytes, bytes] = {}  # all of them; of doubled ones the last

    def text(self, name: bytes) -> str:
        """Give a header by its lower-case name, or an empty text."""
        return self.headers.get(name, b"").decode("latin-1")


class Request:
    """A request whose key is known and whose route was found."""

    __slots__ = ("body", "head", "key", "params", "path", "query_string", "receive", "was_read")

    def __init__(
        self,
        key: Key,
        path: str,
        query_string: bytes,
        params: Mapping[str, str],
        head: Head,
        receive: ASGIReceive,
    ) -> None:
        self.key, self.path, self.query_string = key, path, query_string
        self.params, self.head, self.receive = params, head, receive
        self.body = b""
        self.was_read = False

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """Give the body as it comes, for routes that stream it.

        Raises:
            RequestTooLarge: more than `limit` bytes came.
            RequestTimedOut: nothing came for 30 s, or less than 1,000 bytes a second on the whole.
            ConnectionError: the client went away.
        """
        size, began = 0, monotonic()
        while not self.was_read:
            slowest = limits.REQUEST_SECONDS + size / limits.SLOWEST_BYTES_PER_SECOND
            left = min(limits.REQUEST_SECONDS, began + slowest - monotonic())
            try:
                message = await asyncio.wait_for(self.receive(), max(0, left))
            except TimeoutError:
                raise RequestTimedOut(
                    f"the body comes too slowly: {size} bytes in {monotonic() - began:.0f} s; expected some within "
                    f"{limits.REQUEST_SECONDS} s, and {limits.SLOWEST_BYTES_PER_SECOND} bytes a second on the whole"
                ) from None
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client went away")
            self.was_read = not message.get("more_body")
            body = message.get("body", b"")
            size += len(body)
            if size > limit:
                raise _too_large(size, limit)
            if body:
                yield body

    @property
    def correlation_id(self) -> str:
        """The caller's id for this request, or one that was made for it."""
        return self.head.correlation_id

    async def until_left(self) -> None:
        """Wait until the client has closed its connection; for routes that make it wait."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name."""
        return parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)

    def number(self, name: str, default: int, high: int) -> int:
        """Give a whole number of the query.

        Raises:
            InvalidRequest: not a whole number from 1 to `high`.
        """
        text = self.query.get(name, [str(default)])[-1]
        if not text.isascii() or not text.isdigit() or len(text) > 18 or not 1 <= int(text) <= high:
            raise InvalidRequest(f"{name} is {text[:40]!r}; expected a whole number from 1 to {high}")
        return int(text)

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """Give a word of the query.

        Raises:
            InvalidRequest: not one of the allowed words.
        """
        text = self.query.get(name, [default])[-1]
        if text not in allowed:
            raise InvalidRequest(f"{name} is {text[:40]!r}; expected one of {', '.join(filter(None, allowed))}")
        return text


class Shape(msgspec.Struct, frozen=True):
    """A type that a body must have, and the error that each part of it stands for (by path, longest first)."""

    type: Any
    other: type[InvalidInput] = BodyDoesNotFit
    parts: tuple[tuple[str, type[InvalidInput]], ...] = ()

    def read(self, body: bytes) -> Any:
        """Decode a body; an empty one counts as `{}`.

        Raises:
            BodyNotJson: not JSON, not UTF-8, or nested too deep.
            InvalidInput: the class that `parts` names for the part that is wrong, else `other`.
        """
        try:
            if not body.isascii():
                body.decode()  # the decoder skips what it does not need, unread
            return msgspec.json.decode(body or b"{}", type=self.type)
        except msgspec.ValidationError as error:
            raise self._kind_of(str(error))(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BodyNotJson(f"body is not JSON: {error}") from None

    def _kind_of(self, sentence: str) -> type[InvalidInput]:
        found = PLACE.search(sentence)
        place = INDEX.sub("[]", found[1]) if found else ""
        return next((kind for part, kind in self.parts if place.startswith(part)), self.other)


def check_length(head: Head, limit: int) -> None:
    """Refuse by the headers alone what need not be read.

    Raises:
        EncodingRefused: a Content-Encoding other than identity.
        RequestTooLarge: a Content-Length over the limit.
    """
    if head.content_encoding not in (b"", b"identity"):
        raise EncodingRefused("Content-Encoding is not accepted; send the body as it is")
    if head.content_length > limit:
        raise _too_large(head.content_length, limit)


async def read_body(receive: ASGIReceive, limit: int) -> bytes:
    """Read the whole body.

    Raises:
        RequestTooLarge: more than `limit` bytes came.
        RequestTimedOut: it took longer than 30 s.
        ConnectionError: the client went away.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        if len(body) > limit:
            raise _too_large(len(body), limit)
        return body
    try:
        async with asyncio.timeout(limits.REQUEST_SECONDS):
            return await _read_rest(message, receive, limit)
    except TimeoutError:
        raise RequestTimedOut(f"the body did not arrive within {limits.REQUEST_SECONDS} s") from None


async def _read_rest(message: Any, receive: ASGIReceive, limit: int) -> bytes:
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(size, limit)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def _too_large(size: int, limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"the body has {size} bytes or more; this route takes up to {limit}")
