"""What the tests of a program for Millrace need: a broker with a clock that a test moves, and real servers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "BlockingBroker",
    "ManualClock",
    "MemoryBroker",
    "NeverIdle",
    "Report",
    "Sent",
    "ServerOnFreePort",
    "Waiting",
]

if TYPE_CHECKING:
    from millrace.testing.blocking import BlockingBroker
    from millrace.testing.broker import MemoryBroker
    from millrace.testing.clock import ManualClock
    from millrace.testing.delivering import NeverIdle
    from millrace.testing.looking import Waiting
    from millrace.testing.sent import Sent
    from millrace.testing.server import ServerOnFreePort
    from millrace.testing.tally import Report

_HOMES = {
    "BlockingBroker": "millrace.testing.blocking",
    "ManualClock": "millrace.testing.clock",
    "MemoryBroker": "millrace.testing.broker",
    "NeverIdle": "millrace.testing.delivering",
    "Report": "millrace.testing.tally",
    "Sent": "millrace.testing.sent",
    "ServerOnFreePort": "millrace.testing.server",
    "Waiting": "millrace.testing.looking",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: pytest loads the plugin of this package at every start."""
    if name not in _HOMES:
        raise AttributeError(f"module 'millrace.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
