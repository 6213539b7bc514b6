import json
import re

import pytest

from tests.http.wire import a_name, assert_failure, assert_refusal, push
from tests.support import Server

METHODS = ("get", "put", "post", "patch", "delete")


@pytest.fixture(scope="module")
def document(server):
    return server.call("GET", "/openapi.json").json


def operations(document):
    return [
        (path, method, item[method]) for path, item in document["paths"].items() for method in METHODS if method in item
    ]


def refs_in(value):
    if isinstance(value, dict):
        found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return found + [ref for each in value.values() for ref in refs_in(each)]
    return [ref for each in value for ref in refs_in(each)] if isinstance(value, list) else []


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
@pytest.mark.parametrize("key", [None, "wrong", ""])
def test_health_needs_no_key(server, path, key):
    reply = server.call("GET", path, key=key)

    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert reply.headers["x-correlation-id"]


def test_metrics_are_text_for_prometheus_with_the_backlog_of_each_queue(server):
    name = a_name()
    queue = server.create_queue(name)
    push(server, queue, "12345", content_type="text")

    reply = server.call("GET", "/metrics")

    text = reply.body.decode()
    assert reply.headers["content-type"].startswith("text/plain")
    assert f'millrace_backlog_messages{{queue="{name}"}} 1.0' in text
    assert f'millrace_backlog_bytes{{queue="{name}"}} 5.0' in text
    assert f'millrace_message_sent_total{{queue="{name}"}} 1.0' in text
    assert re.search(r"^millrace_send_seconds_count \d", text, re.MULTILINE)
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) == len(set(names))


def test_metrics_and_the_document_need_a_key(server):
    for path in ("/metrics", "/openapi.json"):
        assert_refusal(server.call("GET", path, key=None), 401, "UNAUTHORIZED")


def test_the_document_is_openapi_3_1_by_its_structure(document):
    assert document["openapi"].startswith("3.1.")
    assert set(document) <= {"openapi", "info", "security", "paths", "components", "servers", "tags"}
    assert document["info"]["title"]
    assert document["info"]["version"]
    ids = []
    for path, _, operation in operations(document):
        assert path.startswith("/")
        ids.append(operation["operationId"])
        assert operation["responses"]
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d|default", status)
            assert response["description"]
    assert len(ids) == len(set(ids))


def test_every_ref_of_the_document_resolves(document):
    refs = refs_in(document)

    assert refs
    for ref in set(refs):
        assert ref.startswith("#/")
        place = document
        for part in ref[2:].split("/"):
            place = place[part.replace("~1", "/").replace("~0", "~")]


def test_every_path_parameter_is_declared_and_no_other(document):
    for path, method, operation in operations(document):
        parameters = operation.get("parameters", [])
        declared = [each["name"] for each in parameters if each["in"] == "path"]
        assert sorted(declared) == sorted(re.findall(r"\{(\w+)\}", path)), (method, path)
        assert all(each["required"] for each in parameters if each["in"] == "path")
        assert all(each["in"] in ("path", "query", "header") and "schema" in each for each in parameters)


def test_every_schema_has_known_types(document):
    def types_in(value):
        if isinstance(value, dict):
            own = value.get("type") if "properties" in value or "items" in value or "enum" in value else None
            return ([own] if isinstance(own, str) else []) + [t for each in value.values() for t in types_in(each)]
        return [t for each in value for t in types_in(each)] if isinstance(value, list) else []

    assert set(types_in(document["components"]["schemas"])) <= {
        "object",
        "array",
        "string",
        "integer",
        "number",
        "boolean",
        "null",
    }


def test_the_document_has_the_routes_of_the_contract(document):
    account = "/client/v4/accounts/{account_id}"
    queue = f"{account}/queues/{{queue_id}}"
    wanted = {
        (f"{account}/queues", "get"),
        (f"{account}/queues", "post"),
        *((queue, method) for method in ("get", "put", "patch", "delete")),
        *((f"{queue}/consumers", method) for method in ("get", "post")),
        *((f"{queue}/consumers/{{consumer_id}}", method) for method in ("get", "put", "delete")),
        *((f"{queue}/messages{rest}", "post") for rest in ("", "/batch", "/pull", "/ack", "/peek", "/purge")),
        (f"{queue}/purge", "get"),
        (f"{queue}/purge", "post"),
        (f"{queue}/metrics", "get"),
        ("/events", "post"),
        ("/openapi.json", "get"),
        ("/health", "get"),
        ("/metrics", "get"),
        ("/api/keys", "get"),
        ("/client/v4/user/tokens/verify", "get"),
    }

    assert wanted <= {(path, method) for path, method, _ in operations(document)}


def test_every_route_of_the_document_answers_401_without_a_key_unless_it_is_open(server, document):
    for path, method, operation in operations(document):
        concrete = re.sub(r"\{account_id\}", "local", path)
        concrete = re.sub(r"\{\w+\}", "x", concrete)
        reply = server.call(method.upper(), concrete, b"{}" if method in ("post", "put", "patch") else None, key=None)
        if operation.get("security") == []:
            assert reply.status == 200
        elif path.startswith("/client/v4"):
            assert_failure(reply, 401, 10000)
        else:
            assert_refusal(reply, 401, "UNAUTHORIZED", below_jobs=path.startswith("/jobs/"))


def test_the_message_of_events_is_described_for_its_consumers(server):
    document = server.call("GET", "/openapi.json").json
    page = server.call("GET", "/docs").body.decode()

    [reference] = document["paths"]["/events"]["post"]["x-queue-message"].values()
    described = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert described["required"] == ["event_id", "payload", "timestamp"]
    assert described["properties"]["payload"] == {"type": "object"}
    assert "QueuedEvent" in page


def test_every_route_of_the_document_is_there(server, document):
    for path, method, operation in operations(document):
        concrete = re.sub(r"\{\w+\}", "x", path.replace("{account_id}", "local"))
        if "text/event-stream" in str(operation["responses"]):
            concrete += "?event=none"  # refused at once: a stream that is let in does not end
        reply = server.call(method.upper(), concrete, b"{}" if method in ("post", "put", "patch") else None)
        assert reply.status not in (403, 405)
        assert reply.status != 401 or path.startswith("/webhooks/")  # whose callers have signatures, and no keys
        assert "No route" not in reply.body.decode()


def test_in_local_mode_the_curls_work_without_a_key_but_a_wrong_key_does_not(tmp_path):
    environ = {"CLOUDFLARE_ENV": "local", "AUTH_MODE": "local"}
    with Server(tmp_path / "data", environ=environ, key=None) as server:
        assert server.call("POST", "/events", {"payload": {}}, key=None).status == 200
        assert server.v4("GET", "/queues", key=None).status == 200
        assert server.v4("GET", "/queues", key="wrong").status == 401


@pytest.mark.parametrize(
    ("environ", "flags"),
    [
        ({"AUTH_MODE": "local"}, ()),
        ({"AUTH_MODE": "local", "CLOUDFLARE_ENV": "production"}, ()),
        ({"AUTH_MODE": "local", "CLOUDFLARE_ENV": "local"}, ("--host", "0.0.0.0")),
    ],
)
def test_local_mode_is_refused_where_others_could_reach_it(tmp_path, environ, flags):
    server = Server(tmp_path / "data", *flags, environ=environ)

    with pytest.raises(AssertionError, match="AUTH_MODE"), server:
        pass


def test_the_document_is_the_same_each_time(server, document):
    assert (
        server.call("GET", "/openapi.json").body
        == json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    )
