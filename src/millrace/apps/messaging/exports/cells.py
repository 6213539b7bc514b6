"""Cells of a table that a spreadsheet opens: a text that it would run as a formula is marked as a text."""

import re

# A formula begins so, also behind spaces, quotes and signs that nobody sees; some programs take full-width signs, too.
FORMULA = re.compile(r"""[\s"'\u200b-\u200f\u2060\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]""")


def safe_cell(text: str) -> str:
    """Give a text that no spreadsheet runs: one that looks like a formula gets a `'` before it."""
    return "'" + text if FORMULA.match(text) else text
