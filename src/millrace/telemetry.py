"""Named events with fields. Parts of the program emit them; logs and metrics subscribe; nothing comes back.

Names use the vocabulary (`message.sent`, `lease.lapsed`); durations end in `_ms`; ids are fields, bodies and
secrets never are.
"""

from collections.abc import Callable
from typing import Any

Subscriber = Callable[[str, dict[str, Any]], None]


class Telemetry:
    """Hands each event to the subscribers of its name."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[Subscriber]] = {}

    def subscribe(self, subscriber: Subscriber, *names: str) -> None:
        """Call `subscriber(name, fields)` for the events of these names."""
        for name in names:
            self._by_name.setdefault(name, []).append(subscriber)

    def emit(self, name: str, **fields: Any) -> None:
        """Tell what has happened."""
        for subscriber in self._by_name.get(name, ()):
            subscriber(name, fields)
