"""Values as a Python Worker gets them from JavaScript: plain Python values that also answer to JavaScript's names."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

OPTIONS = {
    "contentType": "content_type",
    "content_type": "content_type",
    "delaySeconds": "delay_seconds",
    "delay_seconds": "delay_seconds",
    "sendAt": "send_at",
    "send_at": "send_at",
    "priority": "priority",
    "orderingKey": "ordering_key",
    "ordering_key": "ordering_key",
    "dedupeKey": "dedupe_key",
    "dedupe_key": "dedupe_key",
    "headers": "headers",
}
NEW_WORD = re.compile(r"(?<=[a-z0-9])([A-Z])")


class JsObject(dict[str, Any]):
    """A dict whose keys may be read as attributes, unless a method of dict has that name."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the object has no {name!r}; it has: {', '.join(map(str, self))}") from None

    def to_py(self, **options: Any) -> dict[str, Any]:
        """Give a plain copy, at every depth."""
        return {key: plain(value) for key, value in self.items()}


class JsArray(list[Any]):
    """A list that can be asked for its length and a plain copy."""

    @property
    def length(self) -> int:
        """How many there are."""
        return len(self)

    def to_py(self, **options: Any) -> list[Any]:
        """Give a plain copy, at every depth."""
        return [plain(value) for value in self]


class JsDate(datetime):
    """A datetime in UTC that knows JavaScript's two most used methods."""

    def get_time(self) -> int:
        """Give epoch milliseconds."""
        return round(self.timestamp() * 1000)

    def to_iso_string(self) -> str:
        """Give the time as JavaScript writes it, such as 2026-01-31T12:00:00.000Z."""
        return self.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def __getattr__(self, name: str) -> Any:
        methods = {"getTime": self.get_time, "toISOString": self.to_iso_string}
        if name not in methods:
            raise AttributeError(f"a timestamp has no {name!r}")
        return methods[name]


def shown(value: Any) -> Any:
    """Show a value as a Python Worker expects it, at every depth."""
    match value:
        case dict():
            return JsObject((key, shown(inner)) for key, inner in value.items())
        case list():
            return JsArray(map(shown, value))
        case datetime():
            return JsDate.fromtimestamp(value.timestamp(), UTC)
        case _:
            return value


def plain(value: Any) -> Any:
    """Give the plain value behind what `shown` made."""
    return value.to_py() if isinstance(value, JsObject | JsArray) else value


def snake_case(name: str) -> str:
    """Spell a name of JavaScript as Python does."""
    return NEW_WORD.sub(lambda found: f"_{found[1].lower()}", name)


def options_of(options: Any, named: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """Give options in our spelling, out of an object, of which the rest is ignored as in JavaScript, and keywords.

    Raises:
        TypeError: a keyword that is not known.
    """
    for name in named:
        if OPTIONS.get(name) not in known:
            raise TypeError(f"{name!r} is no option here; expected {' or '.join(known)}")
    given = {OPTIONS.get(name): value for name, value in {**dict(options or {}), **named}.items()}
    return {name: given[name] for name in known if given.get(name) is not None}
