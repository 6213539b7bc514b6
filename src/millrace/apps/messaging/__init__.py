"""The messaging application: e-mails, text messages, exports and clean-ups as jobs over a queue."""

from millrace.apps.messaging.producer import create_queue_producer

__all__ = ["create_queue_producer"]
