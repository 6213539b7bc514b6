"""What queues and consumers have beyond Cloudflare's: doubles, forwards, redrive by itself, rates, head starts."""

import pytest

from tests.http.wire import PULL, a_name, assert_failure, backlog, peek, pull, push, queue_named, settle, text_of

FEATURES = {
    "deduplication_seconds": 60,
    "deduplicate_content": True,
    "forwards": [{"queue": "copies"}, {"queue": "urgent-copies", "headers": {"Kind": "urgent"}}],
    "forward_only": True,
    "auto_redrive": {"after_seconds": 3600, "max_times": 2},
}
WORKER = {"type": "worker", "script_name": "w"}


def change(server, queue, method="PATCH", **settings):
    return server.v4(method, f"/queues/{queue}", {"settings": settings})


def test_settings_of_ours_are_shown_as_they_were_set_and_not_before(server):
    name = a_name()
    plain = server.v4("POST", "/queues", {"queue_name": name}).result

    changed = change(server, plain["queue_id"], **FEATURES).result

    assert plain["settings"].keys() == {"delivery_delay", "delivery_paused", "message_retention_period"}
    assert changed["settings"] == plain["settings"] | FEATURES
    assert queue_named(server, name)["settings"] == changed["settings"]


def test_a_queue_is_created_with_them(server):
    created = server.v4("POST", "/queues", {"queue_name": a_name(), "settings": FEATURES}).result

    assert created["settings"].items() >= FEATURES.items()


def test_put_and_patch_leave_what_they_do_not_name(server, queue):
    change(server, queue, **FEATURES)

    patched = change(server, queue, delivery_delay=5).result
    replaced = change(server, queue, "PUT", delivery_delay=5).result

    assert patched["settings"].items() >= FEATURES.items()
    assert replaced["settings"].items() >= FEATURES.items()


def test_they_are_taken_back(server, queue):
    change(server, queue, **FEATURES)
    nothing = {"deduplication_seconds": 300, "deduplicate_content": False, "forwards": [], "forward_only": False}

    changed = change(server, queue, **nothing, auto_redrive=None).result

    assert not FEATURES.keys() & changed["settings"].keys()


@pytest.mark.parametrize(
    "settings",
    [
        {"deduplication_seconds": 0},
        {"deduplication_seconds": 86_401},
        {"deduplication_seconds": "60"},
        {"deduplicate_content": 1},
        {"forwards": "copies"},
        {"forwards": [{}]},
        {"forwards": [{"queue": "copies", "headers": {"a b": "c"}}]},
        {"forwards": [{"queue": "copies", "headers": {"a": 1}}]},
        {"forwards": [{"queue": f"copies-{n}"} for n in range(21)]},
        {"forward_only": "yes"},
        {"auto_redrive": {}},
        {"auto_redrive": {"after_seconds": -1}},
        {"auto_redrive": {"after_seconds": 1, "max_times": 0}},
        {"auto_redrive": {"after_seconds": 1, "max_times": 101}},
    ],
)
def test_a_setting_out_of_range_is_refused_and_changes_nothing(server, queue, settings):
    before = server.v4("GET", f"/queues/{queue}").result

    assert_failure(change(server, queue, **settings), 400, 100128)
    assert server.v4("GET", f"/queues/{queue}").result == before


def test_a_queue_forwards_to_others_only(server):
    name = a_name()
    queue = server.create_queue(name)

    assert_failure(change(server, queue, forwards=[{"queue": name}]), 400, 100128)
    assert_failure(change(server, queue, forwards=[{"queue": "Not A Name"}]), 400, 11003)


def test_copies_go_where_their_headers_lead(server):
    copies, urgent = a_name("copies"), a_name("urgent")
    queue = server.create_queue(a_name())
    change(server, queue, forwards=[{"queue": copies}, {"queue": urgent, "headers": {"Kind": "urgent"}}])

    push(server, queue, 1)
    push(server, queue, 2, headers={"Kind": "urgent"})

    def bodies(name):
        return [text_of(message) for message in peek(server, queue_named(server, name)["queue_id"])]

    assert [text_of(message) for message in peek(server, queue)] == ["1", "2"]
    assert bodies(copies) == ["1", "2"]
    assert bodies(urgent) == ["2"]


def test_a_key_to_some_queues_forwards_to_these_only(server):
    name, other = a_name(), a_name()
    queue = server.create_queue(name)
    key = server.call("POST", "/api/keys", {"role": "operator", "queues": [name, "allowed"]}).json["secret"]

    def forward(to):
        return server.v4("PATCH", f"/queues/{queue}", {"settings": {"forwards": [{"queue": to}]}}, key=key)

    assert_failure(forward(other), 403, 10000)
    assert forward("allowed").status == 200


def test_equal_content_is_stored_once_where_the_queue_says_so(server, queue):
    change(server, queue, deduplicate_content=True)

    for body in ({"a": 1}, {"a": 1}, {"a": 2}):
        push(server, queue, body)

    assert backlog(server, queue)["backlog_count"] == 2


@pytest.mark.parametrize("kind", [WORKER, PULL])
def test_a_rate_and_a_head_start_are_shown_when_they_are_set(server, queue, kind):
    settings = {"rate_limit": {"messages": 100, "per_seconds": 60}, "head_start_seconds": 30}

    attached = server.v4("POST", f"/queues/{queue}/consumers", {**kind, "settings": settings}).result
    path = f"/queues/{queue}/consumers/{attached['consumer_id']}"
    replaced = server.v4("PUT", path, kind).result

    assert attached["settings"].items() >= settings.items()
    assert not settings.keys() & replaced["settings"].keys()


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limit": {}},
        {"rate_limit": 5},
        {"rate_limit": {"messages": 0}},
        {"rate_limit": {"messages": 1.5}},
        {"rate_limit": {"messages": 1_000_001}},
        {"rate_limit": {"messages": 1, "per_seconds": 0}},
        {"rate_limit": {"messages": 1, "per_seconds": 86_401}},
        {"head_start_seconds": -1},
        {"head_start_seconds": 86_401},
        {"head_start_seconds": "long"},
    ],
)
def test_a_consumers_setting_out_of_range_is_refused(server, queue, settings):
    assert_failure(server.v4("POST", f"/queues/{queue}/consumers", {**PULL, "settings": settings}), 400, 100127)
    assert server.v4("GET", f"/queues/{queue}/consumers").result == []


def test_a_pull_takes_no_more_than_the_rate_allows(server):
    settings = {"rate_limit": {"messages": 2, "per_seconds": 3600}}
    queue = server.create_queue(a_name(), consumer={**PULL, "settings": settings})
    for number in range(3):
        push(server, queue, number)

    assert len(pull(server, queue)) == 2
    assert pull(server, queue) == []


@pytest.fixture
def dead(server):
    """A dead-letter queue with messages of two queues and reasons; its id and the queues' names."""
    dlq, one, two = a_name("dlq"), a_name(), a_name()
    for name in (one, two):
        consumer = {**PULL, "dead_letter_queue": dlq, "settings": {"max_retries": 0}}
        queue = server.create_queue(name, consumer=consumer)
        for body in ("no stock", "no card"):
            push(server, queue, body)
        rejects = [
            {"lease_id": message["lease_id"], "reason": text_of(message).strip('"')} for message in pull(server, queue)
        ]
        server.v4("POST", f"/queues/{queue}/messages/ack", {"rejects": rejects})
    return queue_named(server, dlq)["queue_id"], one, two


def redrive(server, dead, body=None):
    return server.v4("POST", f"/queues/{dead[0]}/redrive", body)


def test_dead_letters_of_one_reason_and_origin_go_back(server, dead):
    _, one, two = dead

    assert redrive(server, dead, {"reason": "stock", "origin": one}).result == {"redriven": 1}
    assert [text_of(message) for message in peek(server, queue_named(server, one)["queue_id"])] == ['"no stock"']
    assert peek(server, queue_named(server, two)["queue_id"]) == []


def test_dead_letters_go_back_by_id_time_and_number(server, dead):
    first = peek(server, dead[0])[0]["id"]

    assert redrive(server, dead, {"sent_before": "2020-01-01T00:00:00Z"}).result == {"redriven": 0}
    assert redrive(server, dead, {"ids": [first]}).result == {"redriven": 1}
    assert redrive(server, dead, {"sent_after": "2020-01-01T00:00:00Z", "limit": 2}).result == {"redriven": 2}
    assert redrive(server, dead).result == {"redriven": 1}


def test_dead_letters_go_back_one_after_the_other(server, dead):
    _, one, _ = dead

    redrive(server, dead, {"origin": one, "per_second": 0.01})

    queue = queue_named(server, one)["queue_id"]
    [message] = pull(server, queue)
    settle(server, queue, [message["lease_id"]])
    assert pull(server, queue) == []
    assert backlog(server, queue)["backlog_count"] == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"reason": ""}, 10026),
        ({"reason": 1}, 10026),
        ({"origin": "Not A Name"}, 11003),
        ({"ids": []}, 10026),
        ({"ids": "a"}, 10026),
        ({"limit": 0}, 10026),
        ({"per_second": 0}, 10026),
        ({"per_second": -1}, 10026),
        ({"sent_after": "yesterday"}, 10026),
        ({"sent_before": "2026-01-01T00:00:00"}, 10026),
    ],
)
def test_a_redrive_that_is_not_understood_moves_nothing(server, dead, body, code):
    assert_failure(redrive(server, dead, body), 400, code)
    assert backlog(server, dead[0])["backlog_count"] == 4
