"""Instances of workflows over HTTP. Nothing runs these: their queue has no handler."""

import pytest

from tests.http.wire import a_name, make_key
from tests.support import Server

INSTANCES = "/api/workflows/{}/instances"


@pytest.fixture(scope="module")
def keys_and_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    keys = {"other": make_key(folder, "other")}
    with Server(folder) as running:
        keys |= {role: running.call("POST", "/api/keys", {"role": role}).json["secret"] for role in ROLES}
        limited = running.call("POST", "/api/keys", {"role": "admin", "queues": ["elsewhere"]})
        yield {**keys, "limited": limited.json["secret"]}, running


ROLES = ("producer", "consumer", "operator")


@pytest.fixture(scope="module")
def server(keys_and_server):
    return keys_and_server[1]


@pytest.fixture
def workflow(server):
    name = a_name()
    server.create_queue(f"workflow-{name}")
    return name


def test_an_instance_is_created_with_an_id_of_its_own_and_looked_at(server, workflow):
    created = server.call("POST", INSTANCES.format(workflow), {"params": {"a": [1, None]}})
    found = server.call("GET", f"{INSTANCES.format(workflow)}/{created.json['id']}").json

    assert (created.status, created.json["status"]) == (201, "queued")
    assert (found["params"], found["output"], found["steps"], found["ended_at"]) == ({"a": [1, None]}, None, [], None)


def test_an_id_that_is_taken_is_a_conflict(server, workflow):
    server.call("POST", INSTANCES.format(workflow), {"id": "one"})

    again = server.call("POST", INSTANCES.format(workflow), {"id": "one"})

    assert (again.status, again.json["error"]["code"]) == (409, "CONFLICT")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"id": "a b"}, 400),
        ("POST", "", {"id": 1}, 400),
        ("POST", "", [], 400),
        ("GET", "/two", None, 404),
        ("POST", "/two/terminate", None, 404),
    ],
)
def test_what_is_wrong_is_refused(server, workflow, method, path, body, status):
    assert server.call(method, INSTANCES.format(workflow) + path, body).status == status


@pytest.mark.parametrize("name", ["missing", "NO_NAME", "a" * 60, "%2e%2e"])
def test_a_workflow_that_is_none_is_not_found(server, name):
    answers = [server.call("POST", INSTANCES.format(name), {}), server.call("GET", f"{INSTANCES.format(name)}/one")]

    assert [answer.status for answer in answers] == [404, 404]


def test_roles_accounts_and_queues_of_keys_are_kept(server, keys_and_server, workflow):
    keys, path = keys_and_server[0], INSTANCES.format(workflow)
    server.call("POST", path, {"id": "one"})

    def statuses(key):
        answers = [("POST", path, {}), ("GET", f"{path}/one", None), ("POST", f"{path}/one/terminate", None)]
        return [server.call(*answer, key=keys[key]).status for answer in answers]

    assert statuses("producer") == [201, 403, 403]
    assert statuses("consumer") == [403, 200, 403]
    assert statuses("limited") == [403, 403, 403]
    assert statuses("other") == [404, 404, 404]
    assert statuses("operator") == [201, 200, 200]


def test_an_instance_that_was_terminated_stays_so(server, workflow):
    path = f"{INSTANCES.format(workflow)}/one"
    server.call("POST", INSTANCES.format(workflow), {"id": "one"})

    first, second = [server.call("POST", f"{path}/terminate").json for _ in range(2)]

    assert first == second
    assert first["status"] == "terminated"
