"""A producer tells the log and Sentry of what it could not queue, without a word of what was in it."""

import logging
from types import SimpleNamespace

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from millrace import create_queue_producer
from millrace.errors import BacklogFull

SECRET = "a-secret"
SMS = {"type": "sms_send", "messageId": "sms-1", "recipient": "+15005550006", "content": SECRET}


def producer_that_raises(error):
    def send(body, **options):
        raise error

    return create_queue_producer(SimpleNamespace(MESSAGE_QUEUE=SimpleNamespace(send=send, send_batch=send)))


@pytest.fixture
def events():
    """Collect what a program's Sentry would send; which integrations it has is the test's business."""
    collected = []

    def start(*integrations):
        sentry_sdk.init(
            "https://key@127.0.0.1/1",
            before_send=lambda event, hint: collected.append(event),  # None: nothing goes out
            default_integrations=False,
            integrations=integrations,
        )
        return collected

    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        yield start
    sentry_sdk.get_global_scope().set_client(None)


@pytest.mark.parametrize(
    ("error", "why"), [(BacklogFull("the queue is full"), "the queue is full"), (OSError(SECRET), "OSError")]
)
def test_what_was_not_queued_is_one_line_of_the_log(caplog, error, why):
    """S1-13."""
    with pytest.raises(type(error)) as raised:
        producer_that_raises(error).enqueue_sms(SMS)

    [record] = caplog.records
    assert raised.value is error
    assert (record.name, record.levelno) == ("millrace.producer", logging.ERROR)
    assert record.getMessage() == f"not queued: sms_send sms-1: {why}"
    assert record.jobs == [{"type": "sms_send", "id": "sms-1"}]


def test_a_part_of_a_batch_is_one_line_however_many_jobs_it_has(caplog):
    """S1-13."""
    with pytest.raises(BacklogFull):
        producer_that_raises(BacklogFull("full")).enqueue_batch([SMS] * 100)

    [record] = caplog.records
    assert record.getMessage().endswith("sms_send sms-1 and 90 more: full")


@pytest.mark.parametrize("integrations", [[], [LoggingIntegration()]], ids=["without log lines", "with log lines"])
def test_sentry_gets_one_event_with_the_trail_before_it(events, integrations):
    """S1-13, S1-58 to S1-60."""
    collected = events(*integrations)
    queue = SimpleNamespace(send=lambda body, **options: None)
    create_queue_producer(SimpleNamespace(MESSAGE_QUEUE=queue)).enqueue_sms(SMS)

    with pytest.raises(OSError, match=SECRET):
        producer_that_raises(OSError(SECRET)).enqueue_sms({**SMS, "messageId": "sms-2"})

    [event] = collected
    trail = [crumb["message"] for crumb in event["breadcrumbs"]["values"] if crumb["category"] == "queue"]
    assert trail == ["queued: sms_send sms-1", "not queued: sms_send sms-2: OSError"]
    assert "sms-2" in str(event)
    assert SECRET not in str(event)
    assert SMS["recipient"] not in str(event)


def test_a_program_without_sentry_works_the_same(caplog):
    with pytest.raises(BacklogFull):
        producer_that_raises(BacklogFull("full")).enqueue_sms(SMS)

    assert len(caplog.records) == 1
