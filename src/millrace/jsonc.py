"""JSON as Cloudflare's tools take it, with comments and trailing commas, and as they print it, without spaces."""

import json
import re
from typing import Any

STRING = r'"(?:\\.|[^"\\])*"'
COMMENT = re.compile(rf"{STRING}|(//[^\r\n]*|/\*.*?\*/)", re.DOTALL)
# A comma right after an opening bracket or a comma ends no value: it stays, for the JSON parser to refuse.
TRAILING_COMMA = re.compile(rf"{STRING}|[\[{{,]\s*,|(,)(?=\s*[\]}}])", re.DOTALL)


def loads(text: str) -> Any:
    """Read the value.

    Raises:
        json.JSONDecodeError: the text is something else; line and column are those of the text.
    """
    return json.loads(blank(text))


def dumps(value: object) -> str:
    """Write the value in one line; a date or time, which only TOML has, becomes a string."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=lambda date: date.isoformat())


def blank(text: str) -> str:
    """Put spaces for comments and trailing commas, so that what remains keeps its line and column."""
    return TRAILING_COMMA.sub(_spaces, COMMENT.sub(_spaces, text))


def _spaces(match: re.Match[str]) -> str:
    return match[0] if match[1] is None else re.sub(r"[^\r\n]", " ", match[1])
