"""Millrace: a durable message queue that speaks Cloudflare Queues' own language."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "App",
    "AsyncClient",
    "BatchMessage",
    "Client",
    "Cron",
    "Database",
    "MessageBatch",
    "PermanentError",
    "RetryLater",
    "ScheduledController",
    "StepFailed",
    "WorkflowEvent",
    "WorkflowStep",
    "__version__",
    "by_field",
    "create_queue_producer",
    "each",
]

if TYPE_CHECKING:
    from millrace.apps.messaging.producer import create_queue_producer
    from millrace.batch import BatchMessage, MessageBatch
    from millrace.client.asynchronous import AsyncClient
    from millrace.client.synchronous import Client
    from millrace.direct import Database
    from millrace.handlers import PermanentError, RetryLater, by_field, each
    from millrace.handlers.scheduled import ScheduledController
    from millrace.handlers.steps import StepFailed, WorkflowStep
    from millrace.handlers.workflow import WorkflowEvent
    from millrace.platform import App, Cron

_HOMES = {
    "App": "millrace.platform",
    "AsyncClient": "millrace.client.asynchronous",
    "BatchMessage": "millrace.batch",
    "Client": "millrace.client.synchronous",
    "Cron": "millrace.platform",
    "Database": "millrace.direct",
    "MessageBatch": "millrace.batch",
    "PermanentError": "millrace.handlers",
    "RetryLater": "millrace.handlers",
    "ScheduledController": "millrace.handlers.scheduled",
    "StepFailed": "millrace.handlers.steps",
    "WorkflowEvent": "millrace.handlers.workflow",
    "WorkflowStep": "millrace.handlers.steps",
    "by_field": "millrace.handlers",
    "create_queue_producer": "millrace.apps.messaging.producer",
    "each": "millrace.handlers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import millrace` and the commands stay quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'millrace' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
