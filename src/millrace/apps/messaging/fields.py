"""Single fields of jobs: ids, addresses, numbers, texts and times, each with the sentence that refuses it."""

import re
from datetime import UTC, date, datetime

from millrace.clock import epoch_ms, read_rfc_3339

ID_CHARACTERS = 128
ADDRESS_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, without its angle brackets
CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def read_send_at(text: str | None) -> int | None:
    """Give the time of `sendAt` in epoch milliseconds.

    Raises:
        ValueError: it is no date with a time and an offset, which the decoder turns into its own error.
    """
    if text is None:
        return None
    moment = read_rfc_3339(text)
    if moment is None:
        raise ValueError(f"sendAt is {text[:40]!r}; expected a time with its offset, such as 2026-12-24T18:00:00Z")
    return epoch_ms(moment)


def read_moment(name: str, text: object, *, is_end: bool = False) -> int:
    """Give a date, which begins at midnight UTC, or a time with its offset, in epoch milliseconds.

    `is_end` takes the end of a date, for what is to include that day.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(text, str) and DAY.fullmatch(text):
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise _no_moment(name, text) from None
        return epoch_ms(datetime(day.year, day.month, day.day, tzinfo=UTC)) + (86_400_000 if is_end else 0)
    moment = read_rfc_3339(text) if isinstance(text, str) else None
    if moment is None:
        raise _no_moment(name, text)
    return epoch_ms(moment)


def check_id(name: str, text: str) -> str:
    """Give an id back that can stand in a URL and in a log.

    Raises:
        ValueError: it has control characters or surrogates, is blank, or is `.` or `..`.
    """
    if not text.strip() or not text.isprintable() or text in (".", ".."):
        raise ValueError(
            f"{name} is {text[:40]!r}; expected 1 to {ID_CHARACTERS} printable characters, and not . or .."
        )
    return text


def check_address(name: str, text: str) -> str:
    """Give an e-mail address back: a local part, `@` and a host, in ASCII; nothing that could end a header.

    Raises:
        ValueError: it is none.
    """
    local = text.partition("@")[0]
    if (
        len(text) > ADDRESS_CHARACTERS
        or not ADDRESS.fullmatch(text)
        or local[:1] == "."
        or local[-1:] == "."
        or ".." in local
    ):
        raise ValueError(f"{name} is no e-mail address; expected one such as ada@example.com")
    return text


def check_phone(name: str, text: str) -> str:
    """Give a phone number back.

    Raises:
        ValueError: it is none.
    """
    if not PHONE.fullmatch(text):
        raise ValueError(f"{name} is no phone number; expected + and 7 to 15 digits, such as +15005550006")
    return text


def check_line(name: str, text: str) -> None:
    """Let one line of text pass.

    Raises:
        ValueError: it has control characters or surrogates.
    """
    if CONTROL.search(text):
        raise ValueError(f"{name} has a line break or another control character; expected one line of text")
    check_text(name, text)


def check_text(name: str, text: str) -> None:
    """Let a text pass that every database and every provider can hold.

    Raises:
        ValueError: it has half of a character, or U+0000.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} has half of a character (a lone surrogate); expected text") from None
    if "\0" in text:
        raise ValueError(f"{name} has a character U+0000; expected text without it")


def _no_moment(name: str, text: object) -> ValueError:
    return ValueError(f"{name} is {str(text)[:40]!r}; expected a date such as 2026-01-31, or a time with its offset")
