"""Named SQL statements, read from the .sql files beside this module."""

import re
from functools import cache
from importlib.resources import files

VALUES = re.compile(r"values\s*(\(.*\))\s*$", re.DOTALL)
NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


@cache
def load_statements(packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Give every statement of our own `queries/*.sql`, and of those in the packages of applications, by its name.

    Raises:
        ValueError: two statements bear the same name.
    """
    statements: dict[str, str] = {}
    for package in ("millrace.sql", *packages):
        folder = files(package).joinpath("queries")
        for file in sorted(folder.iterdir() if folder.is_dir() else (), key=lambda file: file.name):
            for name, text in NAMED.findall(file.read_text()):
                if name in statements:
                    raise ValueError(f"{package}, {file.name}: a statement named {name!r} is already there")
                statements[name] = text.strip()
    return statements


@cache
def widened(statement: str, rows: int) -> str:
    """Repeat the row of an `insert … values (…)` so many times, with a mark in place of each name."""
    found = VALUES.search(statement)
    if found is None:
        raise ValueError("only an insert that ends in one row of values can be widened")
    marks = "(" + ", ".join("?" * found[1].count(":")) + ")"
    return statement[: found.start()] + "values " + ", ".join([marks] * rows)
