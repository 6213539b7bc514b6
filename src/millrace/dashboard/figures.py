"""Numbers, times and bodies as a person reads them."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import msgspec

from millrace.clock import iso_milliseconds
from millrace.message import ContentType

SHOWN_CHARACTERS = 600
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
SIZES = ("B", "kB", "MB", "GB", "TB")


def age(milliseconds: int) -> str:
    """Write a duration by its two largest units: `3 h 20 min`."""
    seconds = max(0, milliseconds) // 1000
    for (span, unit), (lower_span, lower_unit) in pairwise(UNITS):
        if seconds >= span:
            rest = seconds % span // lower_span
            return f"{seconds // span} {unit}" + (f" {rest} {lower_unit}" if rest else "")
    return f"{seconds} s"


def size(count: int) -> str:
    """Write a number of bytes, 1 kB as 1000 bytes."""
    amount = float(count)
    for unit in SIZES:
        if amount < 1000 or unit == SIZES[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def number(count: int) -> str:
    """Write a number with narrow spaces between its thousands."""
    return f"{count:,}".replace(",", "\u202f")


def moment(at_ms: int) -> str:
    """Write a time in UTC, to the second."""
    return iso_milliseconds(at_ms)[:19].replace("T", " ")


def body_text(body: bytes, content_type: str) -> str:
    """Give the beginning of a body as text; bytes that are none as hexadecimal digits."""
    if content_type in (ContentType.JSON, ContentType.TEXT):
        return cut(body[: SHOWN_CHARACTERS * 4].decode(errors="replace"))
    return cut(body[:SHOWN_CHARACTERS].hex(" "))


def cut(text: str) -> str:
    """Give the beginning of a text."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} …"


def brief(value: object) -> str:
    """Write a value as JSON, its beginning."""
    return cut(msgspec.json.format(msgspec.json.encode(value), indent=0).decode())


FILTERS: Mapping[str, Callable[..., str]] = {
    "age": age,
    "size": size,
    "number": number,
    "moment": moment,
    "brief": brief,
}
