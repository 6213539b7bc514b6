"""What a server answers: status, headers and JSON, read as leniently as Cloudflare's answers vary."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from math import isfinite
from types import NoneType
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec

from millrace.errors import UnexpectedAnswer

T = TypeVar("T")

NO_CONTENT = (204, 205)


class Answer(NamedTuple):
    """An HTTP answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether the call did what it was to do; Cloudflare may say no under a status of 200."""
        return 200 <= self.status < 300 and not _says_no(self.content)

    @property
    def is_final(self) -> bool:
        """Whether the server says that trying again is of no use."""
        return self.headers.get("x-should-retry", "").lower() == "false"

    @property
    def retry_after(self) -> float | None:
        """The seconds after which the server asks to try again; a date counts from the answer's own date."""
        for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
            try:
                seconds = float(self.headers[name]) / unit
            except (KeyError, ValueError):
                continue
            return max(0.0, seconds) if isfinite(seconds) else None
        try:
            until, now = (parsedate_to_datetime(self.headers[name]) for name in ("retry-after", "date"))
            return max(0.0, (until - now).total_seconds())
        except (KeyError, ValueError, TypeError):  # TypeError: only one of them has a zone
            return None

    @property
    def correlation_id(self) -> str | None:
        """What finds this call in the server's log, ours or Cloudflare's."""
        return self.headers.get("x-correlation-id") or self.headers.get("cf-ray")


class Account(msgspec.Struct, frozen=True):
    """One account that a key reaches."""

    id: str


class PageInfo(msgspec.Struct, frozen=True):
    """Where a page stands in its list."""

    page: int | float | None = None
    total_count: int | float | None = None
    total_pages: int | float | None = None


class Envelope(msgspec.Struct, Generic[T], frozen=True):
    """The answer of a v4 route, and the one thing in it that is wanted."""

    success: bool
    result: T
    result_info: PageInfo | None = None


class Done(msgspec.Struct, frozen=True):
    """The answer of a v4 route that has nothing to tell."""

    success: bool


class Said(msgspec.Struct, frozen=True):
    """What any answer may say of itself."""

    success: bool = True


def read_envelope(answer: Answer, type: type[T]) -> Envelope[T]:
    """Read the answer of a v4 route whose result is of this type; with NoneType there is no need of a result.

    Raises:
        UnexpectedAnswer: it has another shape.
    """
    if type is not NoneType:
        return read_answer(answer, Envelope[type])  # type: ignore[valid-type]
    if answer.status not in NO_CONTENT:
        read_answer(answer, Done)
    return Envelope(success=True, result=cast(T, None))


def is_last(answer: Envelope[list[T]], seen: int, page: int) -> bool:
    """Whether a list has no page after this one; `seen` counts its entries up to here.

    Without numbers on it the first page is all there is.
    """
    info = answer.result_info
    if not answer.result or info is None:
        return True
    if info.total_count is not None:
        return seen >= info.total_count
    return info.total_pages is None or page >= info.total_pages


def read_answer(answer: Answer, type: type[T]) -> T:
    """Read a JSON answer.

    Raises:
        UnexpectedAnswer: it is not JSON, or not of this shape.
    """
    wanted: Any = type
    try:
        found: T = _decoder(wanted).decode(answer.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unexpected(answer, error) from None
    return found


def _says_no(content: bytes) -> bool:
    try:
        return not _decoder(Said).decode(content).success
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _unexpected(answer: Answer, why: Exception) -> UnexpectedAnswer:
    error = UnexpectedAnswer(
        f"the server answered {answer.status}, but not as Millrace or Cloudflare do: {why}; is the URL right?"
    )
    error.status, error.correlation_id = answer.status, answer.correlation_id
    return error


@cache
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type)
