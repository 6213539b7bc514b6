"""Which events a subscription wants: values that must stand at certain places of an event."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta

from millrace.errors import BodyDoesNotFit

PATHS, VALUES = 20, 100
PATH_CHARACTERS, VALUE_CHARACTERS = 200, 1_000
PATH = re.compile(r"(payload|metadata)(\.[^.]+)+")
MISSING = object()

Path = Annotated[str, Meta(max_length=PATH_CHARACTERS, extra_json_schema={"pattern": f"^{PATH.pattern}$"})]
Value = Annotated[str, Meta(max_length=VALUE_CHARACTERS)] | int | float | bool | None
Values = Annotated[list[Value], Meta(min_length=1, max_length=VALUES)]
Filter = Annotated[dict[Path, Value | Values], Meta(max_length=PATHS)]


def check_paths(paths: Iterable[str]) -> None:
    """Let the paths of a filter pass.

    Raises:
        BodyDoesNotFit: one does not lead into the payload or the metadata.
    """
    for path in paths:
        if PATH.fullmatch(path) is None:
            raise BodyDoesNotFit(
                f"filter has the path {path!r}; expected 'payload' or 'metadata' and the names below it, "
                "such as 'payload.order.type'"
            )


def fits(event: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Say whether an event has, at each path that is named, the value or one of the values."""
    return all(_is_one_of(_value_at(event, path), values) for path, values in wanted.items())


def _value_at(event: Any, path: str) -> Any:
    for name in path.split("."):
        event = event.get(name, MISSING) if isinstance(event, Mapping) else MISSING
    return event


def _is_one_of(found: Any, values: Any) -> bool:
    """Compare as JSON does, for which 1 is 1.0 but not true."""
    wanted = values if isinstance(values, list) else [values]
    return any(found == value and isinstance(found, bool) == isinstance(value, bool) for value in wanted)
