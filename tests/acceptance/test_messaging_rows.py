"""Promises of the messaging application that show only in a whole server: its windows, its log and audit, its crons."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.apps.message_rooms import email, export, sms
from tests.apps.sinks import MailSink, TwilioSink, serving
from tests.apps.test_messages_routes import ended, post, show
from tests.cli.commands import run
from tests.http.wire import eventually, peek, text_of
from tests.support import Server

FILE = """\
{
  "name": "messages", // its window is short, so that the tests are
  "main": "src/index.ts",
  "queues": {
    "producers": [{"queue": "message-delivery", "binding": "MESSAGE_QUEUE"}],
    "consumers": [{"queue": "message-delivery", "max_batch_timeout": 1, "dead_letter_queue": "dlq"}],
  },
  "triggers": {"crons": ["0 3 * * *"]},
}
"""
KEPT_DAYS = 5 / 86_400


@pytest.fixture(scope="module")
def mails() -> Iterator[MailSink]:
    """A mail server that knows no bad@example.com."""
    with MailSink() as sink:
        sink.replies["RCPT"] = lambda recipient: "550 5.1.1 no such user" if recipient.startswith("bad@") else None
        yield sink


@pytest.fixture(scope="module")
def twilio() -> Iterator[TwilioSink]:
    with serving(TwilioSink()) as sink:
        yield sink


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mails: MailSink, twilio: TwilioSink) -> Iterator[Server]:
    """A server on the file above, which has been asked for an export."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "wrangler.jsonc").write_text(FILE)
    environ = {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(mails.port),
        "TWILIO_API_BASE": twilio.url,
        "TWILIO_ACCOUNT_SID": twilio.account_sid,
        "TWILIO_AUTH_TOKEN": twilio.auth_token,
        "TWILIO_FROM_NUMBER": "+15005550007",
        "RETENTION_TEMP_FILES_DAYS": str(KEPT_DAYS),
    }
    with Server(folder / "data", "--config", str(folder / "wrangler.jsonc"), environ=environ) as running:
        post(running, export("told", priority="high", notifyEmail="told@example.com"))
        yield running


def audit(server: Server) -> list[dict[str, Any]]:
    return server.call("GET", "/api/audit?limit=200").json["entries"]


def lines_of(server: Server, job_id: str) -> list[dict[str, Any]]:
    """Give the log lines of a job, once it has ended."""

    def lines() -> list[dict[str, Any]]:
        found = [line for line in server.log_lines() if line.get("job_id") == job_id]
        return found if found and found[-1]["event"] == "job.ended" else []

    return eventually(lines)


def counted(server: Server, name: str) -> float:
    """Give a number of the metrics by its name and labels."""
    text = server.call("GET", "/metrics").body.decode()
    return float(re.search(f"^{re.escape(name)} (.*)$", text, re.MULTILINE)[1])


def test_whoever_waits_for_an_export_is_told(server: Server, mails: MailSink) -> None:
    """S1-32, S1-34. It comes first: the file is kept for some seconds only."""
    mail = eventually(lambda: [mail for mail in mails.mails if mail.recipient == "told@example.com"])[0]
    link = next(line for line in mail.message.get_content().splitlines() if line.startswith("/api/exports/"))

    file = server.call("GET", link, key=None)

    assert file.body.startswith(b"messageId,")


def test_the_command_shows_what_the_consumer_goes_by(server: Server) -> None:
    """S1-04, S1-78."""
    shown = run("queues", "info", "message-delivery", server=server).out

    assert "batches of 10, or after 1 s, retried up to 5 times, dead letters to dlq" in shown


def test_a_job_is_followed_by_its_id_from_the_request_to_its_delivery(server: Server) -> None:
    """S1-02, S1-22."""
    job_id = post(server, email("followed")).json["jobId"]
    ended(server, "followed")

    queued, done = lines_of(server, job_id)

    [note] = [entry for entry in audit(server) if entry["details"].get("job") == job_id]
    assert (queued["event"], queued["type"]) == ("job.queued", "email_send")
    assert (done["type"], done["attempt"], done["outcome"]) == ("email_send", 1, "done")
    assert done["duration_ms"] > 0
    assert (note["act"], note["correlation_id"]) == ("message.queued", queued["correlation_id"])
    assert done["correlation_id"] == queued["correlation_id"]


def test_a_poisoned_job_is_followed_into_the_dead_letters(server: Server) -> None:
    """S1-02, S1-08, S1-21: body, error and attempts are there."""
    job = email("poisoned", recipient="bad@example.com")
    job_id = post(server, job).json["jobId"]
    ended(server, "poisoned", "failed")

    failed = lines_of(server, job_id)[-1]

    acts = [entry["act"] for entry in audit(server) if entry["details"].get("job") == job_id]
    dead = server.v4("GET", "/queues?name=dlq").result[0]["queue_id"]
    [letter] = [letter for letter in peek(server, dead) if letter["id"] == job_id]
    assert (failed["outcome"], failed["attempt"]) == ("failed", 1)
    assert acts == ["message.failed", "message.queued"]
    assert {**json.loads(text_of(letter)), **job} == json.loads(text_of(letter))
    assert letter["metadata"]["Millrace-Reason"] == "smtp 550 5.1.1: no such user (attempt 1)"


def test_no_batch_is_larger_than_ten(server: Server) -> None:
    """S1-05."""
    post(server, *[email(f"many-{number}") for number in range(25)])
    for number in range(25):
        ended(server, f"many-{number}")

    queue = 'queue="message-delivery"'
    sizes = {
        bound: counted(server, f'millrace_batch_messages_bucket{{le="{bound}",{queue}}}') for bound in (10, "+Inf")
    }

    assert sizes[10] == sizes["+Inf"]
    assert counted(server, f"millrace_batch_messages_sum{{{queue}}}") >= 25


def test_codes_of_carriers_end_a_message_or_let_it_be_tried_again(server: Server, twilio: TwilioSink) -> None:
    """S1-27, S1-28."""
    codes = (21211, 21610, 30001, 30003, 20429)
    twilio.numbers = {f"+155500{code}": code for code in codes}

    post(server, *[sms(f"code-{code}", recipient=f"+155500{code}") for code in codes])

    tried = [eventually(lambda code=code: _tried(server, f"code-{code}")) for code in codes]
    assert [one["status"] for one in tried] == ["failed", "failed", "queued", "queued", "queued"]
    assert [one["attempts"] for one in tried] == [1] * 5
    assert [one["reason"].split(":")[0] for one in tried] == [f"twilio {code}" for code in codes]
    assert all(one["nextAttemptAt"] for one in tried[2:])


def _tried(server: Server, message_id: str) -> dict[str, Any] | None:
    shown: dict[str, Any] = show(server, message_id).json
    return shown if shown["attempts"] and shown["status"] != "processing" else None


def test_a_cron_of_the_file_queues_the_clean_ups(server: Server) -> None:
    """S1-38, S1-40."""
    server.call("POST", "/api/crons/run", {"program": "clean-up", "cron": "0 3 * * *"})

    def targets() -> set[str]:
        return {entry["details"]["target"] for entry in audit(server) if entry["act"] == "cleanup.done"}

    assert eventually(lambda: targets() >= {"audit_logs", "message_queue", "temp_files"})


def test_the_file_of_an_export_goes_by_itself(server: Server) -> None:
    """S1-33, S1-37, S1-38. It comes late: the file was kept for some seconds."""
    eventually(lambda: server.call("GET", "/api/exports/told").json["status"] == "expired")

    assert server.call("GET", "/api/exports/told/download").status == 410


def test_a_job_alone_waits_for_its_delay_and_the_window_and_a_high_one_for_neither(server: Server) -> None:
    """S1-06, S1-10, S1-67, S1-68, X03. It comes last: no other job may open the window for it."""
    post(server, email("alone", priority="normal"))
    post(server, email("at-once"))

    high, normal = ended(server, "at-once"), ended(server, "alone")

    waited = [
        (datetime.fromisoformat(one["updatedAt"]) - datetime.fromisoformat(one["createdAt"])).total_seconds()
        for one in (high, normal)
    ]
    assert waited[0] < 1
    assert 2 <= waited[1] < 3
