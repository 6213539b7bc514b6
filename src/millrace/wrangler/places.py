"""Where the keys of a file stand: a tree of lines beside the tree of values, and errors that name the place."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from millrace.errors import ConfigurationError


class Spot(msgspec.Struct):
    """The line of a key or an element, and what is inside of it. Line 0 is the file as a whole."""

    line: int
    inner: dict[str | int, "Spot"] = {}


class Problem(NamedTuple):
    """What is wrong, or only remarkable, and the path of the key that it is about."""

    path: str
    sentence: str


def line_counter(text: str) -> Callable[[int], int]:
    """Give the function from an offset in the text to its line; the first line is 1."""
    ends = [match.start() for match in re.finditer("\n", text)]
    return lambda offset: bisect_left(ends, offset) + 1


def place(file: Path, spots: Spot, path: str) -> str:
    """Write file and line of a path such as `queues.consumers[1].queue`.

    A path that the file does not have, or has twice, stands where the nearest thing around it stands.
    """
    line = _line(spots, f".{path}")
    return f"{file}:{line}" if line else str(file)


def placed(file: Path, spots: Spot, problems: Iterable[Problem]) -> list[str]:
    """Write each problem after its place, in the order of the lines."""
    ordered = sorted(problems, key=lambda problem: _line(spots, f".{problem.path}"))
    return [f"{place(file, spots, problem.path)}: {problem.sentence}" for problem in ordered]


def refusal(file: Path, spots: Spot, problems: Iterable[Problem]) -> ConfigurationError:
    """Make one error of all the problems, a line for each."""
    return ConfigurationError("\n  ".join(placed(file, spots, problems)))


def _line(spot: Spot, rest: str) -> int:
    while rest:
        fitting = [(inner, name) for key, inner in spot.inner.items() if _begins(rest, name := _shown(key))]
        if len(fitting) != 1:
            break
        spot, name = fitting[0]
        rest = rest[len(name) :]
    return spot.line


def _shown(key: str | int) -> str:
    return f"[{key}]" if isinstance(key, int) else f".{key}"


def _begins(rest: str, name: str) -> bool:
    return rest.startswith(name) and rest[len(name) : len(name) + 1] in ("", ".", "[")
