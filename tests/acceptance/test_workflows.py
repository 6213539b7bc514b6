"""Workflows under a real server: what is done is done once, whatever is killed in between."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import wait_until
from tests.support import Server

PROGRAM = """
import asyncio
from pathlib import Path

from millrace import App

FOLDER = Path(__file__).parent


def note(word):
    with (FOLDER / "trail").open("a") as trail:
        trail.write(word + "\\n")


async def until_told(word):
    note(word)
    while not (FOLDER / word).exists():
        await asyncio.sleep(0.01)
    return word


async def order(event, step, env):
    total = await step.do("reserve", lambda: note("reserve") or event.payload["total"])
    await step.do("charge", lambda: until_told("charge"))
    await step.sleep("settle", event.payload.get("seconds", 0))
    await step.do("ship", lambda: note("ship"))
    return {"total": total}


app = App(workflows={"order": order})
"""
WORKER = """
import os, time
from pathlib import Path

from workers import WorkerEntrypoint, WorkflowEntrypoint

FOLDER = Path(__file__).parent


def note(word):
    with (FOLDER / "trail").open("a") as trail:
        trail.write(word + "\\n")


class Fulfil(WorkflowEntrypoint):
    async def run(self, event, step):
        order = event["payload"]

        @step.do("charge the card")
        async def charge():
            note("charge")
            return {"paid": order["total"]}

        @step.do()
        async def dispatch(charge):
            note("dispatch")
            if not (FOLDER / "died").exists():
                (FOLDER / "died").touch()
                os._exit(7)
            await self.env.AUTH_KV.put("order:7", charge, {"metadata": {"by": event.instanceId}})
            return len(charge)

        await step.sleep("let it settle", "0 seconds")
        return {"parts": await dispatch()}


class Default(WorkerEntrypoint):
    async def queue(self, batch):
        for message in batch.messages:
            instance = await self.env.FULFIL.create({"id": f"order-{message.body.id}", "params": message.body})
            rows = await self.env.DB.prepare("select name from queues where name = ?").bind("orders").all()
            note(f"{instance.id} {(await instance.status()).status} {rows.results[0].name}")
"""
WRANGLER = """
name = "shop"
main = "worker.py"

[[queues.consumers]]
queue = "orders"
max_batch_timeout = 0

[[queues.consumers]]
queue = "questions"
max_batch_timeout = 0
handler = "plain.py:answer"

[[d1_databases]]
binding = "DB"
database_name = "shop"

[[kv_namespaces]]
binding = "AUTH_KV"
id = "auth"

"""
WORKFLOW = """
[[workflows]]
binding = "FULFIL"
name = "fulfil"
class_name = "Fulfil"
"""
PLAIN = """
from worker import note


def answer(batch, env):
    stored = env.AUTH_KV.get_with_metadata("order:7", "json")
    count = env.DB.prepare("select count(*) as count from queues where name = ?1").bind("orders").first("count")
    note(f"{stored.value} {stored.metadata} {count} {env.FULFIL.get('order-7').status().output}")
"""


class Shop:
    """A server with workflows, and what its program notes."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.server = Server(folder / "data", *arguments)

    def create(self, name: str, id: str, **params: Any) -> None:
        answer = self.server.call("POST", f"/api/workflows/{name}/instances", {"id": id, "params": params})
        assert answer.status == 201, answer.body

    def look(self, name: str, id: str) -> dict[str, Any]:
        return self.server.call("GET", f"/api/workflows/{name}/instances/{id}").json

    def tell(self, word: str) -> None:
        (self.folder / word).touch()

    def wait_for_trail(self, word: str) -> None:
        wait_until(lambda: self.trail()[-1:] == [word], 10, f"the program does not come to {word}")

    def trail(self) -> list[str]:
        trail = self.folder / "trail"
        return trail.read_text().splitlines() if trail.exists() else []

    def wait_for(self, name: str, id: str, status: str) -> dict[str, Any]:
        wait_until(lambda: self.look(name, id).get("status") == status, 10, f"{id} does not become {status}")
        return self.look(name, id)

    def path(self, queue: str) -> str:
        (found,) = self.server.v4("GET", f"/queues?name={queue}").result
        return f"/queues/{found['queue_id']}"

    def send(self, queue: str, body: object) -> None:
        self.server.v4("POST", f"{self.path(queue)}/messages", {"body": body})

    def wait_until_done(self, name: str) -> None:
        path = f"{self.path(f'workflow-{name}')}/metrics"
        wait_until(lambda: self.server.v4("GET", path).result["backlog_count"] == 0, 10, "there is still work to do")


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    made = Shop(tmp_path, "--app", str(tmp_path / "program.py:app"), "--config", "")
    with made.server:
        yield made


@pytest.fixture
def worker_shop(tmp_path):
    for name, text in {"worker.py": WORKER, "wrangler.toml": WRANGLER + WORKFLOW, "plain.py": PLAIN}.items():
        (tmp_path / name).write_text(text)
    made = Shop(tmp_path, "--config", str(tmp_path / "wrangler.toml"))
    with made.server:
        yield made


@pytest.fixture
def killed(shop):
    """A server that was killed in the middle of the second step of instance "one", and whose lease has lapsed."""
    shop.create("order", "one", total=3)
    shop.wait_for_trail("charge")
    shop.server.kill()
    with closing(sqlite3.connect(shop.server.data / "millrace.db")) as database, database:
        database.execute("update messages set visible_at_ms = 1, lease_ends_at_ms = 1 where receipt is not null")
    return shop


def test_a_killed_server_goes_on_after_the_last_step_that_was_done(killed):
    killed.tell("charge")

    killed.server.start()
    instance = killed.wait_for("order", "one", "complete")

    assert killed.trail() == ["reserve", "charge", "charge", "ship"]  # the step under way begins anew
    assert (instance["output"], [step["status"] for step in instance["steps"]]) == ({"total": 3}, ["complete"] * 4)


def test_a_stopped_server_goes_on_with_those_that_sleep_but_not_with_those_that_were_terminated(shop):
    shop.tell("charge")
    for name in ("one", "two"):
        shop.create("order", name, total=3, seconds=2)
        shop.wait_for("order", name, "waiting")
    ended = shop.server.call("POST", "/api/workflows/order/instances/two/terminate")

    shop.server.stop()
    shop.server.start()
    instance = shop.wait_for("order", "one", "complete")
    shop.wait_until_done("order")

    assert (ended.json["status"], instance["error"]) == ("terminated", None)
    assert shop.trail() == [*["reserve", "charge"] * 2, "ship"]


def test_a_worker_of_a_file_has_its_bindings_and_a_workflow_that_survives_its_process(worker_shop):
    worker_shop.send("orders", {"id": 7, "total": 12})
    instance = worker_shop.wait_for("fulfil", "order-7", "complete")
    worker_shop.send("questions", {})
    wait_until(lambda: len(worker_shop.trail()) == 5, 10, "the question is not answered")

    created, *steps, answer = worker_shop.trail()

    assert (created, steps) == ("order-7 queued orders", ["charge", "dispatch", "dispatch"])
    assert answer == "{'paid': 12} {'by': 'order-7'} 1 {'parts': 1}"
    assert [step["name"] for step in instance["steps"]] == ["let it settle", "charge the card", "dispatch"]


def test_a_class_that_is_not_there_stops_the_start(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "wrangler.toml").write_text(WRANGLER[: WRANGLER.index("[[queues")] + WORKFLOW.replace("il", "ill"))
    server = Server(tmp_path / "data", "--config", str(tmp_path / "wrangler.toml"))

    with pytest.raises(AssertionError, match="ended with 1") as stopped:
        server.start()

    assert "wrangler.toml:9: " in str(stopped.value)
    assert "has no workflow 'Fulfill'" in str(stopped.value)
