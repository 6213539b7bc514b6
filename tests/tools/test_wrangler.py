"""The real wrangler: every queues command, what it prints, and what the server then holds."""

import json
import re
import uuid
from typing import Any

import pytest

from tests.support import Server

pytestmark = pytest.mark.xdist_group("cloudflare-tools")

SUBSCRIPTIONS = "/event_subscriptions/subscriptions"


@pytest.fixture
def name() -> str:
    return f"q-{uuid.uuid4().hex[:12]}"


def held(server: Server, name: str) -> dict[str, Any]:
    """Give the server's queue of that name."""
    [queue] = server.v4("GET", f"/queues?name={name}").result
    return queue


def row_of(name: str, table: str) -> list[str]:
    """Give the cells of the row that holds the name."""
    [row] = [line for line in table.splitlines() if f" {name} " in line]
    return [cell.strip() for cell in row.strip("│").split("│")]


def test_a_queue_is_created_listed_shown_updated_and_deleted(wrangler, server, name):
    options = "--delivery-delay-secs 60 --message-retention-period-secs 3600 --jurisdiction eu"
    assert f"Created queue '{name}'" in wrangler(f"queues create {name} {options}")
    created = held(server, name)
    assert created["jurisdiction"] == "eu"
    assert created["settings"] == {"delivery_delay": 60, "delivery_paused": False, "message_retention_period": 3600}

    times = [created["created_on"], created["modified_on"]]
    assert row_of(name, wrangler("queues list")) == [created["queue_id"], name, "eu", *times, "0", "0"]
    shown = wrangler(f"queues info {name}")
    assert f"Queue ID: {created['queue_id']}" in shown
    assert "Number of Consumers: 0" in shown

    assert f"Updated queue {name}." in wrangler(f"queues update {name} --delivery-delay-secs 5")
    assert held(server, name)["settings"] == {**created["settings"], "delivery_delay": 5}

    assert f"Deleted queue {name}." in wrangler(f"queues delete {name}")
    assert server.v4("GET", f"/queues?name={name}").result == []


def test_delivery_is_paused_and_resumed(wrangler, server, name):
    queue_id = server.create_queue(name, consumer={"type": "http_pull"}, delivery_delay=5)

    assert f"Paused message delivery for queue {name}." in wrangler(f"queues pause-delivery {name}")
    assert held(server, name)["settings"]["delivery_paused"] is True
    assert server.v4("POST", f"/queues/{queue_id}/messages/pull").status == 409

    assert f"Resumed message delivery for queue {name}." in wrangler(f"queues resume-delivery {name}")
    assert server.v4("POST", f"/queues/{queue_id}/messages/pull").status == 200
    assert held(server, name)["settings"]["delivery_delay"] == 5


def test_a_purge_wants_force_and_then_empties_the_queue(wrangler, server, name):
    queue_id = server.create_queue(name)
    server.v4("POST", f"/queues/{queue_id}/messages", {"body": 1})

    assert "The --force flag is required" in wrangler(f"queues purge {name}", code=1)
    assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == 1

    assert f"Purged Queue '{name}'" in wrangler(f"queues purge {name} --force")
    assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == 0


def test_a_worker_consumer_is_added_with_all_its_settings_listed_and_removed(wrangler, server, name):
    server.create_queue(name)
    options = (
        f"--batch-size 20 --batch-timeout 3 --message-retries 7 --dead-letter-queue {name}-dlq "
        "--max-concurrency 4 --retry-delay-secs 30"
    )
    added = wrangler(f"queues consumer worker add {name} my-worker {options}")
    assert f"Added consumer to queue {name}." in added
    [consumer] = held(server, name)["consumers"]
    assert (consumer["type"], consumer["script"], consumer["dead_letter_queue"]) == (
        "worker",
        "my-worker",
        f"{name}-dlq",
    )
    assert consumer["settings"] == {
        "batch_size": 20,
        "max_retries": 7,
        "max_wait_time_ms": 3000,
        "max_concurrency": 4,
        "retry_delay": 30,
    }
    assert held(server, f"{name}-dlq")["consumers"] == []

    assert json.loads(wrangler(f"queues consumer worker list {name} --json")) == [consumer]
    listed = row_of("my-worker", wrangler(f"queues consumer list {name}"))
    assert listed == [consumer["consumer_id"], "my-worker", f"{name}-dlq", "20", "7", "3000", "4", "30"]
    assert "Consumers: worker:my-worker" in wrangler(f"queues info {name}")

    second = wrangler(f"queues consumer add {name} second", code=1)
    assert "workers.api.error.consumer_exists [code: 11004]" in second
    nobody = wrangler(f"queues consumer worker remove {name} nobody", code=1)
    assert f"No worker consumer 'nobody' exists for queue {name}" in nobody
    assert held(server, name)["consumers"] == [consumer]

    assert f"Removed consumer from queue {name}." in wrangler(f"queues consumer worker remove {name} my-worker")
    assert held(server, name)["consumers"] == []


def test_a_worker_consumer_without_settings_has_the_defaults_and_goes_by_the_short_commands(wrangler, server, name):
    server.create_queue(name)

    wrangler(f"queues consumer add {name} my-worker")
    [consumer] = held(server, name)["consumers"]
    assert (consumer["script"], consumer["dead_letter_queue"]) == ("my-worker", "")
    assert consumer["settings"] == {
        "batch_size": 10,
        "max_retries": 3,
        "max_wait_time_ms": 5000,
        "max_concurrency": None,
        "retry_delay": 0,
    }

    wrangler(f"queues consumer remove {name} my-worker")
    assert held(server, name)["consumers"] == []


def test_a_pull_consumer_is_added_with_all_its_settings_listed_and_removed(wrangler, server, name):
    queue_id = server.create_queue(name)
    options = (
        f"--batch-size 20 --message-retries 5 --dead-letter-queue {name}-dlq "
        "--visibility-timeout-secs 60 --retry-delay-secs 7"
    )
    assert f"Added consumer to queue {name}." in wrangler(f"queues consumer http add {name} {options}")
    [consumer] = held(server, name)["consumers"]
    assert (consumer["type"], consumer["dead_letter_queue"]) == ("http_pull", f"{name}-dlq")
    assert consumer["settings"] == {
        "batch_size": 20,
        "max_retries": 5,
        "visibility_timeout_ms": 60000,
        "retry_delay": 7,
    }
    assert json.loads(wrangler(f"queues consumer http list {name} --json")) == [consumer]

    shown = wrangler(f"queues info {name}")
    assert "Consumers: HTTP Pull Consumer." in shown
    assert f"/accounts/local/queues/{queue_id}/messages/pull" in shown
    printed = re.search(r"--data '(.+)'", shown)[1].encode()
    assert server.v4("POST", f"/queues/{queue_id}/messages/pull", printed).result["messages"] == []

    assert f"Removed consumer from queue {name}." in wrangler(f"queues consumer http remove {name}")
    assert held(server, name)["consumers"] == []


def test_a_subscription_is_created_listed_shown_updated_and_deleted(wrangler, server, name):
    queue_id = server.create_queue(name)
    options = "--source workersAi.model --model-name m --events batch.queued,batch.failed"
    assert f"created event subscription '{name} workersAi.model'" in wrangler(
        f"queues subscription create {name} {options}"
    )
    [created] = server.v4("GET", f"{SUBSCRIPTIONS}?queue_id={queue_id}").result
    assert created["source"] == {"type": "workersAi.model", "model_name": "m"}
    assert (created["enabled"], created["events"]) == (True, ["batch.queued", "batch.failed"])

    assert json.loads(wrangler(f"queues subscription list {name} --json")) == [created]
    one = f"{name} --id {created['id']}"
    shown = wrangler(f"queues subscription get {one}")
    assert re.search(rf"Queue ID: +{queue_id}\n", shown)
    assert re.search(r"Resource: +m\n", shown)

    changes = "--name renamed --events batch.done --enabled=false"
    assert "updated event subscription 'renamed'" in wrangler(f"queues subscription update {one} {changes}")
    changed = server.v4("GET", f"{SUBSCRIPTIONS}/{created['id']}").result
    assert (changed["name"], changed["events"], changed["enabled"]) == ("renamed", ["batch.done"], False)

    assert "deleted event subscription 'renamed'" in wrangler(f"queues subscription delete {one} --force")
    assert server.v4("GET", f"{SUBSCRIPTIONS}/{created['id']}").status == 404
    assert "does not exist" in wrangler(f"queues subscription get {one}", code=1)


def test_the_account_of_the_token_is_found_without_being_named(wrangler, server, name):
    server.create_queue(name)

    assert row_of(name, wrangler("queues list", account=None))[1] == name
    assert row_of("local", wrangler("whoami", account=None)) == ["local", "local"]


def test_a_wrong_token_is_an_authentication_error(wrangler, name):
    refused = wrangler(f"queues create {name}", token="wrong", code=1)

    assert "A request to the Cloudflare API (/accounts/local/queues) failed." in refused
    assert "Authentication error [code: 10000]" in refused
    assert "authenticating Wrangler via a custom API token" in refused


def test_an_unknown_queue_is_named_with_the_command_that_creates_it(wrangler, name):
    unknown = f'Queue "{name}" does not exist. To create it, run: wrangler queues create {name}'

    assert unknown in wrangler(f"queues info {name}", code=1)


def test_a_queue_is_not_mistaken_for_one_whose_name_begins_alike(wrangler, server, name):
    server.create_queue(f"{name}-longer")

    assert "does not exist" in wrangler(f"queues delete {name}", code=1)
    assert held(server, f"{name}-longer")["queue_name"] == f"{name}-longer"


def test_a_queue_name_that_is_taken_or_not_valid_is_refused(wrangler, server, name):
    server.create_queue(name)

    taken = f"Queue name '{name}' is already taken. Please use a different name and try again. [code: 11009]"
    assert taken in wrangler(f"queues create {name}", code=1)
    assert "[code: 11003]" in wrangler("queues create Bad_Name", code=1)


def test_settings_out_of_range_are_refused_and_change_nothing(wrangler, server, name):
    server.create_queue(name)
    before = held(server, name)

    own_check = wrangler(f"queues update {name} --message-retention-period-secs 59", code=1)
    assert "Must be between 60 and 1209600" in own_check
    servers_check = wrangler(f"queues update {name} --delivery-delay-secs 1.5", code=1)
    assert "The specified queue settings are invalid." in servers_check
    assert "[code: 100127]" in wrangler(f"queues consumer http add {name} --batch-size 101", code=1)
    assert "[code: 100127]" in wrangler(f"queues consumer worker add {name} my-worker --batch-timeout 61", code=1)

    assert held(server, name) == before
