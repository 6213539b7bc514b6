"""Jobs from Python: checked, then posted to the server's route, or sent through a binding."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace

import msgspec
import pytest
from werkzeug import Response

from millrace import AsyncClient, Client, create_queue_producer
from millrace.apps.messaging.jobs import EmailJob
from millrace.batch import MessageBatch
from millrace.bindings import Env, QueueBinding
from millrace.errors import (
    BodyDoesNotFit,
    ConfigurationError,
    Conflict,
    InvalidInput,
    MessageTooLarge,
    Overloaded,
    StoreUnavailable,
    UnexpectedAnswer,
)
from millrace.handlers import as_call
from millrace.message import LOW, NORMAL, Backlog

EMAIL = {
    "type": "email_send",
    "messageId": "msg-123",
    "recipient": "patient@example.com",
    "subject": "Appointment Reminder",
    "content": "Your appointment is scheduled for tomorrow at 2 PM.",
    "priority": "high",
}
SMS = {"type": "sms_send", "messageId": "sms-1", "recipient": "+15005550006", "content": "Hello", "priority": "low"}
EXPORT = {"type": "export_generation", "exportId": "export-456", "filters": {}, "userId": "user-789", "format": "csv"}
CLEANUP = {"type": "cleanup", "target": "temp_files", "olderThan": "2026-01-31"}
FIELDS = {
    "message_id": "msg-123",
    "recipient": "patient@example.com",
    "subject": "Appointment Reminder",
    "content": "Your appointment is scheduled for tomorrow at 2 PM.",
    "priority": "high",
}
WIRE = {name: value for name, value in EMAIL.items() if name != "type"}


class Queue:
    """A binding as a user's own program may have it, that keeps what it is given."""

    def __init__(self):
        self.sent = []

    def send(self, body, **options):
        self.sent.append((body, options))

    def send_batch(self, messages):
        self.sent += [(message.pop("body"), message) for message in messages]

    @property
    def bodies(self):
        return [body for body, _ in self.sent]


@pytest.fixture
def queue():
    return Queue()


@pytest.fixture
def producer(queue):
    return create_queue_producer(SimpleNamespace(MESSAGE_QUEUE=queue))


def answer_of(job):
    return {
        "success": True,
        "jobId": f"job-{job.get('messageId')}",
        "type": job["type"],
        "status": "queued",
        "scheduledFor": job.get("sendAt"),
    }


@pytest.fixture
def posted(httpserver):
    """What was posted to a server that takes every job; it stands in for our own, which is tested elsewhere."""
    bodies = []

    def accept(request):
        body = json.loads(request.get_data())
        bodies.append(body)
        answer = answer_of(body) if isinstance(body, dict) else {"success": True, "jobs": [*map(answer_of, body)]}
        return Response(json.dumps(answer), 202)

    httpserver.expect_request("/api/enqueue-job", method="POST").respond_with_handler(accept)
    return bodies


@pytest.mark.parametrize(
    ("job", "fields"),
    [
        (None, FIELDS),
        (EMAIL, {}),
        (WIRE, {}),
        (FIELDS, {}),
        (msgspec.convert(EMAIL, EmailJob), {}),
        ({**WIRE, "subject": "another"}, {"subject": EMAIL["subject"]}),
    ],
    ids=["keywords", "wire", "wire without type", "snake case", "struct", "both"],
)
def test_a_job_may_be_keywords_a_mapping_or_a_struct(producer, queue, job, fields):
    """S1-09, S1-89."""
    producer.enqueue_email(job, **fields)

    assert queue.bodies == [EMAIL]


def test_each_type_of_job_has_its_function(producer, queue):
    """S1-09, S1-91."""
    producer.enqueue_email(**FIELDS)
    producer.enqueue_sms(message_id="sms-1", recipient="+15005550006", content="Hello", priority="low")
    producer.enqueue_export(export_id="export-456", filters={}, user_id="user-789", format="csv")
    producer.enqueue_cleanup(target="temp_files", older_than=date(2026, 1, 31))

    assert queue.bodies == [EMAIL, SMS, {**EXPORT, "priority": "normal"}, {**CLEANUP, "priority": "normal"}]


def test_times_and_filters_may_be_values_of_python(producer, queue):
    start = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))

    producer.enqueue_export(
        export_id="e", filters={"start_date": start, "endDate": date(2026, 1, 31)}, user_id="u", format="json"
    )

    assert queue.bodies[0]["filters"] == {"startDate": "2026-01-01T12:00:00+01:00", "endDate": "2026-01-31"}


def test_priority_delay_and_key_of_a_message_follow_from_its_job(producer, queue):
    """S1-10, S1-67 to S1-69, S1-43."""
    later = datetime(2030, 1, 1, tzinfo=UTC)

    producer.enqueue_batch([EMAIL, {**EMAIL, "priority": "normal"}, SMS, EXPORT, CLEANUP, {**SMS, "sendAt": later}])

    assert [options for _, options in queue.sent] == [
        {"priority": "high", "delay_seconds": 0, "dedupe_key": "email_send:msg-123"},
        {"priority": "normal", "delay_seconds": 1, "dedupe_key": "email_send:msg-123"},
        {"priority": "low", "delay_seconds": 5, "dedupe_key": "sms_send:sms-1"},
        {"priority": "normal", "delay_seconds": 1, "dedupe_key": "export_generation:export-456"},
        {"priority": "normal", "delay_seconds": 1},
        {"priority": "low", "send_at": later, "dedupe_key": "sms_send:sms-1"},
    ]


@pytest.mark.parametrize("job", [EMAIL, FIELDS | {"type": "email_send"}, SMS, EXPORT, CLEANUP])
def test_a_job_of_any_type_is_sent_later(producer, queue, job):
    """S1-12, S1-90."""
    when = datetime(2026, 12, 24, 18, tzinfo=timezone(timedelta(hours=1)))

    made = producer.enqueue_send_later(job, when)

    [(body, options)] = queue.sent
    assert (made.job_id, made.status, made.scheduled_for) == (None, "queued", when)
    assert (body["sendAt"], options["send_at"]) == ("2026-12-24T18:00:00+01:00", when)


@pytest.mark.parametrize("job", [EMAIL, FIELDS, SMS, EXPORT, CLEANUP])
def test_a_job_that_is_sent_later_is_known_by_its_fields(producer, queue, job):
    """S1-90: the mapping that `enqueue_email` takes is taken here as well."""
    given = {name: value for name, value in job.items() if name != "type"}

    producer.enqueue_send_later(given, datetime(2026, 12, 24, tzinfo=UTC))

    assert queue.bodies[0]["type"] == job.get("type", "email_send")


@pytest.mark.parametrize("when", [datetime(2030, 1, 1), "2030-01-01T00:00:00Z", None, 5])  # noqa: DTZ001
def test_a_time_without_a_zone_is_refused(producer, queue, when):
    """S1-90."""
    with pytest.raises(BodyDoesNotFit, match="expected a datetime with a time zone"):
        producer.enqueue_send_later(EMAIL, when)

    assert queue.sent == []


WRONG = [
    ({**EMAIL, "recipient": "nobody"}, "recipient is no e-mail address"),
    ({**EMAIL, "recipient": None}, "missing required field `recipient`"),
    ({**EMAIL, "messageId": 5}, r"\$\.messageId"),
    ({**EMAIL, "priority": "urgent"}, r"'urgent' - at `\$\.priority`"),
    ({**EMAIL, "sendAt": datetime(2030, 1, 1)}, "expected a time with its offset"),  # noqa: DTZ001
    ({**EMAIL, "cc": "a@example.com"}, "unknown field `cc`"),
    ({**EMAIL, "type": "sms_send"}, "type is 'sms_send'; expected 'email_send'"),
    ({**EMAIL, "content": object()}, "cannot be written as JSON"),
    (EMAIL["messageId"], "is of type str; expected a mapping"),
]


@pytest.mark.parametrize(("job", "sentence"), WRONG)
def test_a_wrong_field_is_named_and_nothing_is_sent(producer, queue, job, sentence):
    """S1-14, S1-83."""
    with pytest.raises(BodyDoesNotFit, match=sentence):
        producer.enqueue_email(job)

    assert queue.sent == []


@pytest.mark.parametrize("wrong", [{**SMS, "recipient": "nobody"}, {**SMS, "content": {1j}}, 5, {"type": "fax"}])
def test_a_wrong_job_of_a_batch_is_named_by_its_place_and_nothing_is_sent(producer, queue, wrong):
    """S1-11."""
    with pytest.raises(BodyDoesNotFit, match=r"\$\[1\]"):
        producer.enqueue_batch([EMAIL, wrong, SMS])

    assert queue.sent == []


def test_a_job_that_is_too_large_is_named_by_its_place_and_nothing_is_sent(producer, queue):
    """S1-11, S1-83."""
    with pytest.raises(MessageTooLarge, match=r"\$\[1\] has 18\d{4} bytes; expected at most 128000"):
        producer.enqueue_batch([SMS, {**EMAIL, "content": "ä" * 90_000}])

    assert queue.sent == []


def test_jobs_are_posted_to_the_server_by_the_env_of_a_client(httpserver, posted):
    """S1-09, S1-11."""
    with Client(httpserver.url_for("/"), "key") as client:
        producer = create_queue_producer(client.bindings({}))

        made = producer.enqueue_email(EMAIL)
        several = producer.enqueue_batch([SMS, {**EMAIL, "sendAt": "2030-01-01T00:00:00Z"}])

    assert posted[0] == EMAIL
    assert (made.job_id, made.type, made.status, made.scheduled_for) == ("job-msg-123", "email_send", "queued", None)
    assert [job["messageId"] for job in posted[1]] == ["sms-1", "msg-123"]
    assert several[1].scheduled_for == datetime(2030, 1, 1, tzinfo=UTC)


async def test_with_an_async_client_the_functions_are_awaited(httpserver, posted):
    """S1-09."""
    async with AsyncClient(httpserver.url_for("/"), "key") as client:
        producer = create_queue_producer(client.bindings({}))

        made = await producer.enqueue_email(EMAIL)
        several = await producer.enqueue_batch([SMS] * 150)

    assert made.job_id == "job-msg-123"
    assert ([len(part) for part in posted[1:]], len(several)) == ([100, 50], 150)


async def test_what_needs_no_waiting_may_be_awaited_as_well(producer):
    assert (await producer.enqueue_email(EMAIL)).type == "email_send"
    assert len(await producer.enqueue_batch([EMAIL, SMS])) == 2
    assert await producer.enqueue_batch([]) == ()


def test_a_batch_goes_in_parts_that_one_request_can_carry(producer, queue, httpserver, posted):
    """S1-11: up to 100 jobs and 256,000 bytes."""
    small = [{**SMS, "messageId": f"small-{number}"} for number in range(201)]
    large = [{**EMAIL, "messageId": f"large-{number}", "content": "x" * 90_000} for number in range(3)]

    with Client(httpserver.url_for("/"), "key") as client:
        made = create_queue_producer(client.bindings({})).enqueue_batch([*small, *large])

    assert [len(body) if isinstance(body, list) else 1 for body in posted] == [100, 100, 3, 1]
    assert [one.job_id for one in made] == [f"job-{job['messageId']}" for job in [*small, *large]]


def test_an_error_says_how_many_jobs_were_stored_before_it(httpserver):
    """S1-11."""
    httpserver.expect_ordered_request("/api/enqueue-job").respond_with_json(
        {"success": True, "jobs": [answer_of(SMS)] * 100}, 202
    )
    httpserver.expect_ordered_request("/api/enqueue-job").respond_with_json(
        {"error": {"code": "CONFLICT", "message": "messageId 'sms-1' stands for another job"}}, 409
    )
    with Client(httpserver.url_for("/"), "key") as client, pytest.raises(Conflict, match="another job") as raised:
        create_queue_producer(client.bindings({})).enqueue_batch([SMS] * 101)

    assert raised.value.sent == 100


REFUSED = [
    (400, "VALIDATION_ERROR", InvalidInput),
    (409, "CONFLICT", Conflict),
    (429, "TOO_MANY_REQUESTS", Overloaded),
    (503, "SERVICE_UNAVAILABLE", StoreUnavailable),
]


@pytest.mark.parametrize(("status", "code", "kind"), REFUSED)
def test_what_the_server_refuses_is_raised_by_its_class(httpserver, status, code, kind):
    """S1-13."""
    httpserver.expect_request("/api/enqueue-job").respond_with_json(
        {"error": {"code": code, "message": "no"}}, status, {"retry-after": "7", "x-should-retry": "false"}
    )

    with Client(httpserver.url_for("/"), "key") as client, pytest.raises(kind) as raised:
        create_queue_producer(client.bindings({})).enqueue_email(EMAIL)

    assert (raised.value.status, raised.value.retry_after) == (status, 7)


def test_an_answer_of_another_program_is_not_taken_for_a_job(httpserver):
    httpserver.expect_request("/api/enqueue-job").respond_with_json({"hello": "world"})

    with Client(httpserver.url_for("/"), "key") as client, pytest.raises(UnexpectedAnswer, match="type"):
        create_queue_producer(client.bindings({})).enqueue_email(EMAIL)


@pytest.mark.parametrize("env", [None, SimpleNamespace(), SimpleNamespace(MESSAGE_QUEUE=None), Env({"OTHER": 1})])
def test_an_env_that_leads_nowhere_is_refused_at_once(env):
    with pytest.raises(ConfigurationError, match="no binding MESSAGE_QUEUE"):
        create_queue_producer(env)


async def test_in_a_handler_the_functions_use_the_binding():
    """S1-09: async functions await them, plain ones need not."""
    taken = []

    async def send(messages, delay_seconds):
        taken.extend(messages)
        return Backlog(1, 1, 1)

    async def awaiting(batch, env):
        await create_queue_producer(env).enqueue_sms(SMS)

    def plain(batch, env):
        assert create_queue_producer(env).enqueue_batch([EXPORT, CLEANUP])[0].type == "export_generation"

    env = Env({"MESSAGE_QUEUE": QueueBinding(send)})
    for handler in (awaiting, plain):
        await as_call(handler)(MessageBatch("q", []), env)

    assert json.loads(taken[0].body) == SMS
    assert [(one.priority, one.dedupe_key) for one in taken] == [
        (LOW, "sms_send:sms-1"),
        (NORMAL, "export_generation:export-456"),
        (NORMAL, None),
    ]


async def test_a_plain_handler_with_a_clients_env_posts_as_well(httpserver, posted):
    """S1-09: `millrace consume` gives handlers such an env."""

    def plain(batch, env):
        assert create_queue_producer(env).enqueue_email(EMAIL).job_id == "job-msg-123"

    async with AsyncClient(httpserver.url_for("/"), "key") as client:
        batch = MessageBatch("q", [])
        await as_call(plain)(batch, client.bindings({}))

    assert posted == [EMAIL]


def test_the_client_of_an_env_is_no_binding():
    env = Client("http://127.0.0.1:1").bindings({"ORDERS": "orders"})

    with pytest.raises(AttributeError, match=r"there are: ORDERS$"):
        _ = env.INVOICES
