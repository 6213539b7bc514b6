import re

import pytest

from tests.http.wire import ISO_MS, a_name, assert_failure

E = "/event_subscriptions/subscriptions"


def given(queue, **more):
    return {
        "name": "n",
        "enabled": True,
        "source": {"type": "kv"},
        "destination": {"type": "queues.queue", "queue_id": queue},
        "events": ["namespace.created"],
        **more,
    }


def create(server, queue, **more):
    return server.v4("POST", E, given(queue, **more)).result


def test_a_subscription_is_stored_and_given_back(server, queue):
    source = {"type": "workersAi.model", "model_name": "m", "more": [1, 2.5, None]}

    made = create(server, queue, source=source, events=["any", "event"], enabled=False)

    assert set(made) == {"id", "created_at", "modified_at", "name", "enabled", "source", "destination", "events"}
    assert (made["source"], made["events"], made["enabled"]) == (source, ["any", "event"], False)
    assert made["destination"] == {"type": "queues.queue", "queue_id": queue}
    assert re.fullmatch(ISO_MS, made["created_at"])
    assert server.v4("GET", f"{E}/{made['id']}").result == made


def test_a_change_touches_only_what_it_names(server, queue):
    made = create(server, queue)

    changed = server.v4("PATCH", f"{E}/{made['id']}", {"enabled": False, "events": []}).result

    assert changed == made | {"enabled": False, "events": [], "modified_at": changed["modified_at"]}
    assert server.v4("GET", f"{E}/{made['id']}").result == changed


def test_a_deleted_subscription_is_shown_a_last_time(server, queue):
    made = create(server, queue)

    assert server.v4("DELETE", f"{E}/{made['id']}").result == made
    assert server.v4("DELETE", f"{E}/{made['id']}").status == 404
    assert server.v4("GET", f"{E}/{made['id']}").status == 404


def test_an_unknown_destination_is_404_11000(server, queue):
    made = create(server, queue)
    nowhere = {"type": "queues.queue", "queue_id": "0" * 32}

    assert_failure(server.v4("POST", E, given("0" * 32)), 404, 11000)
    assert_failure(server.v4("PATCH", f"{E}/{made['id']}", {"destination": nowhere}), 404, 11000)

    assert server.v4("GET", f"{E}/{made['id']}").result == made


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_subscription_is_404(server, method):
    for unknown in ("0" * 32, "unknown", "%00"):
        reply = server.v4(method, f"{E}/{unknown}", {} if method == "PATCH" else None)
        assert (reply.status, isinstance(reply.code, int)) == (404, True)


@pytest.mark.parametrize("missing", ["name", "source", "destination", "events"])
def test_a_subscription_without_a_part_is_refused(server, queue, missing):
    body = given(queue)
    del body[missing]

    assert_failure(server.v4("POST", E, body), 400, 10026)


def test_the_list_is_filtered_by_queue_and_empty_past_the_end(server, queue):
    other = server.create_queue(a_name())
    mine = [create(server, queue, name=name) for name in "bca"]
    create(server, other)

    first = server.v4("GET", f"{E}?queue_id={queue}&page=1&per_page=2").json
    second = server.v4("GET", f"{E}?queue_id={queue}&page=2&per_page=2").json
    third = server.v4("GET", f"{E}?queue_id={queue}&page=3&per_page=2").json

    assert first["result"] + second["result"] == mine
    assert first["result_info"] == {"page": 1, "per_page": 2, "count": 2, "total_count": 3, "total_pages": 2}
    assert (third["result"], third["result_info"]["count"]) == ([], 0)
    assert server.v4("GET", E).json["result_info"]["per_page"] == 20


def test_the_list_is_ordered_as_asked(server, queue):
    for name, enabled in (("b", True), ("c", False), ("a", True)):
        create(server, queue, name=name, enabled=enabled)

    def names(query):
        return "".join(each["name"] for each in server.v4("GET", f"{E}?queue_id={queue}&{query}").result)

    assert names("order=created_at") == "bca"
    assert names("order=created_at&direction=desc") == "acb"
    assert names("order=name") == "abc"
    assert names("order=name&direction=desc") == "cba"
    assert names("order=enabled")[0] == "c"
    assert len(names("order=source")) == 3


@pytest.mark.parametrize("query", ["order=colour", "direction=up", "per_page=0", "page=0", "per_page=x"])
def test_a_listing_that_cannot_be_is_refused(server, query):
    assert_failure(server.v4("GET", f"{E}?{query}"), 400, 10026)


def test_subscriptions_survive_a_restart(stopped):
    with stopped.start() as server:
        made = create(server, server.create_queue("q"))
        server.kill()
        server.start()

        assert server.v4("GET", f"{E}/{made['id']}").result == made
