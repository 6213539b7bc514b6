"""Named SQL statements, read from the .sql files beside this module: common ones, and those of one database."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

VALUES = re.compile(r"values\s*(\(.*\))\s*$", re.DOTALL)
NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


@cache
def load_statements(dialect: str, packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Give every statement of `queries/*.sql` and `queries/<dialect>/*.sql`, ours and of applications, by its name.

    Raises:
        ValueError: two statements bear the same name.
    """
    statements: dict[str, str] = {}
    for package in ("millrace.sql", *packages):
        folder = files(package).joinpath("queries")
        for file in (*_scripts(folder), *_scripts(folder.joinpath(dialect))):
            for name, text in NAMED.findall(file.read_text()):
                if name in statements:
                    raise ValueError(f"{package}, {file.name}: a statement named {name!r} is already there")
                statements[name] = text.strip().removesuffix(";")
    return statements


@cache
def widened(statement: str, rows: int) -> str:
    """Repeat the row of an `insert … values (…)` so many times, with a mark in place of each name."""
    found = VALUES.search(statement)
    if found is None:
        raise ValueError("only an insert that ends in one row of values can be widened")
    marks = "(" + ", ".join("?" * found[1].count(":")) + ")"
    return statement[: found.start()] + "values " + ", ".join([marks] * rows)


def _scripts(folder: Traversable) -> Iterator[Traversable]:
    found = (file for file in folder.iterdir() if file.name.endswith(".sql")) if folder.is_dir() else ()
    yield from sorted(found, key=lambda file: file.name)
