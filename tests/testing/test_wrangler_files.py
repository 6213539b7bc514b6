"""A broker as a wrangler file says, with the handlers that it names."""

import pytest

from millrace.errors import ConfigurationError
from millrace.testing import MemoryBroker

FILE = """
name = "shop"
main = "worker.py"

[vars]
CURRENCY = "EUR"

[[queues.producers]]
binding = "INVOICES"
queue = "invoices"

[[queues.consumers]]
queue = "kit-orders"
handler = "kit_shop.py:take"
max_retries = 0
dead_letter_queue = "lost"

[[queues.consumers]]
queue = "kit-parcels"

[[queues.consumers]]
queue = "hooks"
type = "http_push"
url = "https://hooks.example/in"
secret_variable = "NOT_IN_THIS_ENVIRONMENT"

[env.staging.vars]
CURRENCY = "XTS"

[[env.staging.queues.consumers]]
queue = "kit-orders"
handler = "kit_shop.py:take"
"""
SHOP = """
async def take(batch, env):
    for message in batch.messages:
        if message.body == "umbrella":
            raise LookupError("none in stock")
        if hasattr(env, "INVOICES"):
            await env.INVOICES.send({"item": message.body, "currency": env.CURRENCY})
"""
WORKER = """
from workers import WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def queue(self, batch):
        for message in batch.messages:
            await self.env.INVOICES.send({"parcel": message.body})
"""


@pytest.fixture
def path(tmp_path):
    """The folder of a shop: its file, a handler, a Python Worker."""
    for name, text in (("wrangler.toml", FILE), ("kit_shop.py", SHOP), ("worker.py", WORKER)):
        (tmp_path / name).write_text(text)
    return tmp_path / "wrangler.toml"


async def test_queues_settings_bindings_variables_and_handlers_are_those_of_the_file(path):
    async with MemoryBroker.from_wrangler(path) as broker:
        await broker.send_batch("kit-orders", [{"body": "tea"}])
        await broker.drain()
        await broker.send("kit-orders", "umbrella")

        await broker.drain(raise_errors=False)

        broker.assert_sent("invoices", body={"item": "tea", "currency": "EUR"})
        assert [dead.reason for dead in await broker.dead_letters("kit-orders")] == ["LookupError"]


async def test_a_python_worker_runs_in_the_process_of_the_test(path):
    async with MemoryBroker.from_wrangler(path) as broker:
        await broker.send("kit-parcels", 1)

        await broker.drain()

        broker.assert_sent("invoices", body={"parcel": 1}, count=1)


async def test_an_environment_of_the_file_can_be_named(path):
    async with MemoryBroker.from_wrangler(path, "staging") as broker:
        assert broker.env.CURRENCY == "XTS"
        assert not hasattr(broker.env, "INVOICES")


async def test_what_the_test_gives_stands_in_for_what_the_file_says(path):
    taken = []
    variables, consumers = {"CURRENCY": "XTS"}, {"kit-orders": {"batch_size": 2}}
    async with MemoryBroker.from_wrangler(
        path, handlers={"kit-orders": lambda batch: taken.append(len(batch.messages))},
        variables=variables, consumers=consumers,
    ) as broker:  # fmt: skip
        await broker.send_batch("kit-orders", [{"body": n} for n in range(3)])

        await broker.drain("kit-orders")

        assert taken == [2, 1]
        assert broker.env.CURRENCY == "XTS"


def test_a_handler_that_is_not_there_is_told_with_its_place(path):
    path.write_text(FILE.replace("kit_shop.py:take", "kit_shop.py:taken", 1))

    with pytest.raises(ConfigurationError, match=r"wrangler\.toml:14: .*has no 'taken'"):
        MemoryBroker.from_wrangler(path)
