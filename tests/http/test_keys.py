import pytest

from millrace.access.scopes import Role
from tests.http.wire import PULL, a_name, assert_failure, assert_refusal, make_key, peek, pull, push, queue_named
from tests.support import Server

OTHER = "other"
SUBSCRIPTIONS = "/event_subscriptions/subscriptions"


@pytest.fixture(scope="module")
def other_key_and_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    key = make_key(folder, OTHER)
    with Server(folder) as running:
        yield key, running


@pytest.fixture(scope="module")
def server(other_key_and_server):
    return other_key_and_server[1]


@pytest.fixture(scope="module")
def other_key(other_key_and_server):
    return other_key_and_server[0]


def make(server, role="admin", **more):
    reply = server.call("POST", "/api/keys", {"role": role, **more})
    assert reply.status == 201, reply.body
    return reply.json


def secret_of(server, role="admin", **more):
    return make(server, role, **more)["secret"]


def test_a_new_key_shows_its_secret_once_and_its_prefix_tells_live_from_test(server):
    live, test = make(server, "producer"), make(server, "producer", test=True)

    assert live["secret"].startswith("sk_live_")
    assert test["secret"].startswith("sk_test_")
    listed = server.call("GET", "/api/keys")
    shown = {key["id"]: key for key in listed.json["keys"]}
    assert shown[live["id"]] == {name: value for name, value in live.items() if name != "secret"}
    assert live["secret"] not in listed.body.decode()
    assert (shown[live["id"]]["test"], shown[test["id"]]["test"]) == (False, True)


def test_ones_own_secret_is_a_key_until_it_is_revoked(server):
    key = make(server, "producer", secret="sk_test_abc123xyz789")
    assert key["test"] is True
    assert server.v4("GET", "/queues", key="sk_test_abc123xyz789").status == 200

    assert server.call("DELETE", f"/api/keys/{key['id']}").json == {"revoked": key["id"]}

    assert_failure(server.v4("GET", "/queues", key="sk_test_abc123xyz789"), 401, 10000)
    assert_refusal(server.call("DELETE", f"/api/keys/{key['id']}"), 404, "NOT_FOUND")


def test_a_secret_belongs_to_one_key(server):
    make(server, "producer", secret="mine-and-mine-alone")

    assert_refusal(server.call("POST", "/api/keys", {"secret": "mine-and-mine-alone"}), 409, "CONFLICT")


@pytest.mark.parametrize(
    "body",
    [
        {"role": "king"},
        {"role": None},
        {"queues": "q"},
        {"queues": ["Bad"]},
        {"queues": [5]},
        {"secret": ""},
        {"secret": " x"},
        {"secret": "a\nb"},
        {"secret": "a\x00b"},
        {"secret": 5},
        {"test": "yes"},
        [],
        "x",
    ],
)
def test_a_key_that_cannot_be_is_refused(server, body):
    before = server.call("GET", "/api/keys").json

    assert_refusal(server.call("POST", "/api/keys", body), 400, "VALIDATION_ERROR")

    assert server.call("GET", "/api/keys").json == before


def test_a_limit_to_no_queue_at_all_is_not_a_key_to_all_queues(server):
    reply = server.call("POST", "/api/keys", {"role": "producer", "queues": []})

    assert reply.status == 400 or reply.json["queues"] == []


ROUTES = [
    # method, path below the account, body, who may: a(dmin) o(perator) p(roducer) c(onsumer)
    ("GET", "/queues", None, "aopc"),
    ("GET", "/queues/{q}", None, "aopc"),
    ("GET", "/queues/{q}/consumers", None, "aopc"),
    ("GET", "/queues/{q}/metrics", None, "aopc"),
    ("GET", "/queues/{q}/purge", None, "aopc"),
    ("GET", SUBSCRIPTIONS, None, "aopc"),
    ("POST", "/queues", {}, "ao"),
    ("PUT", "/queues/{q}", {}, "ao"),
    ("PATCH", "/queues/{q}", {}, "ao"),
    ("DELETE", "/queues/none", None, "ao"),
    ("POST", "/queues/{q}/consumers", {}, "ao"),
    ("PUT", "/queues/{q}/consumers/none", PULL, "ao"),
    ("DELETE", "/queues/{q}/consumers/none", None, "ao"),
    ("POST", "/queues/{q}/redrive", None, "ao"),
    ("POST", "/queues/{q}/purge", {}, "ao"),
    ("POST", "/queues/{q}/messages/purge", {"refs": []}, "ao"),
    ("POST", "/queues/{q}/messages/cancel", {"refs": []}, "ao"),
    ("POST", "/queues/{q}/messages/reschedule", {"ref": "none", "send_at": 1}, "aop"),
    ("POST", SUBSCRIPTIONS, {}, "ao"),
    ("PATCH", f"{SUBSCRIPTIONS}/none", {}, "ao"),
    ("DELETE", f"{SUBSCRIPTIONS}/none", None, "ao"),
    ("POST", "/queues/{q}/messages", {"body": 1}, "aop"),
    ("POST", "/queues/{q}/messages/batch", {"messages": [{"body": 1}]}, "aop"),
    ("POST", "/queues/{q}/messages/pull", {}, "aoc"),
    ("POST", "/queues/{q}/messages/ack", {}, "aoc"),
    ("POST", "/queues/{q}/messages/extend", {"lease_ids": [], "visibility_timeout_ms": 1}, "aoc"),
    ("POST", "/queues/{q}/messages/peek", {}, "aoc"),
]
ROLES = {"a": "admin", "o": "operator", "p": "producer", "c": "consumer"}


@pytest.fixture(scope="module")
def secrets(server):
    return {letter: secret_of(server, role) for letter, role in ROLES.items()}


@pytest.fixture(scope="module")
def matrix_queue(server):
    return server.create_queue("matrix", consumer=PULL)


@pytest.mark.parametrize(("method", "path", "body", "who"), ROUTES)
def test_each_role_reaches_its_own_routes_and_no_other(server, secrets, matrix_queue, method, path, body, who):
    for letter, secret in secrets.items():
        reply = server.v4(method, path.format(q=matrix_queue), body, key=secret)
        if letter in who:
            assert reply.status not in (401, 403), (ROLES[letter], reply.body)
        else:
            assert_failure(reply, 403, 10000)


@pytest.mark.parametrize(("method", "path", "body"), [("GET", "", None), ("POST", "", {}), ("DELETE", "/none", None)])
def test_only_an_admin_manages_keys(server, secrets, method, path, body):
    for letter in "opc":
        assert_refusal(server.call(method, f"/api/keys{path}", body, key=secrets[letter]), 403, "FORBIDDEN")
    assert server.call(method, f"/api/keys{path}", body, key=secrets["a"]).status in (200, 201, 404)


def test_a_refused_role_changes_nothing(server, secrets, matrix_queue):
    before = server.v4("GET", f"/queues/{matrix_queue}").result

    for letter in "pc":
        body = {"settings": {"delivery_paused": True}}
        assert_failure(server.v4("PATCH", f"/queues/{matrix_queue}", body, key=secrets[letter]), 403, 10000)

    assert server.v4("GET", f"/queues/{matrix_queue}").result == before


@pytest.fixture(scope="module")
def limited(server):
    """A key to one queue, that queue, and another one with a message in it."""
    mine, foreign = server.create_queue("mine", consumer=PULL), server.create_queue("foreign", consumer=PULL)
    push(server, foreign)
    return secret_of(server, "operator", queues=["mine"]), mine, foreign


def test_a_key_limited_to_a_queue_works_there_and_sees_no_other(server, limited):
    key, mine, _ = limited

    assert push(server, mine).status == 200
    assert server.v4("POST", f"/queues/{mine}/messages/pull", {}, key=key).status == 200
    assert [queue["queue_name"] for queue in server.v4("GET", "/queues", key=key).result] == ["mine"]
    assert server.v4("GET", "/queues?name=foreign", key=key).result == []
    assert 'queue="foreign"' not in server.call("GET", "/metrics", key=key).body.decode()


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"settings": {"delivery_delay": 9}}),
        ("DELETE", "", None),
        ("GET", "/metrics", None),
        ("POST", "/purge", {"delete_messages_permanently": True}),
        ("POST", "/redrive", None),
        ("GET", "/consumers", None),
        ("POST", "/messages", {"body": 1}),
        ("POST", "/messages/batch", {"messages": [{"body": 1}]}),
        ("POST", "/messages/pull", {}),
        ("POST", "/messages/peek", {}),
        ("POST", "/messages/ack", {}),
        ("POST", "/messages/purge", {"refs": []}),
        ("POST", "/messages/cancel", {"refs": []}),
        ("POST", "/messages/reschedule", {"ref": "none", "send_at": 1}),
    ],
)
def test_a_key_limited_to_a_queue_is_forbidden_in_others(server, limited, method, rest, body):
    key, _, foreign = limited

    assert_failure(server.v4(method, f"/queues/{foreign}{rest}", body, key=key), 403, 10000)

    assert len(peek(server, foreign)) == 1


def test_a_limited_key_makes_and_renames_only_queues_that_it_may_reach(server, limited):
    key, mine, _ = limited

    assert_failure(server.v4("POST", "/queues", {"queue_name": a_name()}, key=key), 403, 10000)
    assert_failure(server.v4("PATCH", f"/queues/{mine}", {"queue_name": a_name()}, key=key), 403, 10000)


def test_a_limited_key_does_not_send_dead_letters_into_queues_beyond_its_limit(server, limited):
    key, mine, _ = limited
    consumer = server.v4("GET", f"/queues/{mine}/consumers").result[0]["consumer_id"]

    for name in ("foreign", a_name("made-by-limited")):
        body = PULL | {"dead_letter_queue": name}
        reply = server.v4("PUT", f"/queues/{mine}/consumers/{consumer}", body, key=key)
        server.v4("PUT", f"/queues/{mine}/consumers/{consumer}", PULL)
        assert_failure(reply, 403, 10000)


def test_a_limited_key_sees_and_changes_no_subscription_of_other_queues(server, limited):
    key, _, foreign = limited
    destination = {"type": "queues.queue", "queue_id": foreign}
    body = {"name": "n", "source": {"type": "kv"}, "events": [], "destination": destination}
    made = server.v4("POST", SUBSCRIPTIONS, body).result["id"]

    assert_failure(server.v4("POST", SUBSCRIPTIONS, body, key=key), 403, 10000)
    assert server.v4("GET", SUBSCRIPTIONS, key=key).result == []
    for method, given in (("GET", None), ("PATCH", {"enabled": False}), ("DELETE", None)):
        assert server.v4(method, f"{SUBSCRIPTIONS}/{made}", given, key=key).status in (403, 404)
    assert server.v4("GET", f"{SUBSCRIPTIONS}/{made}").result["enabled"] is True


def test_a_limited_admin_key_makes_no_key_that_reaches_further_than_itself(server, limited):
    key = secret_of(server, "admin", queues=["mine"])

    for queues in (None, ["foreign"], ["mine", "foreign"]):
        reply = server.call("POST", "/api/keys", {"role": "admin", "queues": queues}, key=key)
        assert_refusal(reply, 403, "FORBIDDEN")


def test_accounts_do_not_see_each_other(server, other_key):
    name = a_name()
    mine = server.create_queue(name, consumer=PULL)
    theirs = server.v4("POST", "/queues", {"queue_name": name}, account=OTHER, key=other_key).result["queue_id"]
    push(server, mine)

    def names(**more):
        return {queue["queue_id"] for queue in server.v4("GET", "/queues?per_page=1000", **more).result}

    assert theirs not in names()
    assert mine not in names(account=OTHER, key=other_key)
    assert queue_named(server, name)["queue_id"] == mine
    assert queue_named(server, name, account=OTHER, key=other_key)["queue_id"] == theirs
    assert server.call("GET", "/client/v4/accounts", key=other_key).result == [{"id": OTHER, "name": OTHER}]


@pytest.mark.parametrize("warm", [False, True])
def test_a_queue_of_another_account_does_not_exist(server, other_key, warm):
    queue = server.create_queue(a_name(), consumer=PULL)
    if warm:
        push(server, queue)

    for method, rest, body in [
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "", {}),
        ("POST", "/messages", {"body": 1}),
        ("POST", "/messages/pull", {}),
        ("POST", "/messages/peek", {}),
        ("POST", "/purge", {"delete_messages_permanently": True}),
    ]:
        reply = server.v4(method, f"/queues/{queue}{rest}", body, account=OTHER, key=other_key)
        assert_failure(reply, 404, 11000)
    assert server.v4("GET", f"/queues/{queue}").status == 200


def test_neither_leases_nor_refs_nor_keys_work_in_another_account(server, other_key):
    mine = server.create_queue(a_name(), consumer=PULL)
    theirs = server.v4("POST", "/queues", {"queue_name": a_name()}, account=OTHER, key=other_key).result["queue_id"]
    push(server, mine)
    ref, lease = peek(server, mine)[0]["ref"], pull(server, mine)[0]["lease_id"]
    key = make(server, "producer")

    acked = server.v4(
        "POST", f"/queues/{theirs}/messages/ack", {"acks": [{"lease_id": lease}]}, account=OTHER, key=other_key
    ).result
    purged = server.v4(
        "POST", f"/queues/{theirs}/messages/purge", {"refs": [{"ref": ref}]}, account=OTHER, key=other_key
    ).result

    assert (acked["ackCount"], list(acked["warnings"]), list(purged["warnings"])) == (0, [lease], [ref])
    assert_refusal(server.call("DELETE", f"/api/keys/{key['id']}", key=other_key), 404, "NOT_FOUND")
    assert key["id"] not in server.call("GET", "/api/keys", key=other_key).body.decode()
    assert_failure(server.v4("GET", f"/queues/{mine}", key=other_key), 403, 10000)


def test_a_key_of_one_account_makes_no_key_of_another(server, other_key):
    assert_refusal(server.call("POST", "/api/keys", {"account": "local"}, key=other_key), 403, "FORBIDDEN")
    assert server.call("POST", "/api/keys", {"account": OTHER}, key=other_key).json["account"] == OTHER


def test_metrics_show_only_ones_own_account(server, other_key):
    name = a_name("unseen")
    push(server, server.create_queue(name))

    assert f'queue="{name}"' in server.call("GET", "/metrics").body.decode()
    assert name not in server.call("GET", "/metrics", key=other_key).body.decode()


def test_keys_survive_a_restart_and_revoked_ones_stay_revoked(stopped):
    with stopped.start() as server:
        kept, revoked = make(server, Role.PRODUCER), make(server, Role.PRODUCER)
        server.call("DELETE", f"/api/keys/{revoked['id']}")
        server.kill()
        server.start()

        assert server.v4("GET", "/queues", key=kept["secret"]).status == 200
        assert server.v4("GET", "/queues", key=revoked["secret"]).status == 401


def test_a_key_of_a_tenant_reaches_only_paths_that_know_tenants(server):
    secret = secret_of(server, "agent", tenant="acme")
    queue = server.create_queue(a_name())

    assert server.call("GET", "/jobs/stats", key=secret).status == 200
    assert_failure(push_as(server, queue, secret), 403, 10000)
    assert server.v4("GET", "/queues", key=secret).status == 403
    assert server.call("GET", "/metrics", key=secret).status == 403


@pytest.mark.parametrize(
    ("role", "tenant"), [("admin", "acme"), ("consumer", "acme"), ("agent", ""), ("agent", "a\nb")]
)
def test_a_tenant_goes_with_agents_and_producers_only(server, role, tenant):
    assert server.call("POST", "/api/keys", {"role": role, "tenant": tenant}).status == 400


def push_as(server, queue, secret):
    return server.v4("POST", f"/queues/{queue}/messages", {"body": 1}, key=secret)
