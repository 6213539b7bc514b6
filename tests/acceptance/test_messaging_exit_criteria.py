"""S1-92: the eleven exit criteria of the messaging application, each as a user sees it; one server, and real receivers."""

import csv
import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from millrace import Client, create_queue_producer
from tests.acceptance.test_wrangler_messages import LITERAL as FILE
from tests.apps.message_rooms import CONTENT, email, export, sms
from tests.apps.sinks import MailSink, TwilioSink, basic, serving
from tests.apps.test_messages_routes import LITERAL, ended, post, show
from tests.http.wire import consumer_of, eventually, peek, text_of
from tests.sentry_sink import Sink
from tests.support import KEY, Server

SUBJECT = "a subject that nobody may see"
REASON = "smtp 451 4.3.0: try later"
MILLISECOND = timedelta(milliseconds=1)
ALERT = {
    "name": "failing",
    "queue": "message-delivery",
    "measure": "failure_rate",
    "above": 0.01,
    "notify": [{"email": "ops@example.com"}],
}
TYPES = ("email_send", "sms_send", "export_generation", "cleanup")


class Mails(MailSink):
    """A mail server that refuses bad@ for good, and busy@ until it is told to be idle; it notes when busy@ is tried."""

    def __init__(self) -> None:
        super().__init__()
        self.is_busy, self.busy_at = True, []
        self.replies["RCPT"] = self._judge

    def to(self, recipient: str) -> list[Any]:
        return [mail for mail in self.mails if mail.recipient == recipient]

    def _judge(self, recipient: str) -> str | None:
        if recipient.startswith("bad@"):
            return "550 5.1.1 no such user"
        if not recipient.startswith("busy@"):
            return None
        self.busy_at.append(time.monotonic())
        return "451 4.3.0 try later" if self.is_busy else None


@pytest.fixture(scope="module")
def mails() -> Iterator[Mails]:
    with Mails() as sink:
        yield sink


@pytest.fixture(scope="module")
def twilio() -> Iterator[TwilioSink]:
    with serving(TwilioSink()) as sink:
        yield sink


@pytest.fixture(scope="module")
def sentry() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mails: Mails, twilio: TwilioSink, sentry: Sink
) -> Iterator[Server]:
    """A server with the literal file and an alert; a mail that fails for now and one that fails for good are under way."""
    folder = tmp_path_factory.mktemp("exit-criteria")
    (folder / "wrangler.jsonc").write_text(FILE)
    environ = {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(mails.port),
        "TWILIO_API_BASE": twilio.url,
        "TWILIO_ACCOUNT_SID": twilio.account_sid,
        "TWILIO_AUTH_TOKEN": twilio.auth_token,
        "TWILIO_FROM_NUMBER": "+15005550007",
        "SENTRY_DSN": sentry.dsn,
        "RETRY_BASE_SECONDS": "0.5",
    }
    with Server(folder / "data", "--config", str(folder / "wrangler.jsonc"), environ=environ) as running:
        assert running.call("POST", "/api/alerts", ALERT).status == 201
        post(running, *[email(name, recipient=f"{name}@example.com", subject=SUBJECT) for name in ("busy", "bad")])
        yield running


def queue_id(server: Server, name: str) -> str:
    return server.v4("GET", f"/queues?name={name}").result[0]["queue_id"]


def history(server: Server, message_id: str) -> list[dict[str, Any]]:
    return server.call("GET", f"/api/messages/{message_id}/history").json["history"]


def wait_for_failure(server: Server) -> None:
    """Wait for the third attempt at the mail that fails for now."""
    eventually(lambda: show(server, "busy").json["status"] == "failed", 12)


def dead_letters(server: Server) -> dict[str, dict[str, Any]]:
    """Give the dead letters by the ids of their messages."""
    letters = peek(server, queue_id(server, "dlq"))
    return {json.loads(text_of(letter))["messageId"]: letter for letter in letters}


def test_config_the_literal_file_gives_queue_and_consumer(server: Server) -> None:
    consumer = consumer_of(server, queue_id(server, "message-delivery"))

    settings = consumer["settings"]
    assert consumer["dead_letter_queue"] == "dlq"
    assert [settings[name] for name in ("batch_size", "max_wait_time_ms", "max_retries")] == [10, 30_000, 5]


def test_consumer_one_bad_job_of_ten_leaves_the_others_alone(server: Server, mails: Mails) -> None:
    names = ["bad", *(f"good-{number}" for number in range(9))]

    post(server, *[email(f"ten-{name}", recipient=f"{name}@example.com") for name in names])

    for name in names[1:]:
        ended(server, f"ten-{name}")
        assert len(mails.to(f"{name}@example.com")) == 1
    assert ended(server, "ten-bad", "failed")["attempts"] == 1


def test_enqueueing_each_type_has_a_typed_function_of_the_producer(server: Server) -> None:
    with Client(server.url, KEY) as client:
        producer = create_queue_producer(client.bindings())
        made = [
            producer.enqueue_email({**email("typed-mail"), "recipient": "typed@example.com"}),
            producer.enqueue_sms(sms("typed-sms")),
            producer.enqueue_export(export("typed-export", priority="high")),
            producer.enqueue_cleanup(target="temp_files", older_than="2026-01-31", priority="high"),
        ]

    assert tuple(one.type for one in made) == TYPES
    for one, end in zip(made, ("sent", "sent", "done", "done"), strict=True):
        assert ended(server, one.job_id, end)["attempts"] == 1


def test_email_and_sms_go_out_through_the_queue_to_their_providers(
    server: Server, mails: Mails, twilio: TwilioSink
) -> None:
    post(server, email("moved-mail", recipient="moved@example.com"), sms("moved-sms", recipient="+15005550009"))

    ended(server, "moved-mail")
    ended(server, "moved-sms")
    [mail] = mails.to("moved@example.com")
    [form] = [form for form in twilio.forms if form["To"] == "+15005550009"]
    assert (mail.sender, mail.message["To"], mail.message["Subject"]) == ("millrace@localhost", mail.recipient, "Hello")
    assert mail.message.get_content().strip() == CONTENT == form["Body"]
    assert form["From"] == "+15005550007"
    assert basic(twilio.requests[-1].headers["Authorization"]) == f"{twilio.account_sid}:{twilio.auth_token}"


@pytest.mark.parametrize("form", ["csv", "json"])
def test_exports_are_made_in_the_background_and_fetched_by_link(server: Server, form: str) -> None:
    post(server, email("exported", recipient="exported@example.com"))
    ended(server, "exported")

    post(server, export(f"file-{form}", format=form, priority="high"))

    ended(server, f"file-{form}", "done")
    shown = server.call("GET", f"/api/exports/file-{form}").json
    text = server.call("GET", shown["downloadUrl"], key=None).body.decode()
    rows = [*csv.DictReader(io.StringIO(text))] if form == "csv" else json.loads(text)
    assert len(rows) == shown["rows"]
    assert "exported@example.com" in {row["recipient"] for row in rows}


def test_retry_waits_two_and_four_times_the_base_and_ends_after_three_attempts(server: Server, mails: Mails) -> None:
    """S1-54, S1-55, S1-62."""
    wait_for_failure(server)

    first, second, third = mails.busy_at
    told = [(line["status"], line["attempt"], line["reason"]) for line in history(server, "busy")]
    assert 1 <= second - first < 1.8
    assert 2 <= third - second < 2.8
    assert told[0] == ("queued", 0, None)
    assert told[1:] == [
        *[
            (status, attempt, reason)
            for attempt in (1, 2)
            for status, reason in (("processing", None), ("queued", REASON))
        ],
        ("processing", 3, None),
        ("failed", 3, REASON),
    ]


def test_dlq_keeps_what_failed_without_end_until_somebody_acts(server: Server, mails: Mails) -> None:
    """S1-08, S1-57, X06."""
    wait_for_failure(server)
    dead = queue_id(server, "dlq")
    letters = dead_letters(server)
    settings = server.v4("GET", f"/queues/{dead}").result["settings"]
    mails.is_busy = False

    redriven = server.call("POST", "/api/messages/busy/redrive")

    assert letters["busy"]["metadata"]["Millrace-Reason"].startswith(REASON)
    assert "message_retention_period" not in settings
    assert redriven.status == 200
    ended(server, "busy")
    assert len(mails.to("busy@example.com")) == 1
    assert "bad" in dead_letters(server)


def test_monitoring_counts_times_and_names_failures(server: Server) -> None:
    """S1-46, S1-61, S1-87."""
    ended(server, "bad", "failed")

    status = server.call("GET", "/debug/queue-status").json
    failures = server.call("GET", "/api/messaging/failures").json["groups"]
    metrics = server.call("GET", "/metrics").body.decode()

    assert status["total"] == sum(status[name] for name in ("queued", "processing", "scheduled", "done", "failed"))
    assert status["failureRate"] == status["failed"] / (status["done"] + status["failed"])
    assert {"jobId", "type", "status", "at"} <= status["recentActivity"][0].keys()
    assert ("email_send", "smtp 550 5.1.1: no such user") in {(one["type"], one["reason"]) for one in failures}
    about = 'queue="message-delivery",type="email_send"'
    assert f'millrace_jobs_total{{outcome="failed",{about}}}' in metrics
    assert f'millrace_job_seconds_bucket{{le="+Inf",{about}}}' in metrics


def test_sentry_is_told_who_failed_with_the_trail_and_nothing_of_the_message(server: Server, sentry: Sink) -> None:
    """S1-58, S1-59, S1-60."""
    job_id = show(server, "busy").json["jobId"]

    report = eventually(
        lambda: [one for one in sentry.events if one["tags"].get("job_id") == job_id and one["tags"]["attempt"] == "3"],
        12,
    )[0]

    about = {name: report["tags"][name] for name in ("queue", "type", "outcome")}
    steps = [step["category"] for step in report["breadcrumbs"]["values"]]
    assert about == {"queue": "message-delivery", "type": "email_send", "outcome": "failed"}
    assert steps == ["queued", *["processing", "queued"] * 2, "processing", "failed"]
    sent = b"".join(sentry.bodies) + server.text.encode()
    assert [word for word in (SUBJECT, CONTENT, "example.com", KEY) if word.encode() in sent] == []


def test_send_later_is_exact_and_outlives_a_kill(server: Server, mails: Mails) -> None:
    """S1-12, S1-90."""
    soon, tomorrow = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (1, 86_400))
    with Client(server.url, KEY) as client:
        producer = create_queue_producer(client.bindings())
        producer.enqueue_send_later(email("tomorrow", recipient="tomorrow@example.com"), tomorrow)
        producer.enqueue_send_later(email("soon", recipient="soon@example.com"), soon)

    sent = ended(server, "soon")
    server.kill()
    server.start()
    waiting = show(server, "tomorrow").json

    assert -MILLISECOND < datetime.fromisoformat(sent["updatedAt"]) - soon < timedelta(seconds=1)
    assert abs(datetime.fromisoformat(waiting["scheduledFor"]) - tomorrow) < MILLISECOND
    assert (waiting["status"], mails.to("tomorrow@example.com")) == ("scheduled", [])


def test_monitoring_tells_by_mail_that_jobs_fail(server: Server, mails: Mails) -> None:
    """S1-88."""
    [mail] = eventually(lambda: mails.to("ops@example.com"), 12)

    assert mail.message["Subject"] == "Alert: failing"
    assert "Measure: failure_rate" in mail.message.get_content()


def test_api_takes_the_literal_body_with_a_key_only(server: Server) -> None:
    """S1-45, S1-53, S1-81."""
    refused = server.call("POST", "/api/enqueue-job", LITERAL, key=None)
    wrong = server.call("POST", "/api/enqueue-job", LITERAL.replace(b"test@", b"test"))

    taken = server.call("POST", "/api/enqueue-job", LITERAL)

    assert (refused.status, wrong.status, taken.status) == (401, 400, 202)
    assert "recipient" in wrong.json["error"]["message"]
    assert {**taken.json, "jobId": ""} == {
        "success": True, "jobId": "", "type": "email_send", "status": "queued", "scheduledFor": None,
    }  # fmt: skip


def test_api_answers_nobody_without_a_key(server: Server) -> None:
    """S1-81: of all routes that the server has."""
    routes = server.call("GET", "/openapi.json").json["paths"]

    opened = [
        path
        for path, methods in routes.items()
        for method in methods
        if server.call(method.upper(), path.replace("{", "").replace("}", ""), key=None).status != 401
    ]

    assert {"/api/enqueue-job", "/debug/queue-status", "/debug/enqueue-test", "/debug/enqueue"} < routes.keys()
    assert sorted(opened) == ["/health", "/livez", "/readyz"]
