"""The official npm SDK: small programs that tell what they saw, and what the server then holds."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import Server
from tests.tools.conftest import Node

pytestmark = pytest.mark.xdist_group("cloudflare-tools")

Tell = Callable[..., Any]


@pytest.fixture
def tell(node: Node, server: Server, tmp_path: Path) -> Tell:
    """Run a program that talks to the server, and give what it tells."""
    environ = {
        "CLOUDFLARE_ACCOUNT_ID": "local",
        "CLOUDFLARE_API_TOKEN": server.key,
        "CLOUDFLARE_BASE_URL": f"{server.url}/client/v4",
    }

    def run(program: str, *arguments: str) -> Any:
        ran = node(program, *arguments, cwd=tmp_path, environ=environ)
        assert ran.code == 0, ran
        return json.loads(ran.out)

    return run


def bodies(answer: dict[str, Any]) -> list[str]:
    return [message["body"] for message in answer["messages"]]


def test_a_queue_and_its_consumer_live_and_go(tell, server):
    story = tell("queue_story.mjs")

    created, updated, consumer = story["created"], story["updated"], story["consumer"]
    assert (created["queue_name"], created["jurisdiction"]) == ("npm-life", "eu")
    assert "npm-life" in story["listed"]
    assert story["edited"]["settings"] == {
        "delivery_delay": 5,
        "delivery_paused": False,
        "message_retention_period": 600,
    }
    assert (updated["queue_id"], updated["queue_name"]) == (created["queue_id"], "npm-renamed")
    assert (updated["settings"]["delivery_delay"], updated["settings"]["message_retention_period"]) == (9, 345600)
    assert story["read"] == updated

    assert (consumer["script_name"], consumer["dead_letter_queue"]) == ("my-worker", "npm-dlq")
    assert (consumer["settings"]["batch_size"], consumer["settings"]["max_concurrency"]) == (20, 4)
    assert story["consumers"] == [consumer]
    assert (story["replaced"]["script_name"], story["replaced"]["settings"]["batch_size"]) == ("other", 10)
    assert story["shown"] == story["replaced"]
    assert story["detached"]["success"] is True

    assert story["metrics"] == {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}
    assert story["deleted"]["success"] is True
    assert not {"npm-life", "npm-renamed"} & set(story["left"])
    assert "npm-dlq" in story["left"]
    assert server.v4("GET", f"/queues/{created['queue_id']}").status == 404


def test_messages_are_pushed_pulled_settled_and_purged(tell, server):
    queue_id = server.create_queue("npm-messages", consumer={"type": "http_pull"})

    story = tell("message_story.mjs", queue_id)

    assert story["pushed"]["metadata"]["metrics"]["backlog_count"] == 1
    assert story["bulk"]["metadata"]["metrics"]["backlog_count"] == 5
    as_json = base64.b64encode('{"greeting":"hé"}'.encode()).decode()
    assert bodies(story["peeked"]) == [as_json, "plain ☃", "third", "delayed", "purged"]
    assert story["discarded"] == {"errors": [], "warnings": {"nothing": story["discarded"]["warnings"]["nothing"]}}

    pulled = story["pulled"]
    assert bodies(pulled) == [as_json, "plain ☃", "third"]
    assert [message["attempts"] for message in pulled["messages"]] == [1, 1, 1]
    assert [message["metadata"]["CF-Content-Type"] for message in pulled["messages"]] == ["json", "text", "text"]
    assert pulled["message_backlog_count"] == pulled["metadata"]["metrics"]["backlog_count"] == 4

    assert story["settled"] == {"ackCount": 1, "retryCount": 2, "warnings": {}}
    [again] = story["again"]["messages"]
    assert (again["id"], again["attempts"]) == (pulled["messages"][1]["id"], 2)
    assert (story["late"]["ackCount"], list(story["late"]["warnings"])) == (0, [story["leases"][0]["lease_id"]])

    assert story["backlog"]["backlog_count"] == 3
    assert story["unpurged"] == {}
    assert story["purged"]["queue_id"] == queue_id
    assert set(story["status"]) == {"started_at", "completed"}
    assert story["empty"]["backlog_count"] == 0
    assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == 0


def test_subscriptions_are_created_listed_page_by_page_changed_and_deleted(tell, server):
    queue_id = server.create_queue("npm-events")

    story = tell("subscription_story.mjs", queue_id)

    created = story["created"]
    assert (created["enabled"], created["source"]) == (True, {"type": "workersAi.model", "model_name": "m"})
    assert created["destination"] == {"type": "queues.queue", "queue_id": queue_id}
    assert [subscription["name"] for subscription in story["listed"]] == ["a", "b"]
    assert (story["updated"]["name"], story["updated"]["enabled"]) == ("b", False)
    assert story["read"] == story["updated"]
    assert story["deleted"]["id"] == created["id"]
    assert server.v4("GET", "/event_subscriptions/subscriptions").result == story["left"]
    assert [subscription["name"] for subscription in story["left"]] == ["a"]


def test_errors_are_thrown_by_class_and_what_cannot_succeed_is_asked_once(tell, server):
    server.create_queue("npm-errors")
    queue_id = server.create_queue("npm-unpullable")
    pullable = server.create_queue("npm-pullable", consumer={"type": "http_pull"})

    thrown = tell("error_story.mjs", queue_id, pullable)

    assert {name: (error["kind"], error["status"], error["code"]) for name, error in thrown.items()} == {
        "token": ("AuthenticationError", 401, 10000),
        "account": ("PermissionDeniedError", 403, 10000),
        "queue": ("NotFoundError", 404, 11000),
        "consumer": ("NotFoundError", 404, 11005),
        "name": ("BadRequestError", 400, 11003),
        "setting": ("BadRequestError", 400, 100128),
        "delay": ("BadRequestError", 400, 10203),
        "taken": ("ConflictError", 409, 11009),
        "second": ("ConflictError", 409, 11004),
        "large": ("APIError", 413, 10204),
        "many": ("APIError", 413, 10206),
        "pull": ("APIError", 405, 10405),
        "paused": ("ConflictError", 409, 10252),
    }
    assert {error["asked"] for error in thrown.values()} == {1}
    assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == 0
