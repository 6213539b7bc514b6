"""`/events/subscriptions`: made, listed, removed. The row ids stand for the requirements that a test holds."""

import pytest

from tests.apps.subscribers import delivering, subscribe
from tests.http.wire import assert_refusal, consumer_of, queue_named
from tests.support import Server

URL = "https://93.184.216.34/hook"
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
PATH = "/events/subscriptions"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with delivering(tmp_path_factory.mktemp("subscriptions")) as running:
        yield running


def key_of(server: Server, **given):
    return server.call("POST", "/api/keys", given).json["secret"]


def entries(server: Server, correlation_id: str):
    found = server.call("GET", "/api/audit").json["entries"]
    return {entry["act"]: entry for entry in found if entry["correlation_id"] == correlation_id}


def test_a_subscription_is_a_queue_that_is_pushed_to_its_url(server):
    """S4-49."""
    made = subscribe(server, URL, filter={"payload.type": ["order"]})

    consumer = consumer_of(server, queue_named(server, made["queue"])["queue_id"])
    assert (made["state"], made["backlog"], made["last_failure"]) == ("active", 0, None)
    assert made["queue"].startswith("events-sub-")
    assert (consumer["type"], consumer["url"], consumer["dead_letter_queue"]) == ("http_push", URL, "event-dlq")


def test_the_secret_is_shown_once(server):
    made, own = subscribe(server, URL), subscribe(server, URL, secret=SECRET)

    listed = server.call("GET", PATH).json["subscriptions"]
    shown = server.call("GET", f"{PATH}/{own['id']}").json

    assert (made["secret"][:6], own["secret"]) == ("whsec_", SECRET)
    assert own["id"] in [one["id"] for one in listed]
    assert shown == {name: value for name, value in own.items() if name != "secret"}
    assert SECRET not in str(listed) + server.text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "VALIDATION_ERROR"),
        ({"url": ""}, "URL_REFUSED"),
        ({"url": "ftp://example.com"}, "URL_REFUSED"),
        ({"url": "http://10.0.0.5/hook"}, "URL_REFUSED"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "URL_REFUSED"),
        ({"url": f"https://example.com/{'x' * 2048}"}, "VALIDATION_ERROR"),
        ({"url": URL, "secret": "short"}, "VALIDATION_ERROR"),
        ({"url": URL, "secret": 5}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": []}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {"payload": "x"}}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {"event_id": "x"}}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {"payload.a": {}}}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {"payload.a": []}}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {"payload.a": [["x"]]}}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {"payload.a": ["x"] * 101}}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {"payload.a": "x" * 1001}}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {f"payload.{n}": n for n in range(21)}}, "VALIDATION_ERROR"),
        ({"url": URL, "filter": {f"payload.{'x' * 200}": 1}}, "VALIDATION_ERROR"),
    ],
)
def test_what_cannot_be_is_refused_and_makes_nothing(server, body, code):
    before = server.call("GET", PATH).body, len(server.v4("GET", "/queues").result)

    assert_refusal(server.call("POST", PATH, body), 400, code)

    assert (server.call("GET", PATH).body, len(server.v4("GET", "/queues").result)) == before


def test_a_deleted_subscription_is_gone_with_its_queue(server):
    made = subscribe(server, URL)

    gone = server.call("DELETE", f"{PATH}/{made['id']}")

    assert gone.json == {"deleted": made["id"]}
    assert queue_named(server, made["queue"]) is None
    assert_refusal(server.call("DELETE", f"{PATH}/{made['id']}"), 404, "NOT_FOUND")
    assert_refusal(server.call("GET", f"{PATH}/{made['id']}"), 404, "NOT_FOUND")


def test_both_acts_are_in_the_audit_trail_without_secret_or_query(server):
    mine = {"X-Correlation-ID": "11111111-2222-4333-8444-555555555555"}
    wanted = {"url": f"{URL}?token=unspoken", "secret": SECRET, "filter": {"payload.shop": "unsaid"}}

    made = server.call("POST", PATH, wanted, headers=mine).json
    server.call("DELETE", f"{PATH}/{made['id']}", headers=mine)

    found = entries(server, mine["X-Correlation-ID"])
    assert found.keys() == {
        "queue.created",
        "event_subscription.created",
        "event_subscription.deleted",
        "queue.deleted",
    }
    assert found["event_subscription.created"]["object"] == f"event-subscription {made['id']}"
    assert found["event_subscription.created"]["details"] == {"queue": made["queue"], "filter": ["payload.shop"]}
    assert not [word for word in ("unspoken", "unsaid", SECRET) if word in str(found) + server.text]


def test_a_producer_may_neither_subscribe_nor_see_who_has(server):
    """S4-42."""
    made, key = subscribe(server, URL), key_of(server, role="producer")

    assert_refusal(server.call("GET", PATH, key=key), 403, "FORBIDDEN")
    assert_refusal(server.call("GET", f"{PATH}/{made['id']}", key=key), 403, "FORBIDDEN")
    assert_refusal(server.call("POST", PATH, {"url": URL}, key=key), 403, "FORBIDDEN")
    assert_refusal(server.call("DELETE", f"{PATH}/{made['id']}", key=key), 403, "FORBIDDEN")


def test_an_operator_may_subscribe(server):
    assert server.call("POST", PATH, {"url": URL}, key=key_of(server, role="operator")).status == 201


def test_a_key_of_some_queues_may_not_see_who_is_sent_all_events(server):
    key = key_of(server, role="operator", queues=["event-queue"])

    replies = [server.call("POST", PATH, {"url": URL}, key=key), server.call("GET", PATH, key=key)]

    assert [reply.status for reply in replies] == [403, 403]


def test_a_subscription_whose_queue_was_paused_or_deleted_says_so(server):
    paused, lost = subscribe(server, URL), subscribe(server, URL)
    ids = [queue_named(server, one["queue"])["queue_id"] for one in (paused, lost)]

    server.v4("PATCH", f"/queues/{ids[0]}", {"settings": {"delivery_paused": True}})
    server.v4("DELETE", f"/queues/{ids[1]}")

    shown = [server.call("GET", f"{PATH}/{one['id']}").json for one in (paused, lost)]
    assert [(one["state"], one["queue"]) for one in shown] == [("stopped", paused["queue"]), ("stopped", None)]
    assert server.call("DELETE", f"{PATH}/{lost['id']}").status == 200


def test_an_account_has_a_hundred_subscriptions_at_most(server):
    while len(server.call("GET", PATH).json["subscriptions"]) < 100:
        subscribe(server, URL)

    assert_refusal(server.call("POST", PATH, {"url": URL}), 409, "CONFLICT")


def test_without_the_consumer_deliver_a_subscription_is_stopped(stopped):
    with stopped.start() as server:
        assert subscribe(server, URL)["state"] == "stopped"
