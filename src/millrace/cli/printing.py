"""How commands print: JSON for programs, short aligned lines for people."""

import sys
from collections.abc import Sequence

import msgspec

from millrace.errors import StoreUnavailable

SHOWN_CHARACTERS = 100


def print_json(value: object) -> None:
    """Print a value as JSON, bytes as base64; always in UTF-8, whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def print_lines(*lines: str) -> None:
    """Print lines; what the terminal's encoding has not is escaped."""
    for line in lines:
        print(line.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their heads, each column as wide as its widest value."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        print_lines("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())


def shortened(body: object) -> str:
    """Show a message's body on one line, without what could move a terminal's cursor."""
    text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    return escaped(text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…")


def escaped(text: str) -> str:
    """Write what could move a terminal's cursor as Python would."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def counted(count: int, noun: str) -> str:
    """Say how many: `1 message`, `2 messages`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def with_cause(error: Exception, more: str = "") -> str:
    """Give the sentence of an error and, where no connection to a database was made, what libpq said: no values."""
    cause = error.__cause__
    is_of_libpq = isinstance(error, StoreUnavailable) and getattr(cause, "sqlstate", "") is None
    return "\n  ".join([f"{error}{more}", *(str(cause).splitlines() if is_of_libpq else ())])
