"""Queues as attributes, in programs outside the server."""

import pytest

from millrace import AsyncClient, Client
from millrace.errors import ConfigurationError

WRANGLER = """
name = "shop"
[vars]
GREETING = "Dear"
[[queues.producers]]
binding = "ORDERS"
queue = "my-queue"
[[env.staging.queues.producers]]
binding = "STAGED"
queue = "my-queue"
"""


def test_a_binding_sends_and_counts(recorded):
    with Client(recorded.url) as client:
        orders = client.bindings({"ORDERS": "my-queue"}).ORDERS

        backlog = orders.send("hello", content_type="text", delay_seconds=5)
        orders.send_batch([{"body": 1}, {"body": 2, "delay_seconds": 9}], delay_seconds=7)
        counted = orders.metrics()

    assert backlog.count == counted.count == 2
    assert recorded.bodies("/messages") == [{"body": "hello", "content_type": "text", "delay_seconds": 5}]
    assert recorded.bodies("/messages/batch") == [
        {
            "messages": [
                {"body": 1, "content_type": "json"},
                {"body": 2, "content_type": "json", "delay_seconds": 9},
            ],
            "delay_seconds": 7,
        }
    ]


async def test_a_binding_of_an_async_client_is_awaited(recorded):
    async with AsyncClient(recorded.url) as client:
        orders = client.bindings({"ORDERS": "my-queue"}).ORDERS

        await orders.send({"n": 1})
        backlog = await orders.metrics()

    assert backlog.count == 2
    assert recorded.bodies("/messages") == [{"body": {"n": 1}, "content_type": "json"}]


def test_bindings_and_variables_come_from_the_nearest_wrangler_file(recorded, tmp_path, monkeypatch):
    (tmp_path / "wrangler.toml").write_text(WRANGLER)
    inner = tmp_path / "src" / "shop"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)

    env = Client(recorded.url).bindings()

    env.ORDERS.send(1)
    assert env.GREETING == "Dear"
    assert len(recorded.bodies("/messages")) == 1
    with pytest.raises(AttributeError, match="no binding 'INVOICES'; there are: GREETING, ORDERS"):
        _ = env.INVOICES


def test_an_environment_of_the_file_has_its_own_bindings(recorded, tmp_path, monkeypatch):
    (tmp_path / "wrangler.toml").write_text(WRANGLER)
    monkeypatch.chdir(tmp_path)

    env = Client(recorded.url).bindings(environment="staging")

    env.STAGED.send(1)
    assert len(recorded.bodies("/messages")) == 1


def test_a_wrong_file_is_said_by_name(recorded, tmp_path, monkeypatch):
    (tmp_path / "wrangler.toml").write_text("name = ")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError, match=r"wrangler\.toml"):
        Client(recorded.url).bindings()


def test_without_a_file_a_name_in_capitals_is_a_queue(recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    env = Client(recorded.url).bindings()

    env.MY_QUEUE.send(1)
    assert env.MY_QUEUE is env.MY_QUEUE
    assert len(recorded.bodies("/messages")) == 1
    for name in ("my_queue", "MyQueue", "__len__", "_X"):
        with pytest.raises(AttributeError, match="no binding"):
            getattr(env, name)


@pytest.mark.parametrize(
    "environ",
    [
        {"MILLRACE_URL": "{url}", "MILLRACE_TOKEN": "mine"},
        {"CTX_URL": "{url}", "CHITTY_ID_TOKEN": "mine"},
        {"MILLRACE_URL": "{url}", "CTX_URL": "http://127.0.0.1:1", "MILLRACE_TOKEN": "mine", "CHITTY_ID_TOKEN": "no"},
    ],
)
def test_url_and_key_come_from_the_environment(recorded, monkeypatch, environ):
    for name in ("MILLRACE_URL", "MILLRACE_TOKEN", "CTX_URL", "CHITTY_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value.replace("{url}", recorded.url))

    with Client.from_env() as client:
        client.queue("my-queue")

    assert {asked.headers["authorization"] for asked in recorded.asked} == {"Bearer mine"}
