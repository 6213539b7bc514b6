"""`/api/enqueue-job`, `/api/messages/…`, `/api/messaging/…` and `/debug/…` as programs see them."""

import itertools
import json
import re

import pytest

from tests.apps.message_rooms import CONTENT, cleanup, email, export, sms
from tests.apps.sinks import MailSink
from tests.http.wire import ISO_MS, assert_refusal, eventually, make_key
from tests.support import ON_BOTH_STORES, ON_POSTGRES, Server

pytestmark = ON_BOTH_STORES
NUMBERS = itertools.count(1)
LITERAL = (  # as the product's page has it
    b'{"type": "email_send", "messageId": "test-123", "recipient": "test@example.com", "subject": "Test Email", '
    b'"content": "This is a test email", "priority": "normal"}'
)
STATUS = ("/api/messaging/status", "/debug/queue-status")
ROLES = ("admin", "operator", "producer", "consumer", "agent", "author", "reviewer")
SEND = ("admin", "operator", "producer", "agent")
REACH = [
    ("POST", "/api/enqueue-job", SEND),
    ("GET", "/api/messages/{id}", ROLES),
    ("GET", "/api/messages/{id}/history", ROLES),
    ("GET", "/api/messaging/status", ("admin", "operator")),
    ("GET", "/api/messaging/failures", ("admin", "operator")),
    ("GET", "/debug/queue-status", ("admin", "operator")),
    ("GET", "/debug/enqueue-test", ("admin",)),
    ("POST", "/debug/enqueue-test", ("admin",)),
    ("GET", "/debug/enqueue", ("admin",)),
    ("POST", "/debug/enqueue", ("admin",)),
]


@pytest.fixture(scope="module")
def sink():
    """A mail server that knows no nobody@example.com."""
    with MailSink() as running:
        running.replies["RCPT"] = lambda recipient: "550 5.1.1 no such user" if "nobody" in recipient else None
        yield running


@pytest.fixture(scope="module")
def server(request, sink, tmp_path_factory):
    data = tmp_path_factory.mktemp("messages")
    if request.param == "postgres":
        ON_POSTGRES.add(data)
    environ = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "RETRY_BASE_SECONDS": "1"}
    accounts = {name: make_key(data, name) for name in ("north", "south", "rates")}
    with Server(data, environ=environ) as running:
        running.accounts = accounts
        yield running


@pytest.fixture(scope="module")
def keys(server):
    """A key for each role."""
    return {role: server.call("POST", "/api/keys", {"role": role}).json["secret"] for role in ROLES}


@pytest.fixture
def name():
    """An id that no other test has."""
    return f"msg-{next(NUMBERS)}"


def post(server, *jobs, **more):
    return server.call("POST", "/api/enqueue-job", jobs[0] if len(jobs) == 1 else list(jobs), **more)


def show(server, message_id, **more):
    return server.call("GET", f"/api/messages/{message_id}", **more)


def status_of(server, **more):
    return server.call("GET", "/api/messaging/status", **more).json


def ended(server, message_id, status="sent", **more):
    """Wait for a job's end and give it."""
    return eventually(lambda: (found := show(server, message_id, **more).json)["status"] == status and found)


def test_the_literal_body_is_queued_and_again_is_the_same_job(server):
    """S1-45, S1-53, X64."""
    first = server.call("POST", "/api/enqueue-job", LITERAL)
    again = server.call("POST", "/api/enqueue-job", LITERAL)

    assert first.status == again.status == 202
    job_id = first.json["jobId"]
    assert first.json == again.json
    assert first.json == {
        "success": True,
        "jobId": job_id,
        "type": "email_send",
        "status": "queued",
        "scheduledFor": None,
    }
    other = server.call("POST", "/api/enqueue-job", LITERAL.replace(b"This is", b"That is"))
    assert other.status == 409
    assert "test-123" in other.json["error"]["message"]


def test_a_list_of_all_types_is_answered_in_its_order(server, name):
    """S1-11, S1-45."""
    jobs = (email(name), sms(f"{name}-s"), export(f"{name}-x"), cleanup())

    reply = post(server, *jobs)

    assert reply.status == 202
    assert reply.json["success"] is True
    assert [job["type"] for job in reply.json["jobs"]] == ["email_send", "sms_send", "export_generation", "cleanup"]
    assert all(re.fullmatch("[0-9a-f]{32}", job["jobId"]) for job in reply.json["jobs"])


def test_a_mail_is_followed_from_queued_to_sent_by_either_id(server, sink, name):
    """S1-02, S1-23, S1-25, S1-44, S1-62."""
    queued = post(server, email(name, recipient=f"{name}@example.com"))

    sent = ended(server, name)
    history = server.call("GET", f"/api/messages/{queued.json['jobId']}/history").json

    assert [mail.message["Subject"] for mail in sink.mails if mail.recipient == f"{name}@example.com"] == ["Hello"]
    assert (sent["provider"], sent["attempts"], sent["nextAttemptAt"]) == ("smtp", 1, None)
    assert show(server, queued.json["jobId"]).json == sent
    assert history["messageId"] == name
    assert [line["status"] for line in history["history"]] == ["queued", "processing", "sent"]
    assert [line["number"] for line in history["history"]] == [1, 2, 3]
    assert all(re.fullmatch(ISO_MS, line["at"]) for line in history["history"])


def test_a_scheduled_message_says_when(server, name):
    """S1-12, S1-90."""
    reply = post(server, email(name, sendAt="2099-12-24T18:00:00+01:00"))

    found = show(server, name).json
    assert reply.json["scheduledFor"] == "2099-12-24T17:00:00.000Z"
    assert (found["status"], found["scheduledFor"]) == ("scheduled", "2099-12-24T17:00:00.000Z")


BAD = {
    "no JSON": (b"{", "JSON"),
    "nothing": (b"", "type"),
    "half of a character": (b'{"type":"email_send","messageId":"\xff"}', "JSON"),
    "a number": (b"1", "object"),
    "an empty list": ([], "length"),
    "a list that is too long": ([cleanup()] * 101, "length"),
    "no type": ({"messageId": "a"}, "type"),
    "an unknown type": (email(type="fax_send"), "fax_send"),
    "a type of another kind": (email(type=1), "type"),
    "no messageId": ({key: value for key, value in email().items() if key != "messageId"}, "messageId"),
    "an id that is none": (email(".."), "messageId"),
    "an id with U+0000": (email("a\0"), "messageId"),
    "an id that is too long": (email("x" * 129), "messageId"),
    "an id with half of a character": (b'{"type":"cleanup","target":"\\ud800","olderThan":"x"}', ""),
    "an address that is none": (email(recipient="test"), "recipient"),
    "two addresses": (email(recipient="a@example.com,b@example.com"), "recipient"),
    "an address with a header": (email(recipient="a@example.com\r\nBcc: b@example.com"), "recipient"),
    "a subject with a header": (email(subject="a\r\nBcc: b@example.com"), "subject"),
    "a subject that is too long": (email(subject="x" * 999), "subject"),
    "content of another type": (email(content=["a"]), "content"),
    "content with U+0000": (email(content="\0"), "content"),
    "content that is too long": (email(content="x" * 100_001), "content"),
    "no subject of an e-mail": (email(subject=""), "subject"),
    "no content of an e-mail": (email(content=""), "content"),
    "no content of an SMS": (sms(content=""), "content"),
    "a number that is none": (sms(recipient="0800 123"), "recipient"),
    "a priority that is none": (email(priority="medium"), "priority"),
    "no priority": ({key: value for key, value in email().items() if key != "priority"}, "priority"),
    "a field too many": (email(bcc="a@example.com"), "bcc"),
    "a format that is none": (export(format="xml"), "format"),
    "filters of another type": (export(filters=[]), "filters"),
    "a date in the filters that is none": (export(filters={"startDate": "soon"}), "startDate"),
    "a target that is none": (cleanup("everything"), "target"),
    "yesterday": (cleanup(older_than="yesterday"), "olderThan"),
    "a time without an offset": (email(sendAt="2030-01-01T00:00:00"), "sendAt"),
    "one bad job in a list": ([email(), sms(recipient="")], "$[1]"),
    "filters that are too deep": (b'{"type":"export_generation","filters":{"a":' + b"[" * 5000, ""),
}  # fmt: skip


@pytest.mark.parametrize(("body", "word"), BAD.values(), ids=BAD.keys())
def test_a_bad_body_is_refused_by_name_and_nothing_is_queued(server, body, word):
    """S1-14 to S1-17, S1-83."""
    before = status_of(server)["total"]

    reply = server.call("POST", "/api/enqueue-job", body)

    assert reply.status == 400, reply.body
    assert word in reply.json["error"]["message"]
    assert status_of(server)["total"] == before


def test_a_job_needs_all_its_fields_and_the_answer_names_the_one_that_is_missing(server):
    """S1-14 to S1-17."""
    for job in (email(), sms(), export(), cleanup()):
        for field in job:
            reply = post(server, {name: value for name, value in job.items() if name != field})

            assert reply.status == 400, (job, field)
            assert f"`{field}`" in reply.json["error"]["message"]


def test_a_job_that_is_too_large_is_refused(server):
    reply = post(server, export(filters={"a": "x" * 128_000}))

    assert reply.status == 413


@pytest.mark.parametrize("path", ["%00", "%ff", "no-such-message", "a%2fb", "..%2f", "x" * 300, "%ed%a0%80"])
def test_a_message_that_is_not_there_is_not_found_whatever_its_id(server, path):
    for end in ("", "/history"):
        assert show(server, path + end).status == 404


@pytest.mark.parametrize(("method", "path", "roles"), REACH, ids=[f"{method} {path}" for method, path, _ in REACH])
def test_each_route_asks_for_a_key_of_the_right_role(server, keys, name, method, path, roles):
    """S1-81, S1-82."""
    post(server, email(name, sendAt="2099-01-01T00:00:00Z"))
    path, body = path.replace("{id}", name), b"" if "debug" in path else json.dumps(cleanup()).encode()
    body = body if method == "POST" else None

    assert_refusal(server.call(method, path, body, key=None), 401, "UNAUTHORIZED")
    reached = [role for role in ROLES if server.call(method, path, body, key=keys[role]).status != 403]
    assert reached == [*roles]


@pytest.mark.parametrize("limits", [{"role": "agent", "tenant": "acme"}, {"role": "admin", "queues": ["orders"]}])
def test_a_key_for_a_tenant_or_for_other_queues_does_not_reach_messages(server, name, limits):
    post(server, email(name, sendAt="2099-01-01T00:00:00Z"))
    key = server.call("POST", "/api/keys", limits).json["secret"]

    for method, path, _ in REACH:
        body = json.dumps(email("of-a-tenant")).encode() if method == "POST" else None
        assert server.call(method, path.replace("{id}", name), body, key=key).status == 403, path
    assert show(server, "of-a-tenant").status == 404


def test_what_a_message_holds_is_for_those_who_may_read_it(server, keys, name):
    """X59."""
    post(server, email(name, sendAt="2099-01-01T00:00:00Z"))

    for role in ROLES:
        found = show(server, name, key=keys[role])
        holds = role in ("admin", "operator", "consumer", "reviewer")
        assert found.status == 200
        assert (found.json.get("content") == CONTENT) is holds
        assert (b"ada@example.com" in found.body) is holds


def test_accounts_do_not_see_each_other(server, name):
    north, south = server.accounts["north"], server.accounts["south"]
    first = post(server, email(name), key=north)
    other = post(server, email(name, content="another"), key=south)

    assert (first.status, other.status) == (202, 202)
    assert show(server, name, key=north).json["content"] == CONTENT
    assert show(server, name, key=south).json["content"] == "another"
    assert show(server, name).status == 404
    assert show(server, first.json["jobId"], key=south).status == 404


def test_the_failure_rate_after_one_of_four_is_a_quarter_and_the_latest_come_first(server):
    """S1-26, S1-46, S1-49, S1-50, S1-87."""
    key = server.accounts["rates"]  # where nothing else happens
    before = status_of(server, key=key)
    for number in range(3):
        post(server, email(f"good-{number}"), key=key)
        ended(server, f"good-{number}", key=key)
    post(server, email("bad", recipient="nobody@example.com"), key=key)
    failed = ended(server, "bad", "failed", key=key)

    for path in STATUS:
        found = server.call("GET", path, key=key).json
        assert [found[word] for word in ("total", "queued", "processing", "failed", "done", "scheduled")] == [
            4, 0, 0, 1, 3, 0,
        ]  # fmt: skip
        assert (before["failureRate"], found["failureRate"], found["deadLettered"]) == (0, 0.25, 1)
        recent = found["recentActivity"]
        assert [activity["messageId"] for activity in recent] == ["bad", "good-2", "good-1", "good-0"]
        assert set(recent[0]) == {"jobId", "messageId", "type", "status", "at", "attempts"}
    assert failed["attempts"] == 1
    assert failed["reason"] == "smtp 550 5.1.1: no such user"
    groups = server.call("GET", "/api/messaging/failures?hours=2", key=key).json
    [group] = groups["groups"]
    assert (group["type"], group["reason"], group["count"], group["trend"]) == (
        "email_send",
        failed["reason"],
        1,
        [0, 1],
    )
