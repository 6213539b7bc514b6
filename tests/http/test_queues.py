import re

import pytest

from tests.http.wire import a_name, assert_failure, backlog, peek, push, queue_named

DEFAULTS = {"delivery_delay": 0, "delivery_paused": False, "message_retention_period": 345600}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
BAD_SETTINGS = [
    {"delivery_delay": -1},
    {"delivery_delay": 86401},
    {"delivery_delay": "5"},
    {"delivery_delay": 1.5},
    {"delivery_delay": True},
    {"delivery_delay": None},
    {"delivery_paused": 1},
    {"delivery_paused": "true"},
    {"message_retention_period": 59},
    {"message_retention_period": 1209601},
    {"message_retention_period": "4d"},
    [],
    7,
]


def create(server, name, **more):
    return server.v4("POST", "/queues", {"queue_name": name, **more})


def test_a_new_queue_is_shown_with_all_the_keys_that_clients_read(server):
    name = a_name()

    shown = create(server, name).result

    assert set(shown) == {
        "queue_id",
        "queue_name",
        "created_on",
        "modified_on",
        "producers",
        "producers_total_count",
        "consumers",
        "consumers_total_count",
        "settings",
    }
    assert re.fullmatch("[0-9a-f]{32}", shown["queue_id"])
    assert TIME.fullmatch(shown["created_on"])
    assert TIME.fullmatch(shown["modified_on"])
    assert (shown["queue_name"], shown["producers"], shown["consumers"]) == (name, [], [])
    assert (shown["producers_total_count"], shown["consumers_total_count"]) == (0, 0)
    assert shown["settings"] == DEFAULTS
    assert server.v4("GET", f"/queues/{shown['queue_id']}").result == shown


def test_the_success_envelope_has_four_keys(server):
    reply = create(server, a_name())

    assert list(reply.json) == ["success", "errors", "messages", "result"]
    assert (reply.json["success"], reply.json["errors"], reply.json["messages"]) == (True, [], [])


@pytest.mark.parametrize("name", ["a", "7", "a" * 63, "0-a", "a--b", "9" * 63])
def test_names_of_1_to_63_letters_digits_and_inner_hyphens_are_accepted(server, name):
    queue = create(server, name).result["queue_id"]

    assert server.v4("DELETE", f"/queues/{queue}").status == 200


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "-", "A", "aB", "a_b", "a.b", "a b", "a" * 64, "ä", "\u0661", "a\n", "a\x00b", "a/b", " a", "🎈"],
)
def test_other_names_are_refused_with_11003(server, queue, name):
    before = server.v4("GET", "/queues?per_page=1000").result

    assert_failure(create(server, name), 400, 11003)
    assert_failure(server.v4("PATCH", f"/queues/{queue}", {"queue_name": name}), 400, 11003)

    assert server.v4("GET", "/queues?per_page=1000").result == before


def test_a_taken_name_is_refused_with_11009_and_says_so(server):
    name = a_name()
    create(server, name)

    reply = create(server, name)

    assert_failure(reply, 409, 11009)
    assert reply.json["errors"][0]["message"] == (
        f"Queue name '{name}' is already taken. Please use a different name and try again."
    )


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_renaming_keeps_the_id_and_refuses_a_taken_name(server, queue, method):
    taken, free = a_name(), a_name()
    create(server, taken)

    assert_failure(server.v4(method, f"/queues/{queue}", {"queue_name": taken}), 409, 11009)
    renamed = server.v4(method, f"/queues/{queue}", {"queue_name": free}).result

    assert (renamed["queue_id"], renamed["queue_name"]) == (queue, free)
    assert queue_named(server, free)["queue_id"] == queue


def test_a_name_that_was_given_up_is_free_at_once(server, queue):
    old = server.v4("GET", f"/queues/{queue}").result["queue_name"]
    server.v4("PATCH", f"/queues/{queue}", {"queue_name": a_name()})

    again = create(server, old).result["queue_id"]

    assert again != queue
    assert server.v4("DELETE", f"/queues/{again}").json["result"] is None
    assert create(server, old).status == 200


@pytest.mark.parametrize(
    ("setting", "low", "high"), [("delivery_delay", 0, 86400), ("message_retention_period", 60, 1209600)]
)
def test_the_ends_of_the_ranges_of_settings_are_within(server, setting, low, high):
    for value in (low, high):
        assert create(server, a_name(), settings={setting: value}).result["settings"] == DEFAULTS | {setting: value}


@pytest.mark.parametrize("settings", BAD_SETTINGS)
def test_settings_out_of_range_are_refused_with_100128_and_change_nothing(server, queue, settings):
    name = a_name()
    server.v4("PATCH", f"/queues/{queue}", {"settings": {"delivery_delay": 7}})
    before = server.v4("GET", f"/queues/{queue}").result

    assert_failure(create(server, name, settings=settings), 400, 100128)
    for method in ("PUT", "PATCH"):
        mixed = {"message_retention_period": 61, **settings} if isinstance(settings, dict) else settings
        assert_failure(server.v4(method, f"/queues/{queue}", {"settings": mixed}), 400, 100128)

    assert queue_named(server, name) is None
    assert server.v4("GET", f"/queues/{queue}").result == before


@pytest.mark.parametrize("body", [{}, {"queue_name": None}, {"queue_name": 5}, [], "x", 5, None, {"settings": {}}])
def test_creating_without_a_name_is_refused_with_10026(server, body):
    assert_failure(server.v4("POST", "/queues", body if body is not None else b"null"), 400, 10026)


@pytest.mark.parametrize("jurisdiction", ["eu", "us", "fedramp"])
def test_a_jurisdiction_is_kept_and_no_change_alters_it(server, jurisdiction):
    queue = create(server, a_name(), jurisdiction=jurisdiction).result["queue_id"]

    server.v4("PUT", f"/queues/{queue}", {"jurisdiction": "us", "settings": {"delivery_delay": 1}})

    assert server.v4("GET", f"/queues/{queue}").result["jurisdiction"] == jurisdiction


def test_put_returns_unnamed_settings_to_their_defaults_but_leaves_name_and_pause(server):
    name = a_name()
    settings = {"delivery_delay": 5, "message_retention_period": 600, "delivery_paused": True}
    queue = create(server, name, settings=settings).result["queue_id"]

    put = server.v4("PUT", f"/queues/{queue}", {"settings": {"message_retention_period": 700}}).result

    assert put["queue_name"] == name
    assert put["settings"] == {"delivery_delay": 0, "delivery_paused": True, "message_retention_period": 700}
    assert server.v4("PUT", f"/queues/{queue}", {}).result["settings"] == DEFAULTS | {"delivery_paused": True}
    resumed = server.v4("PUT", f"/queues/{queue}", {"settings": {"delivery_paused": False}}).result
    assert resumed["settings"] == DEFAULTS


def test_patch_merges_setting_by_setting(server):
    name = a_name()
    queue = create(server, name, settings={"delivery_delay": 5, "message_retention_period": 600}).result["queue_id"]

    paused = server.v4("PATCH", f"/queues/{queue}", {"queue_name": name, "settings": {"delivery_paused": True}}).result

    assert paused["settings"] == {"delivery_delay": 5, "delivery_paused": True, "message_retention_period": 600}
    assert server.v4("PATCH", f"/queues/{queue}", {}).result["settings"] == paused["settings"]


def test_put_and_patch_keep_the_consumer(server, pulled):
    before = server.v4("GET", f"/queues/{pulled}").result["consumers"]

    for method in ("PUT", "PATCH"):
        assert server.v4(method, f"/queues/{pulled}", {"queue_name": a_name()}).status == 200

    after = server.v4("GET", f"/queues/{pulled}").result["consumers"]
    assert [consumer["consumer_id"] for consumer in after] == [consumer["consumer_id"] for consumer in before]


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/metrics"),
        ("GET", "/consumers"),
        ("GET", "/consumers/x"),
        ("DELETE", "/consumers/x"),
        ("GET", "/purge"),
        ("POST", "/redrive"),
        ("POST", "/messages/pull"),
        ("POST", "/messages/peek"),
        ("POST", "/messages/ack"),
    ],
)
def test_an_unknown_queue_is_404_11000_on_every_route(server, method, rest):
    body = {} if method in ("PUT", "PATCH", "POST") else None
    for unknown in ("0" * 32, "unknown", "%00", "a" * 300):
        assert_failure(server.v4(method, f"/queues/{unknown}{rest}", body), 404, 11000)


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        ("/messages", {"body": 1}),
        ("/messages/batch", {"messages": [{"body": 1}]}),
        ("/messages/purge", {"refs": []}),
        ("/purge", {"delete_messages_permanently": True}),
        ("/consumers", {"type": "http_pull"}),
    ],
)
def test_an_unknown_queue_is_404_11000_for_well_formed_bodies(server, rest, body):
    assert_failure(server.v4("POST", f"/queues/{'0' * 32}{rest}", body), 404, 11000)


def test_a_queue_is_found_by_its_id_and_not_by_its_name(server, queue):
    name = server.v4("GET", f"/queues/{queue}").result["queue_name"]

    assert_failure(server.v4("GET", f"/queues/{name}"), 404, 11000)


def test_deleting_takes_messages_and_consumer_along(server, pulled):
    name = server.v4("GET", f"/queues/{pulled}").result["queue_name"]
    push(server, pulled)

    assert server.v4("DELETE", f"/queues/{pulled}").status == 200

    assert_failure(server.v4("DELETE", f"/queues/{pulled}"), 404, 11000)
    again = create(server, name).result
    assert (again["consumers"], backlog(server, again["queue_id"])["backlog_count"]) == ([], 0)
    assert peek(server, again["queue_id"]) == []


def test_the_name_filter_is_exact_and_several_names_are_or_ed(server):
    stem = a_name("filter")
    names = [stem, f"{stem}-b", f"x-{stem}"]
    for name in names:
        create(server, name)

    def found(*wanted):
        query = "&".join(f"name={name}" for name in wanted)
        return [queue["queue_name"] for queue in server.v4("GET", f"/queues?page=1&{query}").result]

    assert found(stem) == [stem]
    assert found(names[2], stem) == [stem, names[2]]
    assert found(stem, stem) == [stem]
    assert found(stem[:-1]) == []
    assert found(stem.upper()) == []
    assert found("") == []
    assert found("%25", "%00", "%ff", "a" * 3000) == []


def test_the_list_is_in_order_of_creation_and_paged(server):
    names = [a_name(word) for word in ("z", "a", "m")]
    for name in names:
        create(server, name)
    everything = server.v4("GET", "/queues?per_page=1000")
    total = len(everything.result)

    assert [queue["queue_name"] for queue in everything.result][-3:] == names
    info = {"page": 1, "per_page": 1000, "count": total, "total_count": total, "total_pages": 1}
    assert everything.json["result_info"] == info
    page = server.v4("GET", f"/queues?page={total}&per_page=1").json
    assert [queue["queue_name"] for queue in page["result"]] == names[2:]
    info = {"page": total, "per_page": 1, "count": 1, "total_count": total, "total_pages": total}
    assert page["result_info"] == info
    past = server.v4("GET", f"/queues?page={total + 5}&per_page=1").json
    assert (past["result"], past["result_info"]["count"], past["result_info"]["total_count"]) == ([], 0, total)


def test_a_page_has_100_queues_unless_told(server):
    assert server.v4("GET", "/queues").json["result_info"]["per_page"] == 100


@pytest.mark.parametrize("query", ["per_page=0", "per_page=1001", "page=0", "page=-1", "page=x", "page=1.5", "page="])
def test_a_page_number_out_of_range_is_refused_with_10026(server, query):
    assert_failure(server.v4("GET", f"/queues?{query}"), 400, 10026)
