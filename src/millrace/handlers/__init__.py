"""Handlers: functions that are called with a batch or a message, and what their end means."""

from millrace.handlers.calls import Call, Context, Handler, as_call
from millrace.handlers.ends import PermanentError, RetryLater, outcome_of
from millrace.handlers.per_message import by_field, each

__all__ = ["Call", "Context", "Handler", "PermanentError", "RetryLater", "as_call", "by_field", "each", "outcome_of"]
