"""The queue of the application, as every account gets it."""

from millrace.apps.messaging.fields import read_send_at
from millrace.apps.messaging.jobs import PRIORITY_DELAY_SECONDS, Job
from millrace.platform import QueueNeed
from millrace.queue import QueueSettings

QUEUE, DEAD_LETTERS = "message-delivery", "dlq"
STATUS_QUEUE = "message-status"  # where an account has this queue with a consumer, it is told how messages ended
SCRIPT = "apps/messaging"  # no file of that name takes the consumer for its own


def needs(retry_base_seconds: float) -> tuple[QueueNeed, ...]:
    """Give the queues; a failed message waits 2, 4, 8, … times `retry_base_seconds`, at most a day."""
    return (
        QueueNeed(name=DEAD_LETTERS, settings=QueueSettings(message_retention_period=None)),
        QueueNeed(
            name=QUEUE,
            settings=QueueSettings(message_retention_period=None),
            follows=("backoff",),
            consumer={
                "type": "worker",
                "script_name": "messaging",
                "applied_by": SCRIPT,
                "dead_letter_queue": DEAD_LETTERS,
                "settings": {
                    "batch_size": 10,
                    "max_wait_time_ms": 30_000,
                    "max_retries": 5,
                    "max_attempts": 3,
                    "backoff": {"kind": "exponential", "base_seconds": retry_base_seconds, "factor": 2},
                    "flush_on": "high",
                },
            },
        ),
    )


def due_at_ms(job: Job, now_ms: int) -> int:
    """Give the earliest time of a job's delivery: the one it names, else after the delay of its priority."""
    send_at_ms = read_send_at(job.send_at)
    return now_ms + PRIORITY_DELAY_SECONDS[job.priority] * 1000 if send_at_ms is None else max(now_ms, send_at_ms)
