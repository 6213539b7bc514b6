"""`/jobs/…` as a backend and an agent see it. The row ids stand for the requirements that a test holds."""

import itertools
import re
import time

import jwt
import pytest

from tests.http.wire import ISO_MS, queue_named
from tests.support import KEY, Server

SECRET = "the-secret-that-backend-and-agent-share"
ROUTES = [("POST", "/jobs/enqueue"), ("POST", "/jobs/pull"), ("POST", "/jobs/ack"), ("POST", "/jobs/extend"),
          ("GET", "/jobs/stats"), ("POST", "/uploads/create"), ("GET", "/uploads/x/content"), ("POST", "/runs"),
          ("GET", "/runs/x"), ("POST", "/runs/x")]  # fmt: skip
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("jobs") / "data", environ={"JWT_SECRET": SECRET}) as running:
        running.key = SECRET
        yield running


@pytest.fixture
def tenant():
    """A tenant that no other test has."""
    return f"tenant-{next(_numbers)}"


def token(secret=SECRET, algorithm="HS256", **claims):
    return jwt.encode({"role": "agent", "exp": time.time() + 60, **claims}, secret, algorithm)


def enqueue(server, tenant, run=None, **more):
    body = {"runId": run or f"run-{next(_numbers)}", "tenantId": tenant, "r2Key": "a.pdf"}
    return server.call("POST", "/jobs/enqueue", body, **more)


def pull(server, tenant, **body):
    return server.call("POST", "/jobs/pull", body, key=token(tenant=tenant))


def stats(server, tenant):
    return server.call("GET", "/jobs/stats", key=token(tenant=tenant)).json["stats"]


def assert_refused(reply, status, code):
    assert reply.status == status, reply.body
    assert list(reply.json) == ["success", "error"]
    assert reply.json["success"] is False
    assert reply.json["error"]["code"] == code
    assert reply.json["error"]["correlation_id"] == reply.headers["x-correlation-id"]


def test_each_route_answers_with_its_exact_keys(server, tenant):
    """S2-03, S2-05, S2-08, S2-10, S2-12, S2-52."""
    enqueued = enqueue(server, tenant, "run-of-keys")
    pulled = pull(server, tenant)
    acked = server.call("POST", "/jobs/ack", {"ids": [enqueued.json["jobId"], "nobody"], "status": "done"})
    counted = server.call("GET", "/jobs/stats", key=token(tenant=tenant))

    job = enqueued.json["jobId"]
    assert (enqueued.status, pulled.status, acked.status, counted.status) == (200, 200, 200, 200)
    assert enqueued.json == {"success": True, "jobId": job, "runId": "run-of-keys", "status": "pending"}
    assert re.fullmatch("[0-9a-f]{32}", job)
    [one] = pulled.json["jobs"]
    lease = one.pop("leaseId")
    assert re.fullmatch("[0-9a-f]{32}", lease)
    assert one == {"id": job, "runId": "run-of-keys", "tenantId": tenant, "r2Key": "a.pdf", "attempts": 1}
    assert acked.json == {
        "success": True,
        "results": [
            {"id": job, "ok": True, "status": "done"},
            {"id": "nobody", "ok": False, "status": "unknown", "reason": "unknown_id"},
        ],
    }
    assert counted.json["stats"] == {"pending": 0, "leased": 0, "done": 1, "failed": 0}
    assert re.fullmatch(ISO_MS, counted.json["timestamp"])


def test_an_empty_queue_gives_no_jobs_and_an_empty_body_takes_the_defaults(server, tenant):
    """S2-05."""
    before = server.call("POST", "/jobs/pull", b"", key=token(tenant=tenant))
    for _ in range(11):
        enqueue(server, tenant)

    pulled = server.call("POST", "/jobs/pull", b"", key=token(tenant=tenant))

    assert before.body == b'{"jobs":[]}'
    assert len(pulled.json["jobs"]) == 10
    assert stats(server, tenant) == {"pending": 1, "leased": 10, "done": 0, "failed": 0}


def test_numbers_may_be_written_as_floats_and_null_asks_for_the_default(server, tenant):
    """S2-05, S2-31: as some languages write them."""
    jobs = [enqueue(server, tenant).json["jobId"] for _ in range(3)]

    first = pull(server, tenant, max=2.0, visibilitySeconds=60.0)
    rest = pull(server, tenant, max=None, visibilitySeconds=None)
    extended = server.call("POST", "/jobs/extend", {"ids": jobs, "visibilitySeconds": 30.0})

    assert [len(pulled.json["jobs"]) for pulled in (first, rest)] == [2, 1]
    assert all(result["ok"] for result in extended.json["results"])
    assert_refused(pull(server, tenant, max=1.5), 400, "VALIDATION_ERROR")


def test_the_queue_of_jobs_is_an_ordinary_one_with_the_settings_that_are_promised(server):
    """S2-16, X14: it needs no configuration file."""
    queue = queue_named(server, "jobs", key=KEY)

    [consumer] = queue["consumers"]
    assert (consumer["type"], consumer["dead_letter_queue"]) == ("http_pull", "jobs-dlq")
    assert consumer["settings"]["batch_size"] == 10
    assert consumer["settings"]["visibility_timeout_ms"] == 60_000
    assert consumer["settings"]["max_retries"] == 4
    assert consumer["settings"]["retry_delay"] == 0
    assert "message_retention_period" not in queue["settings"]
    assert "message_retention_period" not in queue_named(server, "jobs-dlq", key=KEY)["settings"]


@pytest.mark.parametrize(
    "change",
    [
        {"runId": None},
        {"tenantId": None},
        {"r2Key": None},
        {"runId": ""},
        {"tenantId": "   "},
        {"r2Key": "a\nb"},
        {"r2Key": "a\n"},
        {"runId": 17},
        {"tenantId": ["acme"]},
        {"runId": "x" * 129},
        {"r2Key": "x" * 1025},
        {"runId": "nul\x00"},
        {"runId": ".."},
    ],
    ids=str,
)
def test_a_job_that_lacks_something_is_refused(server, change):
    """S2-04."""
    body = {"runId": "r", "tenantId": "t", "r2Key": "k", **change}

    reply = server.call("POST", "/jobs/enqueue", {key: value for key, value in body.items() if value is not None})

    assert_refused(reply, 400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("pull", {"max": 0}),
        ("pull", {"max": -1}),
        ("pull", {"max": 101}),
        ("pull", {"max": 1_000_000}),
        ("pull", {"max": "2"}),
        ("pull", {"max": 1.5}),
        ("pull", {"visibilitySeconds": 0}),
        ("pull", {"visibilitySeconds": 43_201}),
        ("pull", []),
        ("pull", b"{"),
        ("ack", {"ids": ["a"], "status": "pending"}),
        ("ack", {"ids": ["a"]}),
        ("ack", {"ids": "a", "status": "done"}),
        ("ack", {"ids": [1], "status": "done"}),
        ("ack", {"ids": ["a"], "status": "done", "leaseIds": []}),
        ("ack", {"ids": ["a"], "status": "failed", "postponeSeconds": 3601}),
        ("ack", {"ids": ["a"] * 1001, "status": "done"}),
        ("extend", {"ids": ["a"]}),
        ("extend", {"ids": ["a"], "visibilitySeconds": 43_201}),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_body_with_a_wrong_value_is_refused(server, path, body):
    """S2-07, S2-08."""
    assert_refused(server.call("POST", f"/jobs/{path}", body), 400, "VALIDATION_ERROR")


def test_the_same_idempotency_key_gives_the_same_job(server, tenant):
    """S2-04."""
    mine = {"Idempotency-Key": f"key-of-{tenant}"}
    first = enqueue(server, tenant, "run-once-" + tenant, headers=mine)

    again = enqueue(server, tenant, "run-once-" + tenant, headers=mine)
    other = enqueue(server, tenant, "run-other-" + tenant, headers=mine)
    wrong = enqueue(server, tenant, headers={"Idempotency-Key": "x" * 256})

    assert again.json == first.json
    assert_refused(other, 409, "CONFLICT")
    assert_refused(wrong, 400, "VALIDATION_ERROR")
    assert stats(server, tenant)["pending"] == 1


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("key", [None, "wrong", SECRET[:-1], SECRET + "x", "a.b.c"])
def test_every_route_refuses_who_has_no_good_token(server, method, path, key):
    """S2-11, S2-13."""
    assert server.call(method, path, {}, key=key).status == 401


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda: token(secret="x" * 40), id="another secret"),
        pytest.param(lambda: token(exp=time.time() - 1), id="expired"),
        pytest.param(lambda: jwt.encode({"role": "agent"}, SECRET), id="without an end"),
        pytest.param(lambda: token(exp="tomorrow"), id="with an end that is no time"),
        pytest.param(lambda: token(nbf=time.time() + 60), id="not begun"),
        pytest.param(lambda: token(role="admin"), id="role admin"),
        pytest.param(lambda: token(role=["agent"]), id="role in a list"),
        pytest.param(lambda: token(role=None), id="no role"),
        pytest.param(lambda: token(tenant=""), id="an empty tenant"),
        pytest.param(lambda: token(tenant=1), id="a tenant that is no string"),
        pytest.param(lambda: token(SECRET * 2, "HS512"), id="another algorithm"),
        pytest.param(lambda: jwt.encode({"role": "agent", "exp": 1e12}, "", algorithm="none"), id="no signature"),
        pytest.param(lambda: token()[:-2], id="cut"),
    ],
)
def test_a_token_that_is_not_good_is_refused(server, bad):
    """S2-11, X12."""
    assert_refused(server.call("GET", "/jobs/stats", key=bad()), 401, "UNAUTHORIZED")


def test_a_token_of_a_producer_enqueues_and_does_not_pull(server, tenant):
    """X12."""
    producer = token(role="producer")

    assert enqueue(server, tenant, key=producer).status == 200
    assert server.call("POST", "/runs", {"tenantId": tenant}, key=producer).status == 201
    for path in ("pull", "ack", "extend"):
        assert_refused(server.call("POST", f"/jobs/{path}", {}, key=producer), 403, "FORBIDDEN")


@pytest.mark.parametrize("key", [SECRET, None], ids=["the secret", "a token"])
def test_secret_and_tokens_open_no_other_door(server, key):
    """X12: they count on /jobs, /uploads and /runs only."""
    for path in ("/client/v4/accounts/local/queues", "/metrics", "/api/keys", "/events", "/openapi.json"):
        assert server.call("GET", path, key=key or token()).status == 401


def test_keys_of_the_server_are_let_in_by_their_roles(server, tenant):
    made = {
        role: server.call("POST", "/api/keys", {"role": role}, key=KEY).json["secret"]
        for role in ("producer", "consumer", "operator")
    }

    answers = {
        role: (enqueue(server, tenant, key=key).status, server.call("POST", "/jobs/pull", {"max": 1}, key=key).status)
        for role, key in made.items()
    }

    assert answers == {"producer": (200, 403), "consumer": (403, 200), "operator": (200, 200)}


def test_a_token_of_a_tenant_stays_with_that_tenant(server, tenant):
    """S2-57."""
    other = f"other-of-{tenant}"
    run = f"run-of-{other}"
    job = enqueue(server, other, run).json["jobId"]
    mine = token(tenant=tenant)

    assert enqueue(server, other, key=mine).status == 403
    assert server.call("POST", "/jobs/pull", {}, key=mine).json == {"jobs": []}
    [result] = server.call("POST", "/jobs/ack", {"ids": [job], "status": "done"}, key=mine).json["results"]
    assert result["reason"] == "unknown_id"
    assert server.call("GET", f"/runs/{run}", key=mine).status == 404
    assert server.call("POST", f"/runs/{run}", {"text": "x"}, key=mine).status == 404
    assert server.call("POST", "/runs", {"tenantId": other}, key=mine).status == 403
    assert stats(server, other)["pending"] == 1


def test_the_secret_is_in_no_log_line(server):
    """S2-23."""
    assert SECRET not in server.text
