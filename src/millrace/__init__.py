"""Millrace: a durable message queue that speaks Cloudflare Queues' own language."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["App", "MessageBatch", "PermanentError", "RetryLater", "__version__"]

if TYPE_CHECKING:
    from millrace.batch import MessageBatch
    from millrace.handlers import PermanentError, RetryLater
    from millrace.platform import App

_HOMES = {
    "App": "millrace.platform",
    "MessageBatch": "millrace.batch",
    "PermanentError": "millrace.handlers",
    "RetryLater": "millrace.handlers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import millrace` and the commands stay quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'millrace' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
