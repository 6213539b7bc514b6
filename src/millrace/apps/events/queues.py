"""The queues of events, as every account gets them."""

from millrace import limits
from millrace.platform import QueueNeed
from millrace.queue import QueueSettings

QUEUE, DEAD_LETTERS = "event-queue", "event-dlq"
BODY_BYTES = 128_000
EVENT_BYTES = BODY_BYTES + 200  # event id, timestamp and marker around a body that may be as large as it may be

NEEDS = (
    QueueNeed(name=DEAD_LETTERS, settings=QueueSettings(message_retention_period=None)),
    QueueNeed(
        name=QUEUE,
        consumer={
            "type": "worker",
            "script_name": "events",
            "applied_by": "apps/events",  # no file of that name takes it for its own
            "dead_letter_queue": DEAD_LETTERS,
            "settings": {"batch_size": 100, "max_wait_time_ms": 30_000, "max_retries": 3},
        },
    ),
)

# Of one subscription: a receiver that is away for two weeks loses nothing, and what is sent again is not stored twice.
SUBSCRIPTION_SETTINGS = QueueSettings(
    message_retention_period=limits.RETENTION_SECONDS_MAX,
    deduplication_seconds=limits.DEDUPLICATION_SECONDS_MAX,
)
SUBSCRIPTION_CONSUMER = {"batch_size": 10, "max_wait_time_ms": 0, "max_retries": 10}
