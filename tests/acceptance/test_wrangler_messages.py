"""The wrangler file of the messaging application as its page has it: its numbers count, the rest stays the application's."""

from pathlib import Path
from typing import Any

import pytest

from tests.apps.message_rooms import email
from tests.apps.test_messages_routes import ended, post
from tests.cli.commands import run
from tests.support import Server

LITERAL = """\
{
  // wrangler.jsonc
  "name": "messages",
  "queues": {
    "producers": [
      {"queue": "message-delivery", "binding": "MESSAGE_QUEUE"}
    ],
    "consumers": [
      {
        "queue": "message-delivery",
        "max_batch_size": 10,     // up to 10 jobs at once
        "max_batch_timeout": 30,  /* seconds */
        "max_retries": 5,
        "dead_letter_queue": "dlq",
      }
    ]
  },
  "env": {
    "staging": {
      "queues": {
        "producers": [{"queue": "message-drafts", "binding": "MESSAGE_QUEUE"}],
        "consumers": [{"queue": "message-delivery", "max_batch_size": 3, "max_batch_timeout": 1, "max_retries": 2}]
      }
    }
  }
}
"""
BACKOFF = {"kind": "exponential", "base_seconds": 7, "factor": 2, "cap_seconds": 86_400, "jitter": 0}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "wrangler.jsonc"
    file.write_text(LITERAL)
    return file


def server_of(file: Path, *arguments: str) -> Server:
    return Server(file.parent / "data", "--config", str(file), *arguments, environ={"RETRY_BASE_SECONDS": "7"})


def shown(server: Server, queue: str = "message-delivery") -> dict[str, Any]:
    return run("queues", "info", queue, "--json", server=server).json


def numbers_of(consumer: dict[str, Any]) -> list[Any]:
    names = ("batch_size", "max_wait_time_ms", "max_retries", "max_attempts", "flush_on")
    return [consumer["settings"][name] for name in names]


def test_the_literal_file_gives_binding_and_consumer_and_the_application_goes_on_with_its_queue(file: Path) -> None:
    """S1-03, S1-04, S1-65, S1-78."""
    with server_of(file) as server:
        queue = shown(server)
        post(server, email())

        [consumer] = queue["consumers"]
        assert [producer["script"] for producer in queue["producers"]] == ["messages"]
        assert numbers_of(consumer) == [10, 30_000, 5, 3, "high"]
        assert consumer["settings"]["backoff"] == BACKOFF
        assert consumer["dead_letter_queue"] == "dlq"
        assert ended(server, "msg-1", "stored")["attempts"] == 1


def test_another_number_in_the_file_is_another_number_in_the_queue(file: Path) -> None:
    """S1-04: changing the file changes behaviour."""
    with server_of(file) as server:
        server.stop()
        file.write_text(LITERAL.replace('"max_retries": 5', '"max_retries": 1').replace(": 30,", ": 2,"))

        server.start()
        changed = shown(server)["consumers"][0]
        server.stop()
        file.write_text('{"name": "messages"}')
        server.start()
        left = shown(server)["consumers"][0]

    assert numbers_of(changed) == [10, 2000, 1, 3, "high"]
    assert numbers_of(left) == [10, 30_000, 5, 3, "high"]
    assert left["settings"]["backoff"] == BACKOFF


def test_an_environment_has_other_names_and_limits(file: Path) -> None:
    """S1-77."""
    with server_of(file, "--env", "staging") as server:
        queue = shown(server)
        post(server, email(priority="normal"))

        assert numbers_of(queue["consumers"][0]) == [3, 1000, 2, 3, "high"]
        assert queue["producers"] == []
        assert [producer["script"] for producer in shown(server, "message-drafts")["producers"]] == ["messages-staging"]
        assert ended(server, "msg-1", "stored")["attempts"] == 1
