"""Text out of HTML, in time that grows with its length only.

The parser of the standard library takes minutes for half a megabyte of comments that never end.
"""

import re
from html import unescape

UNREAD = ("script", "style", "template", "noscript")
ENDS = {tag: re.compile(rf"</{tag}\b", re.IGNORECASE) for tag in UNREAD}
INLINE = frozenset(
    (
        "a",
        "abbr",
        "b",
        "bdi",
        "cite",
        "code",
        "em",
        "i",
        "kbd",
        "mark",
        "q",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
    )
)
# What is not closed reaches to the end, as in browsers: each search uses up what it has looked at.
MARKUP = re.compile(
    r"""
    <!--.*?(?:-->|\Z)
    | <[!?][^>]*+(?:>|\Z)
    | <(?P<is_end>/?)(?P<tag>[a-zA-Z][^\s/>]*+)
      (?: [^>=]++ | =\s*+ (?: "[^"]*+(?:"|\Z) | '[^']*+(?:'|\Z) )? )*+
      (?:>|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
CHARACTER = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});?")  # longer ones are none
SPACES = re.compile(r"[^\S\n]+")
LINES = re.compile(r"\s*\n\s*")


def text_of_html(page: str) -> str:
    """Give what a reader of the page would see: no scripts and styles, one line for each block."""
    parts, at = [], 0
    while found := MARKUP.search(page, at):
        parts.append(_unescaped(page[at : found.start()]))
        tag, at = (found["tag"] or "").lower(), found.end()
        if tag and tag not in INLINE:
            parts.append("\n")
        if tag in UNREAD and not found["is_end"]:
            end = ENDS[tag].search(page, at)
            at = end.start() if end else len(page)
    parts.append(_unescaped(page[at:]))
    return LINES.sub("\n", SPACES.sub(" ", "".join(parts))).strip()


def _unescaped(text: str) -> str:
    return CHARACTER.sub(lambda found: unescape(found[0]), text)
