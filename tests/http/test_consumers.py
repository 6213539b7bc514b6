import re

import pytest

from tests.http.wire import PULL, a_name, assert_failure, consumer_of, pull, push, queue_named, settle

WORKER = {"type": "worker", "script_name": "my-worker"}
WORKER_DEFAULTS = {
    "batch_size": 10,
    "max_retries": 3,
    "max_wait_time_ms": 5000,
    "max_concurrency": None,
    "retry_delay": 0,
}
PULL_DEFAULTS = {"batch_size": 5, "max_retries": 3, "visibility_timeout_ms": 30000, "retry_delay": 0}
RANGES = [
    ("worker", "batch_size", 1, 100),
    ("worker", "max_retries", 0, 100),
    ("worker", "max_wait_time_ms", 0, 60000),
    ("worker", "max_concurrency", 1, 250),
    ("worker", "retry_delay", 0, 86400),
    ("http_pull", "batch_size", 1, 100),
    ("http_pull", "max_retries", 0, 100),
    ("http_pull", "visibility_timeout_ms", 0, 43200000),
    ("http_pull", "retry_delay", 0, 86400),
]


def attach(server, queue, **given):
    return server.v4("POST", f"/queues/{queue}/consumers", given)


def name_of(server, queue):
    return server.v4("GET", f"/queues/{queue}").result["queue_name"]


def test_a_worker_consumer_is_shown_with_its_defaults(server, queue):
    shown = attach(server, queue, **WORKER, environment_name="").result

    assert re.fullmatch("[0-9a-f]{32}", shown.pop("consumer_id"))
    assert shown.pop("created_on").endswith("Z")
    assert shown == {
        "type": "worker",
        "queue_name": name_of(server, queue),
        "queue_id": queue,
        "script": "my-worker",
        "script_name": "my-worker",
        "dead_letter_queue": "",
        "settings": WORKER_DEFAULTS,
    }


def test_a_pull_consumer_is_shown_with_its_defaults_and_without_a_script(server, queue):
    shown = attach(server, queue, **PULL).result

    assert set(shown) == {
        "consumer_id",
        "type",
        "queue_name",
        "queue_id",
        "dead_letter_queue",
        "created_on",
        "settings",
    }
    assert (shown["type"], shown["dead_letter_queue"], shown["settings"]) == ("http_pull", "", PULL_DEFAULTS)


@pytest.mark.parametrize("kind", [WORKER, PULL])
def test_the_queue_the_list_and_the_route_show_the_same_consumer(server, queue, kind):
    shown = attach(server, queue, **kind).result

    of_queue = server.v4("GET", f"/queues/{queue}").result
    listed = server.v4("GET", f"/queues/{queue}/consumers").json
    assert (of_queue["consumers"], of_queue["consumers_total_count"]) == ([shown], 1)
    assert listed["result"] == [shown]
    assert (listed["result_info"]["count"], listed["result_info"]["total_count"]) == (1, 1)
    assert server.v4("GET", f"/queues/{queue}/consumers/{shown['consumer_id']}").result == shown


def test_a_queue_without_a_consumer_has_an_empty_list(server, queue):
    listed = server.v4("GET", f"/queues/{queue}/consumers").json

    assert (listed["result"], listed["result_info"]["total_count"]) == ([], 0)


@pytest.mark.parametrize("first", [WORKER, PULL])
@pytest.mark.parametrize("second", [WORKER, PULL])
def test_a_second_consumer_of_either_type_is_refused_with_11004(server, queue, first, second):
    attach(server, queue, **first)

    reply = attach(server, queue, **second)

    assert_failure(reply, 409, 11004)
    assert reply.json["errors"][0]["message"] == "workers.api.error.consumer_exists"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": None},
        {"type": "WORKER", "script_name": "a"},
        {"type": 1},
        {"type": "worker"},
        {"type": "worker", "script_name": ""},
        {"type": "worker", "script_name": None},
        {"type": "worker", "script_name": 5},
        [],
        "worker",
    ],
)
def test_a_missing_type_or_script_is_refused_with_10026(server, queue, body):
    assert_failure(server.v4("POST", f"/queues/{queue}/consumers", body), 400, 10026)

    assert server.v4("GET", f"/queues/{queue}").result["consumers"] == []


def test_any_script_name_is_accepted(server, queue):
    assert attach(server, queue, type="worker", script_name="never seen / ü").result["script"] == "never seen / ü"


@pytest.mark.parametrize(("kind", "key", "low", "high"), RANGES)
def test_each_setting_has_its_range(server, queue, kind, key, low, high):
    given = WORKER if kind == "worker" else PULL
    consumer = attach(server, queue, **given, settings={key: low}).result
    path = f"/queues/{queue}/consumers/{consumer['consumer_id']}"
    assert consumer["settings"][key] == low
    assert server.v4("PUT", path, {**given, "settings": {key: high}}).result["settings"][key] == high
    before = consumer_of(server, queue)

    bad = [low - 1, high + 1, str(low), low + 0.5, True, [], {}] + ([None] if key != "max_concurrency" else [])
    for value in bad:
        assert_failure(server.v4("PUT", path, {**given, "settings": {key: value}}), 400, 100127)

    assert consumer_of(server, queue) == before


def test_a_bad_setting_leaves_the_queue_without_consumer_and_makes_no_dead_letter_queue(server, queue):
    dead = a_name("dlq")

    assert_failure(attach(server, queue, **PULL, dead_letter_queue=dead, settings={"batch_size": 0}), 400, 100127)

    assert server.v4("GET", f"/queues/{queue}").result["consumers"] == []
    assert queue_named(server, dead) is None


def test_a_concurrency_of_null_is_automatic(server, queue):
    consumer = attach(server, queue, **WORKER, settings={"max_concurrency": 4}).result
    path = f"/queues/{queue}/consumers/{consumer['consumer_id']}"

    replaced = server.v4("PUT", path, {**WORKER, "settings": {"max_concurrency": None}}).result

    assert (consumer["settings"]["max_concurrency"], replaced["settings"]["max_concurrency"]) == (4, None)


def test_a_missing_dead_letter_queue_is_made_in_the_jurisdiction_of_its_source(server):
    dead = a_name("dlq")
    source = server.v4("POST", "/queues", {"queue_name": a_name(), "jurisdiction": "eu"}).result["queue_id"]

    consumer = attach(server, source, **PULL, dead_letter_queue=dead).result

    made = queue_named(server, dead)
    assert consumer["dead_letter_queue"] == dead
    assert made["jurisdiction"] == "eu"
    assert made["settings"]["message_retention_period"] == 345600


def test_an_existing_dead_letter_queue_stays_as_it_is(server, queue):
    dead = a_name("dlq")
    made = server.create_queue(dead, delivery_delay=9)

    attach(server, queue, **PULL, dead_letter_queue=dead)

    assert queue_named(server, dead)["queue_id"] == made
    assert queue_named(server, dead)["settings"]["delivery_delay"] == 9


def test_a_queue_may_not_be_its_own_dead_letter_queue(server, queue, pulled):
    assert_failure(attach(server, queue, **PULL, dead_letter_queue=name_of(server, queue)), 400, 100127)
    path = f"/queues/{pulled}/consumers/{consumer_of(server, pulled)['consumer_id']}"
    assert_failure(server.v4("PUT", path, {**PULL, "dead_letter_queue": name_of(server, pulled)}), 400, 100127)

    assert server.v4("GET", f"/queues/{queue}").result["consumers"] == []


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_queue_may_not_be_renamed_to_its_own_dead_letter_queue(server, queue, method):
    dead = a_name("dlq")
    attach(server, queue, **PULL, dead_letter_queue=dead)
    server.v4("DELETE", f"/queues/{queue_named(server, dead)['queue_id']}")

    assert server.v4(method, f"/queues/{queue}", {"queue_name": dead}).status in (400, 409)


def test_a_cycle_of_two_dead_letter_queues_is_allowed(server):
    one, two = a_name(), a_name()
    first, second = server.create_queue(one), server.create_queue(two)

    assert attach(server, first, **PULL, dead_letter_queue=two).status == 200
    assert attach(server, second, **PULL, dead_letter_queue=one).status == 200


@pytest.mark.parametrize("name", ["Bad", "a" * 64, "-a", "a_b"])
def test_a_dead_letter_queue_has_a_queue_name(server, queue, name):
    assert_failure(attach(server, queue, **PULL, dead_letter_queue=name), 400, 11003)


def test_put_replaces_settings_and_dead_letter_queue_and_keeps_the_id(server, queue):
    consumer = attach(
        server, queue, **WORKER, dead_letter_queue=a_name("dlq"), settings={"batch_size": 7, "max_retries": 9}
    ).result
    path = f"/queues/{queue}/consumers/{consumer['consumer_id']}"

    replaced = server.v4("PUT", path, {**WORKER, "settings": {"retry_delay": 4}}).result

    assert replaced["consumer_id"] == consumer["consumer_id"]
    assert replaced["created_on"] == consumer["created_on"]
    assert replaced["dead_letter_queue"] == ""
    assert replaced["settings"] == WORKER_DEFAULTS | {"retry_delay": 4}
    assert consumer_of(server, queue) == replaced


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_consumer_is_404_11005(server, queue, pulled, method):
    body = PULL if method == "PUT" else None
    for place in (queue, pulled):
        for unknown in ("0" * 32, "unknown", "%00"):
            assert_failure(server.v4(method, f"/queues/{place}/consumers/{unknown}", body), 404, 11005)


def test_a_consumer_is_not_found_through_another_queue(server, queue, pulled):
    consumer = consumer_of(server, pulled)["consumer_id"]

    assert_failure(server.v4("GET", f"/queues/{queue}/consumers/{consumer}"), 404, 11005)


def test_removing_a_consumer_keeps_messages_and_leases(server, pulled):
    push(server, pulled, "one")
    push(server, pulled, "two")
    lease = pull(server, pulled, 1)[0]["lease_id"]

    removed = server.v4("DELETE", f"/queues/{pulled}/consumers/{consumer_of(server, pulled)['consumer_id']}")

    assert removed.json == {"success": True, "errors": [], "messages": [], "result": None}
    assert server.v4("GET", f"/queues/{pulled}/metrics").result["backlog_count"] == 2
    assert settle(server, pulled, [lease]) == {"ackCount": 1, "retryCount": 0, "warnings": {}}


def test_the_type_changes_by_deleting_first(server, pulled):
    server.v4("DELETE", f"/queues/{pulled}/consumers/{consumer_of(server, pulled)['consumer_id']}")

    assert attach(server, pulled, **WORKER).result["type"] == "worker"
