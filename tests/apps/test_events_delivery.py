"""Events on their way to subscribers, on a real server. The row ids stand for the requirements that a test holds."""

import pytest

from millrace.access.signatures import verify
from millrace.clock import wall_ms
from tests.apps.databases import DATABASES, change
from tests.apps.subscribers import delivering, post, subscribe, take_at_once
from tests.http.wire import backlog, eventually, make_key, peek, queue_named
from tests.support import KEY, ON_POSTGRES

EVENTS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with delivering(tmp_path_factory.mktemp("delivery")) as running:
        take_at_once(running)
        yield running


@pytest.fixture(autouse=True)
def no_subscriptions(request):
    """Leave the shared server without subscriptions."""
    yield
    if "server" in request.fixturenames:
        shared = request.getfixturevalue("server")
        for one in shared.call("GET", "/events/subscriptions").json["subscriptions"]:
            shared.call("DELETE", f"/events/subscriptions/{one['id']}")


def id_of(server, name):
    return queue_named(server, name)["queue_id"]


def retry_at_once(server, queue_id, consumer, **settings):
    """Give a subscription's consumer a short delay."""
    again_soon = {"backoff": {"kind": "fixed", "base_seconds": 0.01}, "max_wait_time_ms": 0, **settings}
    body = {"type": "http_push", "url": consumer["url"], "dead_letter_queue": "event-dlq", "settings": again_soon}
    path = f"/queues/{queue_id}/consumers/{consumer['consumer_id']}"
    assert server.v4("PUT", path, body).status == 200


def test_a_subscriber_can_tell_who_sent_an_event_and_which_request_it_came_from(server, subscribers):
    """S4-35, S4-49."""
    made = subscribe(server, subscribers.url("/all"))

    reply = post(server, 1)
    eventually(lambda: subscribers.pushes)

    (push,) = subscribers.pushes
    (message,) = subscribers.messages("/all")
    assert verify(made["secret"], push.headers, push.body, wall_ms() / 1000)
    assert message["headers"]["X-Correlation-ID"] == reply.headers["x-correlation-id"]
    assert message["body"] == {
        "event_id": reply.json["data"]["event_id"],
        "payload": {"n": 1},
        "metadata": {"shop": "south"},
        "timestamp": reply.json["data"]["timestamp"],
    }
    lines = [line for line in server.log_lines() if line.get("correlation_id") == reply.headers["x-correlation-id"]]
    assert [line["event"] for line in lines] == ["event.queued", "event.received"]


@pytest.mark.parametrize("database", DATABASES)
def test_a_kill_in_the_middle_costs_no_subscriber_an_event_and_brings_none_to_the_wrong_one(
    tmp_path, subscribers, database
):
    """S4-37, S4-40, S4-49."""
    if database == "postgres":
        ON_POSTGRES.add(tmp_path / "data")
    server = delivering(tmp_path)
    with server.start():
        subscribe(server, subscribers.url("/all"))
        subscribe(server, subscribers.url("/north"), filter={"metadata.shop": ["north", "northwest"]})
        subscribers.hold()
        for number in range(EVENTS):
            post(server, number, "north" if number % 2 else "south")
        take_at_once(server)  # all workflows begin now
        eventually(lambda: subscribers.pushes)

        server.kill()
        subscribers.freed.set()
        location = server.environ.get("DATABASE_URL") or str(server.data / "millrace.db")
        change(location, "update messages set visible_at_ms = 1, lease_ends_at_ms = 1 where receipt is not null")
        server.start()
        eventually(lambda: len(subscribers.numbers("/all")) == EVENTS, 15)
        eventually(lambda: len(subscribers.numbers("/north")) == EVENTS / 2, 15)

    assert subscribers.numbers("/north") == list(range(1, EVENTS, 2))
    for path in ("/all", "/north"):
        pairs = {(message["body"]["event_id"], message["id"]) for message in subscribers.messages(path)}
        assert len(pairs) == len(subscribers.numbers(path))  # what came twice is the same message


def test_a_subscriber_that_was_down_gets_everything_and_held_up_nobody(server, subscribers):
    """S4-49."""
    subscribers.answers["/down"] = 500
    down, up = (subscribe(server, subscribers.url(path)) for path in ("/down", "/up"))

    for number in range(12):
        post(server, number)
    eventually(lambda: len(subscribers.numbers("/up")) == 12)
    shown = eventually(lambda: failed(server, down))
    subscribers.answers.clear()
    eventually(lambda: len(subscribers.numbers("/down")) == 12, 15)

    assert shown["last_failure"]["status"] == 500
    assert shown["backlog"] == 12
    assert failed(server, up) is None


def failed(server, subscription):
    found = server.call("GET", f"/events/subscriptions/{subscription['id']}").json
    return found if found["last_failure"] else None


def test_a_dead_letter_of_a_subscription_goes_back_to_it(server, subscribers):
    """S4-50."""
    subscribers.answers["/poor"] = 500
    made = subscribe(server, subscribers.url("/poor"))
    queue, dead = id_of(server, made["queue"]), id_of(server, "event-dlq")
    consumer = server.v4("GET", f"/queues/{queue}").result["consumers"][0]
    retry_at_once(server, queue, consumer, max_retries=0)
    reply = post(server, 7)
    eventually(lambda: backlog(server, dead)["backlog_count"] == 1)
    reason = peek(server, dead)[0]["metadata"]["Millrace-Reason"]

    subscribers.answers.clear()
    server.v4("POST", f"/queues/{dead}/redrive", {"origin": made["queue"]})
    eventually(lambda: subscribers.messages("/poor"))

    assert "500" in reason
    assert subscribers.messages("/poor")[0]["body"]["event_id"] == reply.json["data"]["event_id"]
    assert backlog(server, dead)["backlog_count"] == 0


def test_a_marked_event_is_a_dead_letter_that_can_be_listed_redriven_and_discarded(server):
    """S4-24, S4-50."""
    dead = id_of(server, "event-dlq")
    server.v4("POST", f"/queues/{id_of(server, 'event-queue')}/messages", {"body": marked("marked")})
    (letter,) = eventually(lambda: peek(server, dead))

    redriven = server.v4("POST", f"/queues/{dead}/redrive", {"reason": "dlq_routing"}).result["redriven"]
    (again,) = eventually(lambda: peek(server, dead))
    server.v4("POST", f"/queues/{dead}/messages/purge", {"refs": [{"ref": again["ref"]}]})

    assert (letter["metadata"]["Millrace-Reason"], redriven) == ("dlq_routing", 1)
    assert peek(server, dead) == []


def marked(event_id):
    return {"event_id": event_id, "payload": {"_force_dlq": True}, "timestamp": "2025-11-10T12:34:56.789Z"}


def test_a_deleted_subscription_is_sent_nothing_more(server, subscribers):
    """S4-49."""
    gone, left = (subscribe(server, subscribers.url(path)) for path in ("/gone", "/left"))

    server.call("DELETE", f"/events/subscriptions/{gone['id']}")
    post(server, 1)
    eventually(lambda: subscribers.messages("/left"))

    assert subscribers.messages("/gone") == []
    assert left["id"] in str(server.call("GET", "/events/subscriptions").json)


def test_an_account_that_gets_its_first_key_while_the_server_runs_is_fed_too(tmp_path, subscribers):
    """S4-27, S4-49."""
    with delivering(tmp_path) as server:
        server.key = make_key(server.data, "newcomer")
        eventually(lambda: server.call("GET", "/events/subscriptions").status == 200)
        eventually(lambda: queue_named(server, "event-queue", account="newcomer"))
        take_at_once(server, account="newcomer")
        made = subscribe(server, subscribers.url("/theirs"))

        post(server, 1)

        eventually(lambda: subscribers.numbers("/theirs") == [1])
        assert server.call("GET", f"/events/subscriptions/{made['id']}", key=KEY).status == 404
