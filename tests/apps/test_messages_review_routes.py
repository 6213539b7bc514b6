"""Review, lists and live histories over HTTP. The row ids stand for the requirements that a test holds."""

import http.client
import itertools
import json
from urllib.parse import quote, urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.apps.sinks import MailSink
from tests.http.wire import assert_refusal, eventually
from tests.support import ON_BOTH_STORES, ON_POSTGRES, Server

pytestmark = ON_BOTH_STORES
NUMBERS = itertools.count(1)
SECRET = "what nobody but its readers may see"
LATER = "2036-12-24T18:00:00Z"
ROLES = ("admin", "operator", "producer", "agent", "author", "reviewer", "consumer")


@pytest.fixture(scope="module")
def sink():
    """A mail server that knows no nobody@example.com."""
    with MailSink() as running:
        running.replies["RCPT"] = lambda recipient: "550 5.1.1 no such user" if "nobody" in recipient else None
        yield running


@pytest.fixture(scope="module")
def server(request, sink, tmp_path_factory):
    data = tmp_path_factory.mktemp("review")
    if request.param == "postgres":
        ON_POSTGRES.add(data)
    environ = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "SMTP_TLS": "off"}
    with Server(data, environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def keys(server):
    """A key for each role."""
    return {role: server.call("POST", "/api/keys", {"role": role}).json["secret"] for role in ROLES}


def body(**more):
    about = {"recipient": "ada@example.com", "subject": "Hello", "content": SECRET, "priority": "high"}
    return {"messageId": f"msg {next(NUMBERS)}", **about, **more}


def write(server, key=None, **more):
    """Write a message and give its id."""
    reply = server.call("POST", "/api/messages", body(**more), **({"key": key} if key else {}))
    assert reply.status == 201, reply.body
    return reply.json["messageId"]


def act(server, message_id, name, given=None, **more):
    return server.call("POST", f"/api/messages/{quote(message_id)}/{name}", given, **more)


def status_of(server, message_id):
    return server.call("GET", f"/api/messages/{quote(message_id)}").json["status"]


def listed(server, query="", **more):
    reply = server.call("GET", f"/api/messages?{query}", **more)
    assert reply.status == 200, reply.body
    return reply.json


def test_an_author_writes_a_reviewer_approves_and_the_mail_arrives(server, keys, sink):
    """S1-41, S1-44."""
    message_id = write(server, keys["author"], subject="For review")
    assert status_of(server, message_id) == "draft"

    reply = act(server, message_id, "approve", key=keys["reviewer"])

    assert (reply.status, reply.json["status"]) == (200, "queued")
    assert eventually(lambda: [mail for mail in sink.mails if mail.message["Subject"] == "For review"])
    eventually(lambda: status_of(server, message_id) == "sent")
    again = act(server, message_id, "approve", key=keys["reviewer"])
    assert_refusal(again, 409, "CONFLICT")
    assert "is sent; only a draft" in again.json["error"]["message"]


def test_a_rejected_message_says_why_and_leaves_no_job(server, keys):
    """S1-41."""
    message_id = write(server)

    reply = act(server, message_id, "reject", {"reason": "too loud"}, key=keys["reviewer"])

    assert (reply.json["status"], reply.json["reason"], reply.json["jobId"]) == ("rejected", "too loud", None)


def test_direct_is_for_those_who_may_send(server, keys):
    """S1-42."""
    sent = server.call("POST", "/api/messages", body(direct=True), key=keys["producer"])
    refused = server.call("POST", "/api/messages", body(direct=True), key=keys["author"])

    assert (sent.status, sent.json["status"]) == (201, "queued")
    assert_refusal(refused, 403, "FORBIDDEN")
    assert "leave it out, and a reviewer will look at the message" in refused.json["error"]["message"]


def test_the_same_message_again_is_the_same_and_another_one_a_conflict(server):
    """X64."""
    given = body()
    first = server.call("POST", "/api/messages", given)

    again, other = (server.call("POST", "/api/messages", {**given, **more}) for more in ({}, {"subject": "Bye"}))

    assert (again.status, again.json) == (201, first.json)
    assert_refusal(other, 409, "CONFLICT")


def test_a_message_without_an_id_gets_one(server):
    reply = server.call("POST", "/api/messages", {"recipient": "ada@example.com", "subject": "x", "content": "y"})

    assert (reply.status, reply.json["priority"], len(reply.json["messageId"])) == (201, "normal", 32)


def test_a_scheduled_message_is_moved_and_cancelled_before_its_time(server):
    """S1-43."""
    message_id = write(server, direct=True, sendAt=LATER)
    assert status_of(server, message_id) == "scheduled"

    moved = act(server, message_id, "reschedule", {"sendAt": "2036-12-25T08:00:00Z"})
    ended = act(server, message_id, "cancel")

    assert (moved.json["status"], moved.json["scheduledFor"]) == ("scheduled", "2036-12-25T08:00:00.000Z")
    assert ended.json["status"] == "cancelled"
    assert_refusal(act(server, message_id, "cancel"), 409, "CONFLICT")


def test_an_author_cancels_its_own_draft_and_no_other(server, keys):
    """S1-82."""
    own, other = write(server, keys["author"]), write(server)

    assert act(server, own, "cancel", key=keys["author"]).json["status"] == "cancelled"
    assert_refusal(act(server, other, "cancel", key=keys["author"]), 403, "FORBIDDEN")


def test_a_failed_message_is_redriven(server, keys):
    """S1-57."""
    message_id = write(server, recipient="nobody@example.com", direct=True)
    eventually(lambda: status_of(server, message_id) == "failed")

    reply = act(server, message_id, "redrive", key=keys["operator"])

    assert (reply.status, reply.json["status"], reply.json["reason"]) == (200, "queued", "redriven")
    eventually(lambda: status_of(server, message_id) == "failed")
    history = server.call("GET", f"/api/messages/{quote(message_id)}/history").json["history"]
    assert [line["status"] for line in history] == ["queued", "processing", "failed"] * 2


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"recipient": "nobody"}, "recipient"),
        ({"recipient": "a@b.c\r\nBcc: d@e.f"}, "recipient"),
        ({"subject": "x\ny"}, "subject"),
        ({"content": None}, "content"),
        ({"priority": "urgent"}, "priority"),
        ({"type": "export_generation"}, "type"),
        ({"sendAt": "tomorrow"}, "sendAt"),
        ({"direct": "yes"}, "direct"),
        ({"messageId": ".."}, "messageId"),
        ({"cc": "a@b.c"}, "cc"),
        ({"type": "sms_send", "recipient": "+15005550006"}, "subject"),
        ({"subject": None}, "subject"),
    ],
)
def test_a_wrong_message_names_its_field_and_leaves_nothing(server, wrong, named):
    """S1-83."""
    given = body(**wrong)

    reply = server.call("POST", "/api/messages", given)

    assert_refusal(reply, 400, "VALIDATION_ERROR")
    assert named in reply.json["error"]["message"]
    assert server.call("GET", f"/api/messages/{quote(str(given['messageId']))}").status == 404 or named == "messageId"


@pytest.mark.parametrize(
    ("name", "given"),
    [("approve", {"sendAt": "soon"}), ("approve", {"now": True}), ("reject", {"reason": "a\0b"}),
     ("reject", {"reason": "x" * 501}), ("reschedule", {}), ("reschedule", {"sendAt": None}), ("cancel", {"why": 1}),
     ("redrive", [])],
)  # fmt: skip
def test_a_wrong_body_of_an_act_is_refused_and_changes_nothing(server, name, given):
    """S1-83."""
    message_id = write(server)

    assert_refusal(act(server, message_id, name, given), 400, "VALIDATION_ERROR")
    assert status_of(server, message_id) == "draft"


REACH = [
    ("POST", "/api/messages", ("admin", "operator", "producer", "author", "reviewer")),
    ("GET", "/api/messages", ROLES),
    ("GET", "/api/messages/x/events", ROLES),
    ("POST", "/api/messages/x/approve", ("admin", "operator", "reviewer")),
    ("POST", "/api/messages/x/reject", ("admin", "operator", "reviewer")),
    ("POST", "/api/messages/x/redrive", ("admin", "operator")),
    ("POST", "/api/messages/x/cancel", ROLES),  # whose it is decides, once there is one
    ("POST", "/api/messages/x/reschedule", ROLES),
]


@pytest.mark.parametrize(("method", "path", "roles"), REACH, ids=[f"{method} {path}" for method, path, _ in REACH])
def test_each_route_is_for_its_roles_and_for_nobody_without_a_key(server, keys, method, path, roles):
    """S1-81, S1-82."""
    replies = {
        role: server.call(method, path, {"no": 1} if method == "POST" else None, key=keys[role]) for role in ROLES
    }

    assert {role for role, reply in replies.items() if reply.status != 403} == set(roles)
    assert_refusal(server.call(method, path, key=None), 401, "UNAUTHORIZED")


def test_a_list_is_newest_first_and_goes_on_where_it_ended(server):
    """S1-44."""
    ids = [write(server, recipient="paged@example.com") for _ in range(5)]

    first = listed(server, "limit=3&q=paged@")
    rest = listed(server, f"limit=3&q=paged@&before={quote(first['next'])}")

    assert [one["messageId"] for one in first["messages"] + rest["messages"]] == ids[::-1]
    assert rest["next"] is None


def test_a_list_without_a_search_ends_exactly_at_its_end(server):
    ids = [write(server, sendAt=LATER, direct=True) for _ in range(2)]

    page = listed(server, "status=scheduled&limit=100")

    assert page["next"] is None
    assert set(ids) <= {one["messageId"] for one in page["messages"]}
    everything, before = [], ""
    while before is not None:
        page = listed(server, f"limit=7&before={quote(before)}")
        everything += [one["messageId"] for one in page["messages"]]
        before = page["next"]
    assert len(everything) == len(set(everything)) >= 2


def test_a_list_has_a_status_and_a_type(server):
    draft, text = write(server), write(server, type="sms_send", recipient="+15005550006", subject=None)

    drafts = {one["messageId"] for one in listed(server, "status=draft&limit=200")["messages"]}
    texts = {one["messageId"] for one in listed(server, "type=sms_send&limit=200")["messages"]}

    assert {draft, text} <= drafts
    assert text in texts
    assert draft not in texts


def test_a_search_finds_in_subjects_and_recipients_for_readers_and_in_ids_for_all(server, keys):
    """X59."""
    message_id = write(server, subject="A Zebra crosses", messageId=f"stripes-{next(NUMBERS)}")

    found = [listed(server, f"q={text}", key=keys[role])["messages"] for text in ("zebra", message_id.upper())
             for role in ("reviewer", "author")]  # fmt: skip

    assert [[one["messageId"] for one in hits] for hits in found] == [[message_id], [], [message_id], [message_id]]
    assert (found[0][0]["subject"], found[0][0]["content"]) == ("A Zebra crosses", SECRET)
    assert "subject" not in found[3][0]


@pytest.mark.parametrize("query", ["status=lost", "type=fax", "limit=0", "limit=201", "before=x", "before=bnVsbA==",
                                   "q=" + "x" * 201])  # fmt: skip
def test_a_wrong_query_is_refused(server, query):
    assert_refusal(server.call("GET", f"/api/messages?{query}"), 400, "VALIDATION_ERROR")


def test_a_history_is_followed_live_over_both(server, keys):
    """S1-44."""
    message_id = write(server)
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=5)
    connection.request(
        "GET", f"/api/messages/{quote(message_id)}/events", headers={"Authorization": f"Bearer {server.key}"}
    )
    answer = connection.getresponse()
    url = server.url.replace("http", "ws", 1) + f"/api/messages/{quote(message_id)}/ws?after=1"

    with connect(url, additional_headers={"Authorization": f"Bearer {keys['author']}"}) as socket:
        first = [answer.readline() for _ in range(3)]
        act(server, message_id, "reject", {"reason": "no"})
        second = [answer.readline() for _ in range(3)]
        frame = json.loads(socket.recv(timeout=5))
    connection.close()

    assert first[0] == b"id: 1\n"
    assert json.loads(first[1].removeprefix(b"data: "))["status"] == "draft"
    assert json.loads(second[1].removeprefix(b"data: ")) == frame
    assert (frame["number"], frame["status"], frame["reason"]) == (2, "rejected", "no")


def test_nobody_follows_what_is_not_there(server):
    url = server.url.replace("http", "ws", 1) + "/api/messages/nothing/ws"

    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers={"Authorization": f"Bearer {server.key}"})

    assert refused.value.response.status_code == 404
    assert server.call("GET", "/api/messages/nothing/events").status == 404
    assert server.call("GET", "/api/messages/nothing/events?after=x").status == 400


def test_neither_log_nor_trail_has_what_was_written(server):
    """X59."""
    write(server, subject="A subject of its own", recipient="unheard.of@example.com")

    audit = server.call("GET", "/api/audit?limit=100").body.decode()

    for word in (SECRET, "unheard.of", "A subject of its own"):
        assert word not in server.text
        assert word not in audit


@pytest.mark.parametrize("message_id", ["%00", "%ff", "x" * 5000, "%F0%9F%92%A9"])
def test_an_id_that_no_message_has_is_not_found(server, message_id):
    for name in ("approve", "cancel", "redrive"):
        assert_refusal(server.call("POST", f"/api/messages/{message_id}/{name}"), 404, "NOT_FOUND")


def test_a_search_for_what_no_text_holds_finds_nothing(server):
    assert listed(server, "q=%00")["messages"] == []
