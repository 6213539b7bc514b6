"""Events: `POST /events` puts what happened into the queue `event-queue`, durably, before it answers."""

from millrace.apps.events.app import app
from millrace.apps.events.producer import send_event_to_queue

__all__ = ["app", "send_event_to_queue"]
