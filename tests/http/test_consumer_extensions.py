"""What consumers have beyond Cloudflare's: delays that grow, a limit of attempts, and a URL to push to."""

import json
import re
from base64 import b64decode, b64encode

import msgspec
import pytest

from millrace.catalog import Catalog
from millrace.clock import wall_ms
from millrace.queue import Queue
from millrace.sql.sqlite.connection import prepare
from millrace.sql.stores import sqlite_store
from tests.http.wire import PULL, assert_failure, consumer_of, pull, push, settle
from tests.support import Server

WORKER = {"type": "worker", "script_name": "my-worker"}
URL = "https://example.com:8443/hooks/orders?from=queue"
PUSH = {"type": "http_push", "url": URL}
BACKOFF = {"kind": "exponential", "base_seconds": 60, "factor": 2, "cap_seconds": 3600, "jitter": 0.1}
SECRET = "whsec_" + b64encode(bytes(range(24))).decode()


def attach(server, queue, **given):
    return server.v4("POST", f"/queues/{queue}/consumers", given)


def place_of(queue, consumer):
    return f"/queues/{queue}/consumers/{consumer['consumer_id']}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that pushes to these private hosts, too."""
    allowed = {"FETCH_ALLOW": "localhost, 127.0.0.1:8000, [2001:db8::1]:443"}
    with Server(tmp_path_factory.mktemp("data"), environ=allowed) as running:
        yield running


@pytest.fixture
async def catalog(tmp_path):
    """A catalog beside any server, for what routes do not say."""
    path = str(tmp_path / "store.db")
    prepare(path, "extensions")
    store = sqlite_store(path, wall_ms)
    yield Catalog(store, wall_ms)
    await store.close()


@pytest.mark.parametrize("kind", [WORKER, PULL, PUSH])
def test_backoff_and_attempts_are_shown_as_they_were_set(server, queue, kind):
    attached = attach(server, queue, **kind, settings={"backoff": BACKOFF, "max_attempts": 3}).result

    shown = server.v4("GET", place_of(queue, attached)).result["settings"]

    assert (shown["backoff"], shown["max_attempts"]) == (BACKOFF, 3)
    assert attached["settings"] == shown


def test_a_backoff_is_shown_with_its_defaults_and_a_factor_only_where_it_counts(server, queue):
    attached = attach(server, queue, **PULL, settings={"backoff": {"kind": "linear", "base_seconds": 2}}).result

    assert attached["settings"]["backoff"] == {
        "kind": "linear",
        "base_seconds": 2,
        "cap_seconds": 86400,
        "jitter": 0,
    }


def test_what_flushes_is_shown_where_batches_wait(server, queue, pulled):
    attached = attach(server, queue, **WORKER, settings={"flush_on": "high"}).result
    path = place_of(pulled, consumer_of(server, pulled))

    replaced = server.v4("PUT", path, {**PULL, "settings": {"flush_on": "high"}}).result

    assert attached["settings"]["flush_on"] == "high"
    assert "flush_on" not in replaced["settings"]


@pytest.mark.parametrize("settings", [{}, {"backoff": None, "max_attempts": None, "flush_on": None}])
def test_what_is_put_without_the_extensions_has_none(server, queue, settings):
    every = {"backoff": BACKOFF, "max_attempts": 3, "flush_on": "high"}
    attached = attach(server, queue, **WORKER, settings=every).result

    replaced = server.v4("PUT", place_of(queue, attached), {**WORKER, "settings": settings}).result

    assert replaced["settings"].keys() & every.keys() == set()


@pytest.mark.parametrize(
    "settings",
    [
        {"max_attempts": 0},
        {"max_attempts": 101},
        {"max_attempts": 1.5},
        {"max_attempts": "3"},
        {"flush_on": "low"},
        {"flush_on": True},
        {"backoff": "exponential"},
        {"backoff": {}},
        {"backoff": {"kind": "exponential"}},
        {"backoff": {"base_seconds": 1}},
        {"backoff": {"kind": "cubic", "base_seconds": 1}},
        {"backoff": {"kind": "fixed", "base_seconds": -1}},
        {"backoff": {"kind": "fixed", "base_seconds": 86401}},
        {"backoff": {"kind": "fixed", "base_seconds": 1, "jitter": 2}},
        {"backoff": {"kind": "fixed", "base_seconds": 1, "factor": 2}},
        {"backoff": {"kind": "exponential", "base_seconds": 1, "factor": 0.9}},
        {"backoff": {"kind": "exponential", "base_seconds": 1, "cap_seconds": 1e9}},
    ],
)
def test_a_setting_out_of_its_range_is_refused_with_100127(server, queue, settings):
    assert_failure(attach(server, queue, **WORKER, settings=settings), 400, 100127)

    assert server.v4("GET", f"/queues/{queue}").result["consumers"] == []


def test_a_puller_that_reports_as_many_failures_as_may_be_has_the_message_buried(server, queue):
    attach(server, queue, **PULL, dead_letter_queue=f"dead-{queue[-8:]}", settings={"max_attempts": 2})
    push(server, queue)
    settle(server, queue, retries=[pull(server, queue)[0]["lease_id"]])

    settle(server, queue, retries=[pull(server, queue)[0]["lease_id"]])

    dead = server.v4("GET", f"/queues?name=dead-{queue[-8:]}").result[0]["queue_id"]
    (buried,) = server.v4("POST", f"/queues/{dead}/messages/peek").result["messages"]
    assert buried["metadata"]["Millrace-Reason"] == "max_attempts"


def test_a_message_that_failed_waits_as_long_as_the_backoff_says(server, queue):
    attach(server, queue, **PULL, settings={"backoff": {"kind": "fixed", "base_seconds": 3600}})
    push(server, queue)
    settle(server, queue, retries=[pull(server, queue)[0]["lease_id"]])

    assert pull(server, queue) == []


def test_a_push_consumer_is_shown_with_its_url_and_the_settings_of_a_worker(server, queue):
    shown = attach(server, queue, **PUSH).result

    assert (shown["type"], shown["url"], shown["dead_letter_queue"]) == ("http_push", URL, "")
    assert {"script", "script_name", "applied_by"} & shown.keys() == set()
    assert shown["settings"] == {
        "batch_size": 10,
        "max_retries": 3,
        "max_wait_time_ms": 5000,
        "max_concurrency": None,
        "retry_delay": 0,
    }


def test_a_push_consumer_without_a_secret_gets_one_of_its_own(server, queue):
    secret = attach(server, queue, **PUSH).result["secret"]

    assert secret.startswith("whsec_")
    assert len(b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


@pytest.mark.parametrize("given", [{}, {"secret": SECRET}])
def test_a_secret_is_shown_once_by_the_route_that_attached_and_never_again(server, queue, given):
    attached = attach(server, queue, **PUSH, **given).result
    secret = attached["secret"]
    path = place_of(queue, attached)

    answers = [
        server.v4("GET", path),
        server.v4("PUT", path, PUSH),
        server.v4("PUT", path, {**PUSH, "secret": SECRET}),
        server.v4("GET", f"/queues/{queue}/consumers"),
        server.v4("GET", f"/queues/{queue}"),
        server.v4("PATCH", f"/queues/{queue}", {"settings": {"delivery_delay": 1}}),
        server.v4("GET", "/queues"),
    ]

    assert given.get("secret", secret) == secret
    assert [answer.status for answer in answers] == [200] * len(answers)
    assert [answer.body for answer in answers if b"whsec_" in answer.body] == []
    assert secret not in server.text


@pytest.mark.parametrize(
    "secret", ["", "secret", SECRET[6:], "whsec_", "whsec_AAAA", "whsec_" + "!" * 32, "whsec_" + "A" * 88, SECRET[:-1]]
)
def test_a_secret_that_is_none_is_refused_and_not_repeated(server, queue, secret):
    reply = attach(server, queue, **PUSH, secret=secret)

    assert_failure(reply, 400, 100127)
    assert len(secret) < 10 or secret not in json.dumps(reply.json)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "http://127.0.0.1:8000",
        "https://[2001:db8::1]:443/hook",
        "https://example.com?a=1",
        "https://example.com/a@b:c'd\"e",
        "https://example.com/" + "a" * 2028,
    ],
)
def test_a_url_has_a_scheme_and_a_host(server, queue, url):
    assert attach(server, queue, **PUSH | {"url": url}).result["url"] == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        5,
        "",
        "example.com",
        "ftp://example.com",
        "https://",
        "https:///path",
        "https://user:password@example.com",
        "https://user@example.com",
        "https://@example.com",
        "https://example.com\\@elsewhere.example",
        "https://example.com/#part",
        "https://example.com#",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://exämple.com",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:port",
        "https://[::1",
        "https://[1:2]",
        "https://example.com/" + "a" * 2029,
    ],
)
def test_a_url_that_is_none_is_refused_with_100127(server, queue, url):
    reply = attach(server, queue, type="http_push", url=url)

    assert_failure(reply, 400, 100127)
    assert "password@" not in json.dumps(reply.json)


def test_a_push_consumer_without_a_url_is_refused_with_100127(server, queue):
    reply = attach(server, queue, type="http_push")

    assert_failure(reply, 400, 100127)
    assert reply.json["errors"][0]["message"] == "url is missing; a consumer of type 'http_push' needs one"


@pytest.mark.parametrize("kind", [WORKER, PULL])
@pytest.mark.parametrize("given", [{"url": URL}, {"secret": SECRET}])
def test_other_consumers_have_neither_url_nor_secret(server, queue, kind, given):
    assert_failure(attach(server, queue, **kind, **given), 400, 100127)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "10.0.0.1", "169.254.169.254", "[::1]", "2130706433", "a.localhost"])
def test_a_url_of_a_private_address_is_refused(server, queue, host):
    assert_failure(attach(server, queue, **{**PUSH, "url": f"http://{host}/"}), 400, 100127)

    assert server.v4("GET", f"/queues/{queue}").result["consumers"] == []


def test_put_replaces_the_url(server, queue):
    attached = attach(server, queue, **PUSH).result

    replaced = server.v4("PUT", place_of(queue, attached), {"type": "http_push", "url": "http://localhost/new"}).result

    assert replaced["url"] == "http://localhost/new"
    assert replaced["consumer_id"] == attached["consumer_id"]


def test_put_does_not_change_the_type(server, queue):
    path = place_of(queue, attach(server, queue, **PUSH).result)

    assert_failure(server.v4("PUT", path, PULL), 400, 10026)
    assert_failure(server.v4("PUT", path, WORKER), 400, 10026)

    assert consumer_of(server, queue)["type"] == "http_push"


def test_nothing_is_pulled_from_a_queue_that_is_pushed(server, queue):
    attach(server, queue, **PUSH)

    assert_failure(server.v4("POST", f"/queues/{queue}/messages/pull"), 405, 10405)


def test_the_document_knows_the_extensions(server):
    schemas = server.call("GET", "/openapi.json").json["components"]["schemas"]

    assert {"url", "secret"} <= schemas["ConsumerBody"]["properties"].keys()
    assert {"backoff", "max_attempts", "flush_on"} <= schemas["ConsumerSettingsBody"]["properties"].keys()
    pattern = next(
        kind["pattern"] for kind in schemas["ConsumerBody"]["properties"]["url"]["anyOf"] if "pattern" in kind
    )
    assert re.fullmatch(pattern, URL)


async def test_a_consumer_that_is_set_again_keeps_its_secret_and_takes_a_new_one(catalog):
    queue = await catalog.create("acc", "q", {})
    secrets = []

    for more in ({}, {}, {"secret": SECRET}, {}):
        await catalog.set_consumer("acc", queue.id, {**PUSH, "settings": {}, **more})
        secrets.append((await catalog.queue("acc", queue.id)).consumer.secret)

    assert secrets == [secrets[0], secrets[0], SECRET, SECRET]


async def test_a_consumer_that_becomes_one_of_another_type_loses_url_and_secret(catalog):
    queue = await catalog.create("acc", "q", {})
    await catalog.set_consumer("acc", queue.id, {**PUSH, "settings": {}})

    await catalog.set_consumer("acc", queue.id, {**WORKER, "settings": {}})

    consumer = (await catalog.queue("acc", queue.id)).consumer
    assert (consumer.url, consumer.secret) == (None, None)


async def test_a_change_of_settings_keeps_the_note_of_who_attached_the_consumer(catalog):
    queue = await catalog.create("acc", "q", {})
    attached = await catalog.attach("acc", queue.id, {**PULL, "settings": {}, "applied_by": "shop"})

    replaced = await catalog.replace_consumer("acc", queue.id, attached.id, {**PULL, "settings": {"batch_size": 7}})

    assert (attached.applied_by, replaced.applied_by) == ("shop", "shop")


async def test_a_consumer_that_was_stored_before_the_extensions_is_read(catalog):
    queue = await catalog.create("acc", "q", {})
    await catalog.attach("acc", queue.id, {**PULL, "settings": {}})
    stored = msgspec.to_builtins(await catalog.queue("acc", queue.id))
    for name in ("url", "secret", "applied_by"):
        del stored["consumer"][name]
    for name in ("max_attempts", "backoff", "flush_on"):
        del stored["consumer"]["settings"][name]

    assert msgspec.convert(stored, Queue) == await catalog.queue("acc", queue.id)
