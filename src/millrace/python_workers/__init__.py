"""What programs written for Cloudflare's Python Workers find here: their modules, and batches as they know them."""

from millrace.python_workers.entrypoints import queue_handler_of, scheduled_handler_of
from millrace.python_workers.modules import install
from millrace.python_workers.workflows import workflow_handler_of

__all__ = ["install", "queue_handler_of", "scheduled_handler_of", "workflow_handler_of"]
