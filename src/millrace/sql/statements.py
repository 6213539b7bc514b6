"""Named SQL statements, read from the .sql files beside this module."""

import re
from functools import cache
from importlib.resources import files

NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


@cache
def load_statements() -> dict[str, str]:
    """Give every statement of `queries/*.sql` by its name.

    Raises:
        ValueError: two statements bear the same name.
    """
    statements: dict[str, str] = {}
    for file in sorted(files("millrace.sql").joinpath("queries").iterdir(), key=lambda file: file.name):
        for name, text in NAMED.findall(file.read_text()):
            if name in statements:
                raise ValueError(f"{file.name}: a statement named {name!r} is already there")
            statements[name] = text.strip()
    return statements
