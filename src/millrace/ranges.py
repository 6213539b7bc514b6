"""Numbers that were given, held against what is allowed; and how a refused value is shown."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from millrace.errors import InvalidInput


def whole_numbers(
    given: Mapping[str, Any], ranges: Mapping[str, tuple[int, int]], error: type[InvalidInput]
) -> dict[str, Any]:
    """Give those of the keys in `ranges` that were given; 10.0 counts as 10.

    Raises:
        InvalidInput: of the class `error`: one is not a whole number within its range, ends included.
    """
    checked = {}
    for key, (low, high) in ranges.items():
        if key not in given:
            continue
        value = given[key]
        if not is_number(value) or not low <= value <= high or value != value // 1:
            raise error(f"{key} is {shown(value)}; expected a whole number from {low} to {high}")
        checked[key] = int(value)
    return checked


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether it is a number to JSON, which to Python a boolean is, too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: object) -> str:
    """Write a value for an error's sentence, cut to 80 characters."""
    return repr(value)[:80]
