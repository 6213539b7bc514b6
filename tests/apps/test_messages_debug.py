"""What the settings of a server make of the routes of messages: debugging, rates, a slow mail server."""

import time
from itertools import groupby

import pytest

from tests.apps.message_rooms import email
from tests.apps.sinks import HANG, MailSink
from tests.apps.test_messages_routes import LITERAL, ended, post, show, status_of
from tests.http.wire import assert_refusal, eventually
from tests.support import Server

DEBUG = ("/debug/queue-status", "/debug/enqueue-test", "/debug/enqueue")
TYPES = ["email_send", "sms_send", "export_generation", "cleanup"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server without providers: messages go to files."""
    with Server(tmp_path_factory.mktemp("debug") / "data", environ={"RETRY_BASE_SECONDS": "0"}) as running:
        yield running


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_enqueue_test_queues_one_job_of_each_type(server, method):
    """S1-47, X54."""
    before = status_of(server)["total"]

    reply = server.call(method, "/debug/enqueue-test")

    assert reply.status == 200
    assert reply.json["success"] is True
    assert [job["type"] for job in reply.json["jobs"]] == TYPES
    for job, word in zip(reply.json["jobs"], ("stored", "stored", "done", "done"), strict=True):
        ended(server, job["jobId"], word)
    assert status_of(server)["total"] == before + 4  # nobody's job: the removal of the export's file a day later


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", None), ("POST", email("debug-1"))])
def test_enqueue_queues_one_job(server, method, body):
    """S1-48."""
    before = status_of(server)["total"]

    reply = server.call(method, "/debug/enqueue", body)

    assert reply.status == 200
    assert set(reply.json) == {"success", "jobId"}
    assert status_of(server)["total"] == before + 1
    assert eventually(lambda: (found := show(server, reply.json["jobId"]).json)["status"] == "stored" and found)


def test_the_status_says_what_is_configured_and_never_how(server):
    """S1-51, S1-52."""
    found = server.call("GET", "/debug/queue-status").json["environment"]

    assert found["store"] in ("sqlite", "postgresql")
    assert found["providers"] == {"smtp": False, "resend": False, "twilio": False, "emailFiles": True, "smsFiles": True}
    assert found["bindings"] == {"MESSAGE_QUEUE": True}


def test_each_job_has_a_line_in_the_log_and_none_tells_what_it_holds(server):
    """S1-22, X59."""
    post(server, email("logged", subject="a subject nobody may see"))
    job_id = show(server, "logged").json["jobId"]
    ended(server, "logged", "stored")

    server.wait_for_text(job_id)
    lines = eventually(
        lambda: [line for line in server.log_lines() if line.get("job_id") == job_id and "outcome" in line]
    )
    assert {"type", "attempt", "duration_ms", "outcome", "queue"} <= set(lines[0])
    assert (lines[0]["type"], lines[0]["outcome"]) == ("email_send", "done")
    assert not any(word in server.text for word in ("nobody may see", "ada@example.com"))


@pytest.mark.parametrize("environ", [{"DEBUG_ROUTES": "0"}, {"CLOUDFLARE_ENV": "production"}])
def test_debug_routes_can_be_switched_off_and_are_off_in_production(stopped, environ):
    """X54."""
    stopped.environ |= environ
    with stopped as server:
        for path in DEBUG:
            assert [server.call(method, path).status for method in ("GET", "POST")] == [404, 404]
        assert server.call("GET", "/api/messaging/status").json["environment"]["debugRoutes"] is False


def test_the_literal_curl_needs_no_key_where_auth_is_local(stopped):
    """S1-52, S1-53, S1-81, X07."""
    stopped.environ |= {"CLOUDFLARE_ENV": "local", "AUTH_MODE": "local"}
    with stopped as server:
        assert server.call("POST", "/api/enqueue-job", LITERAL, key=None).status == 202
        found = server.call("GET", "/debug/queue-status", key=None).json
        assert (found["total"], found["environment"]["environment"]) == (1, "local")


def test_a_key_that_asks_too_often_is_told_when_to_come_again(stopped):
    """S1-84, X60."""
    stopped.environ |= {"MESSAGE_KEY_RATE": "5/60", "MESSAGE_RECIPIENT_RATE": "2/3600"}
    with stopped as server:
        other = server.call("POST", "/api/keys", {"role": "producer"}).json["secret"]
        replies = [post(server, email(f"msg-{number}", recipient=f"{number}@example.com")) for number in range(8)]
        to_one = [post(server, email(f"to-one-{number}"), key=other) for number in range(3)]

        assert [(status, len([*group])) for status, group in groupby(reply.status for reply in replies)] == [
            (202, 5),
            (429, 3),
        ]
        assert_refusal(replies[-1], 429, replies[-1].json["error"]["code"])
        assert 1 <= int(replies[-1].headers["retry-after"]) <= 60
        assert [reply.status for reply in to_one] == [202, 202, 429]
        assert int(to_one[-1].headers["retry-after"]) > 60
        assert show(server, "msg-7").status == 404


def test_a_slow_mail_server_makes_nobody_wait(stopped):
    """S1-01."""
    with MailSink() as sink:
        sink.replies["RCPT"] = HANG
        stopped.environ |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port)}
        with stopped as server:
            times = []
            for number in range(5):
                began = time.monotonic()
                assert post(server, email(f"msg-{number}")).status == 202
                times.append(time.monotonic() - began)

            assert max(times) < 1
            assert sink.hanging.wait(10)
            assert sink.mails == []


def test_a_message_of_another_master_key_is_shown_without_what_it_holds(stopped):
    stopped.environ |= {"MASTER_KEY": "7e" * 32}
    with stopped as server:
        post(server, email(sendAt="2099-01-01T00:00:00Z"))
        server.stop()
        server.environ["MASTER_KEY"] = "8e" * 32
        server.start()

        found = show(server, "msg-1")

        assert found.status == 200
        assert found.json["status"] == "scheduled"
        assert "content" not in found.json
