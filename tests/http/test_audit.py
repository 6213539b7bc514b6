"""The audit trail over HTTP: each route that manages something leaves an entry; who may read it; the chain."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.http.wire import PULL, a_name, assert_refusal, eventually, make_key, peek, push
from tests.support import Reply, Server

PROGRAM = f"{Path(__file__).parent}/audited_program.py:app"
SUBSCRIPTIONS = "/event_subscriptions/subscriptions"
WEBHOOK = "https://example.com/hook?token=hunter2"
V4 = "/client/v4/accounts/{account_id}"
Q, S = f"{V4}/queues", f"{V4}{SUBSCRIPTIONS}"

# What is no management: sending, taking and settling messages, and what only reads.
NOT_AUDITED = {
    "POST /events",
    f"POST {Q}/{{queue_id}}/messages",
    f"POST {Q}/{{queue_id}}/messages/batch",
    f"POST {Q}/{{queue_id}}/messages/peek",
    f"POST {Q}/{{queue_id}}/messages/pull",
    f"POST {Q}/{{queue_id}}/messages/ack",
    f"POST {Q}/{{queue_id}}/messages/extend",
    "POST /api/sql",
    "POST /api/workflows/{name}/instances",  # the way of a message to a workflow
}
# The applications' own routes; their tests hold what those note.
APPLICATIONS = (
    "/jobs",
    "/uploads",
    "/runs",
    "/events/",
    "/api/jobs",
    "/api/uploads",
    "/api/runs",
    "/api/messages",
    "/api/enqueue-job",
    "/api/exports",
    "/api/archives",
    "/debug/",
    "/webhooks/",
)

Call = Callable[..., Reply]


class Act:
    """One call of a route; `call` and `v4` carry the correlation id by which its entry is found."""

    def __init__(self, server: Server) -> None:
        self.server, self.correlation_id = server, str(uuid.uuid4())
        self._headers = {"X-Correlation-ID": self.correlation_id}

    def call(self, method: str, path: str, body: Any = None) -> Reply:
        return self.server.call(method, path, body, headers=self._headers)

    def v4(self, method: str, path: str, body: Any = None) -> Reply:
        return self.server.v4(method, path, body, headers=self._headers)


def made(server: Server, **more: Any) -> str:
    return server.create_queue(a_name("audited"), **more)


def pull_queue(server: Server) -> tuple[str, str]:
    """Make a queue that is pulled from; give its id and its consumer's."""
    queue = made(server, consumer=PULL)
    return queue, server.v4("GET", f"/queues/{queue}/consumers").result[0]["consumer_id"]


def subscription(server: Server) -> str:
    return server.v4("POST", SUBSCRIPTIONS, subscription_body(server)).result["id"]


def subscription_body(server: Server) -> dict[str, Any]:
    destination = {"type": "queues.queue", "queue_id": made(server)}
    return {"name": "s", "source": {"type": "r2"}, "destination": destination, "events": ["bucket.created"]}


def scheduled(server: Server) -> tuple[str, str]:
    """Make a queue with a message for later; give its id and the message's ref."""
    queue = made(server)
    push(server, queue, delay_seconds=3600)
    return queue, peek(server, queue)[0]["ref"]


def buried(server: Server) -> str:
    """Make a dead-letter queue with a message in it; give its id."""
    name = a_name("dead")
    queue = made(server, consumer={**PULL, "dead_letter_queue": name, "settings": {"max_retries": 0}})
    push(server, queue)
    [message] = server.v4("POST", f"/queues/{queue}/messages/pull", {}).result["messages"]
    server.v4("POST", f"/queues/{queue}/messages/ack", {"retries": [{"lease_id": message["lease_id"]}]})
    return server.v4("GET", f"/queues?name={name}").result[0]["queue_id"]


def create_queue(act: Act) -> Reply:
    return act.v4("POST", "/queues", {"queue_name": a_name("audited")})


def replace_queue(act: Act) -> Reply:
    return act.v4("PUT", f"/queues/{made(act.server)}", {"settings": {"delivery_delay": 5}})


def change_queue(act: Act) -> Reply:
    return act.v4("PATCH", f"/queues/{made(act.server)}", {"settings": {"delivery_paused": True}})


def delete_queue(act: Act) -> Reply:
    return act.v4("DELETE", f"/queues/{made(act.server)}")


def purge_queue(act: Act) -> Reply:
    return act.v4("POST", f"/queues/{made(act.server)}/purge", {"delete_messages_permanently": True})


def redrive_queue(act: Act) -> Reply:
    return act.v4("POST", f"/queues/{buried(act.server)}/redrive")


def create_consumer(act: Act) -> Reply:
    return act.v4("POST", f"/queues/{made(act.server)}/consumers", PULL)


def replace_consumer(act: Act) -> Reply:
    queue, consumer = pull_queue(act.server)
    return act.v4("PUT", f"/queues/{queue}/consumers/{consumer}", {**PULL, "settings": {"batch_size": 7}})


def delete_consumer(act: Act) -> Reply:
    queue, consumer = pull_queue(act.server)
    return act.v4("DELETE", f"/queues/{queue}/consumers/{consumer}")


def purge_messages(act: Act) -> Reply:
    queue, ref = scheduled(act.server)
    return act.v4("POST", f"/queues/{queue}/messages/purge", {"refs": [{"ref": ref}]})


def cancel_messages(act: Act) -> Reply:
    queue, ref = scheduled(act.server)
    return act.v4("POST", f"/queues/{queue}/messages/cancel", {"refs": [ref]})


def reschedule_message(act: Act) -> Reply:
    queue, ref = scheduled(act.server)
    return act.v4("POST", f"/queues/{queue}/messages/reschedule", {"ref": ref, "send_at": "2099-01-01T00:00:00Z"})


def create_subscription(act: Act) -> Reply:
    return act.v4("POST", SUBSCRIPTIONS, subscription_body(act.server))


def change_subscription(act: Act) -> Reply:
    return act.v4("PATCH", f"{SUBSCRIPTIONS}/{subscription(act.server)}", {"enabled": False})


def delete_subscription(act: Act) -> Reply:
    return act.v4("DELETE", f"{SUBSCRIPTIONS}/{subscription(act.server)}")


def create_key(act: Act) -> Reply:
    return act.call("POST", "/api/keys", {"role": "producer"})


def revoke_key(act: Act) -> Reply:
    key = act.server.call("POST", "/api/keys", {"role": "producer"}).json["id"]
    return act.call("DELETE", f"/api/keys/{key}")


def put_secret(act: Act) -> Reply:
    return act.call("PUT", "/api/secrets/AUDITED", {"value": "hunter2"})


def delete_secret(act: Act) -> Reply:
    act.server.call("PUT", "/api/secrets/GONE", {"value": "hunter2"})
    return act.call("DELETE", "/api/secrets/GONE")


def run_cron(act: Act) -> Reply:
    return act.call("POST", "/api/crons/run", {"program": "tidy"})


def terminate(act: Act) -> Reply:
    path = "/api/workflows/wait/instances"
    return act.call("POST", f"{path}/{act.server.call('POST', path, {}).json['id']}/terminate")


def create_alert(act: Act) -> Reply:
    add_alert(Act(act.server))  # the first one makes the queue of notices, too
    return add_alert(act)


def add_alert(act: Act) -> Reply:
    rule = {"name": a_name(), "queue": "letters", "measure": "depth", "above": 5, "notify": [{"webhook": WEBHOOK}]}
    return act.call("POST", "/api/alerts", rule)


def replace_alert(act: Act) -> Reply:
    made = add_alert(Act(act.server)).json
    rule = {"name": made["name"], "queue": "letters", "measure": "depth", "above": 6, "notify": [{"webhook": WEBHOOK}]}
    return act.call("PUT", f"/api/alerts/{made['id']}", rule)


def delete_alert(act: Act) -> Reply:
    return act.call("DELETE", f"/api/alerts/{add_alert(Act(act.server)).json['id']}")


ACTS: dict[str, tuple[Callable[[Act], Reply], str]] = {
    f"POST {Q}": (create_queue, "queue.created"),
    f"PUT {Q}/{{queue_id}}": (replace_queue, "queue.changed"),
    f"PATCH {Q}/{{queue_id}}": (change_queue, "queue.paused"),
    f"DELETE {Q}/{{queue_id}}": (delete_queue, "queue.deleted"),
    f"POST {Q}/{{queue_id}}/purge": (purge_queue, "queue.purged"),
    f"POST {Q}/{{queue_id}}/redrive": (redrive_queue, "message.redriven"),
    f"POST {Q}/{{queue_id}}/consumers": (create_consumer, "consumer.attached"),
    f"PUT {Q}/{{queue_id}}/consumers/{{consumer_id}}": (replace_consumer, "consumer.changed"),
    f"DELETE {Q}/{{queue_id}}/consumers/{{consumer_id}}": (delete_consumer, "consumer.detached"),
    f"POST {Q}/{{queue_id}}/messages/purge": (purge_messages, "message.discarded"),
    f"POST {Q}/{{queue_id}}/messages/cancel": (cancel_messages, "message.cancelled"),
    f"POST {Q}/{{queue_id}}/messages/reschedule": (reschedule_message, "message.rescheduled"),
    f"POST {S}": (create_subscription, "subscription.created"),
    f"PATCH {S}/{{subscription_id}}": (change_subscription, "subscription.changed"),
    f"DELETE {S}/{{subscription_id}}": (delete_subscription, "subscription.deleted"),
    "POST /api/keys": (create_key, "key.created"),
    "DELETE /api/keys/{key_id}": (revoke_key, "key.revoked"),
    "PUT /api/secrets/{name}": (put_secret, "secret.put"),
    "DELETE /api/secrets/{name}": (delete_secret, "secret.deleted"),
    "POST /api/alerts": (create_alert, "alert.created"),
    "PUT /api/alerts/{id}": (replace_alert, "alert.changed"),
    "DELETE /api/alerts/{id}": (delete_alert, "alert.deleted"),
    "POST /api/crons/run": (run_cron, "cron.started"),
    "POST /api/workflows/{name}/instances/{id}/terminate": (terminate, "workflow.terminated"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited") / "data"


@pytest.fixture(scope="module")
def other_key(folder: Path) -> str:
    return make_key(folder, "other")


@pytest.fixture(scope="module")
def server(folder: Path, other_key: str):
    with Server(folder, "--config", "", "--app", PROGRAM) as running:
        yield running


def entries(server: Server, query: str = "limit=1000", **more: Any) -> list[dict[str, Any]]:
    reply = server.call("GET", f"/api/audit?{query}", **more)
    assert reply.status == 200, reply.body
    return reply.json["entries"]


@pytest.mark.parametrize("route", ACTS)
def test_a_route_that_manages_something_leaves_an_entry(server: Server, route: str) -> None:
    perform, name = ACTS[route]
    act = Act(server)

    reply = perform(act)

    assert reply.status < 300, reply.body
    [key] = [key["id"] for key in server.call("GET", "/api/keys").json["keys"] if key["role"] == "admin"]
    [entry] = [entry for entry in entries(server) if entry["correlation_id"] == act.correlation_id]
    assert (entry["act"], entry["actor"]) == (name, key)
    assert "hunter2" not in str(entry)


def test_every_route_that_changes_something_is_known_here(server: Server) -> None:
    paths = server.call("GET", "/openapi.json").json["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods if method != "get"}
    unknown = {route for route in routes if not route.split(" ")[1].startswith(APPLICATIONS)} - NOT_AUDITED

    assert unknown == ACTS.keys()


def test_sends_and_refused_acts_leave_no_entry(server: Server) -> None:
    act = Act(server)
    queue = made(server)

    assert act.v4("POST", f"/queues/{queue}/messages", {"body": 1}).status == 200
    assert act.v4("POST", "/queues", {"queue_name": "Bad Name"}).status == 400
    assert act.v4("PATCH", f"/queues/{queue}", {"settings": {"delivery_delay": -1}}).status == 400
    assert act.v4("DELETE", "/queues/none").status == 404

    assert [entry for entry in entries(server) if entry["correlation_id"] == act.correlation_id] == []


def test_entries_are_turned_over_page_by_page_newest_first(server: Server) -> None:
    names = [a_name("paged") for _ in range(3)]
    for name in names:
        server.create_queue(name)

    [newest] = entries(server, "limit=1&act=queue.created")
    others = entries(server, f"limit=2&act=queue.created&before={newest['number']}")

    assert [entry["object"] for entry in (newest, *others)] == [f"queue {name}" for name in reversed(names)]


def test_entries_are_found_by_object_and_by_context(server: Server) -> None:
    name = f"{a_name('vault')}-context"
    server.create_queue(name)

    assert [entry["act"] for entry in entries(server, f"object=queue+{name}")] == ["queue.created"]
    assert f"queue {name}" in [entry["object"] for entry in entries(server, "context=context")]
    assert entries(server, "context=ontext") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=0", "before=-1"])
def test_a_query_out_of_range_is_refused(server: Server, query: str) -> None:
    assert_refusal(server.call("GET", f"/api/audit?{query}"), 400, "VALIDATION_ERROR")


def test_an_account_sees_its_own_entries_only(server: Server, other_key: str) -> None:
    made(server)

    objects = {entry["object"] for entry in entries(server, key=other_key)}

    assert [name for name in objects if "audited" in name] == []


@pytest.mark.parametrize("path", ["/api/audit", "/api/audit/verify"])
def test_admins_and_operators_read_the_trail_and_nobody_else(server: Server, path: str) -> None:
    def status(**more: Any) -> int:
        secret = server.call("POST", "/api/keys", more).json["secret"]
        return server.call("GET", path, key=secret).status

    assert status(role="operator") == 200
    assert [status(role=role) for role in ("producer", "consumer", "agent")] == [403, 403, 403]
    assert status(role="operator", queues=["one"]) == 403


def test_the_chain_holds_and_follows_within_a_second(server: Server) -> None:
    made(server)
    [newest] = entries(server, "limit=1")

    verdict = eventually(
        lambda: (found := server.call("GET", "/api/audit/verify").json)["number"] >= newest["number"] and found
    )

    assert (verdict["ok"], verdict["first_bad_number"], verdict["what"]) == (True, None, None)
    assert entries(server, f"before={newest['number'] + 1}&limit=1")[0]["hash"] is not None


def test_an_entry_that_was_changed_by_hand_is_found(tmp_path: Path) -> None:
    with Server(tmp_path, "--config", "") as server:
        server.create_queue("orders")
        eventually(lambda: server.call("GET", "/api/audit/verify").json["unchained"] == 0)
        [entry] = entries(server, "object=queue+orders")

        connection = apsw.Connection(str(tmp_path / "millrace.db"))
        connection.execute("drop trigger audit_keeps_its_words")
        connection.execute("update audit set actor = 'nobody' where number = ?", (entry["number"],))
        connection.close()

        verdict = server.call("GET", "/api/audit/verify").json
        assert (verdict["ok"], verdict["first_bad_number"]) == (False, entry["number"])


def test_the_entries_of_a_server_that_stops_are_chained(stopped: Server) -> None:
    with stopped.start():
        stopped.create_queue("orders")
        assert stopped.stop() == 0

    connection = apsw.Connection(str(stopped.data / "millrace.db"))
    [(unchained,)] = connection.execute("select count(*) from audit where hash is null").fetchall()
    connection.close()
    assert unchained == 0
