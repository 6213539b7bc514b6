"""A wrangler file may name a queue of an application, and says no more of it than it says."""

import json
from pathlib import Path
from typing import Any

from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.cli.applications import APPLICATIONS, SCHEMAS
from millrace.config import Settings
from millrace.platform import Platform
from millrace.resources.outbound import Outbound
from millrace.sql.sqlite.connection import prepare
from millrace.sql.stores import sqlite_store
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock
from tests.cli.commands import run
from tests.support import Server

NAMED = """\
// as of Cloudflare
{"name": "shop", "queues": {
    "producers": [{"queue": "event-queue", "binding": "EVENTS"}],
    "consumers": [{"queue": "event-queue", "max_batch_size": 7, "max_batch_timeout": 0}]
}}
"""


def consumer_of(server: Server, name: str) -> dict[str, Any]:
    [queue] = server.v4("GET", f"/queues?name={name}").result
    return queue["consumers"][0]


def facts_of(consumer: dict[str, Any]) -> tuple[Any, ...]:
    settings = consumer["settings"]
    numbers = (settings["batch_size"], settings["max_wait_time_ms"], settings["max_retries"])
    return consumer["script"], consumer.get("dead_letter_queue"), *numbers


def test_an_application_goes_on_with_a_queue_that_a_file_names_and_has_it_back_afterwards(tmp_path: Path) -> None:
    file, data, environ = tmp_path / "wrangler.jsonc", tmp_path / "data", {"EVENTS_CONSUMER": "log"}
    file.write_text(NAMED)

    with Server(data, "--config", str(file), environ=environ) as server:
        named = facts_of(consumer_of(server, "event-queue"))
        server.call("POST", "/events", {"payload": {"a": 1}})
        server.wait_for_text("Event received")
        server.stop()
    file.write_text(json.dumps({"name": "shop"}))
    told = run("serve", "--dry-run", "--config", file, "--data", data).out.splitlines()
    with Server(data, "--config", str(file), environ=environ) as server:
        back = facts_of(consumer_of(server, "event-queue"))

    assert named == ("shop", "event-dlq", 7, 0, 3)
    assert told[0].startswith("~ consumer of event-queue: script_name shop -> events, batch_size 7 -> 100, ")
    assert back == ("events", "event-dlq", 100, 30_000, 3)


async def test_what_a_dry_run_knows_of_an_application_is_what_it_asks_for(tmp_path: Path) -> None:
    """Its queues are named twice, since nothing can be made of an application without a store."""
    path, clock, telemetry, settings = str(tmp_path / "store.db"), ManualClock(), Telemetry(), Settings(data=tmp_path)
    prepare(path, "files", SCHEMAS)
    store = sqlite_store(path, clock, SCHEMAS)
    broker = Broker(store, clock, telemetry)
    platform = Platform(store, Catalog(store, clock), broker, telemetry, clock, Outbound(()))

    made = {one.name: one.make(platform, settings).queues for one in APPLICATIONS}

    assert made == {one.name: one.queues(settings) for one in APPLICATIONS}
    await store.close()
