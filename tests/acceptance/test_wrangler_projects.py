"""Projects as they come from Cloudflare: their wrangler file in a folder, and a server that is started with it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.acceptance.programs import wait_until
from tests.support import Server

PLAIN = {
    "wrangler.toml": """\
name = "my-worker"
main = "src/index.js"
[[queues.producers]]
binding = "MY_QUEUE"      # required, string: env.MY_QUEUE
queue = "my-queue"        # name
delivery_delay = 60       # deprecated, ignored
remote = false
[[queues.consumers]]
queue = "my-queue"        # required
type = "worker"           # optional; only "worker"
max_batch_size = 10
max_batch_timeout = 5     # seconds
max_retries = 3
dead_letter_queue = "my-dlq"
max_concurrency = 2
retry_delay = 30
visibility_timeout_ms = 5000
[[env.staging.queues.consumers]]
queue = "my-queue-staging"
"""
}
CONTEXTS = {
    "wrangler.toml": """\
[[queues.consumers]]
queue = "chittycontext-secret-distribution-work"
max_batch_size = 10
max_batch_timeout = 30

[[queues.producers]]
binding = "BLOCKCHAIN_QUEUE"
queue = "chittychain-blockchain-queue-work"
"""
}
MESSAGES = {
    "wrangler.jsonc": """\
{
  // one queue for all kinds of messages
  "name": "messages",
  "queues": {
    "producers": [{"queue": "message-delivery", "binding": "MESSAGE_QUEUE"}],
    "consumers": [
      {
        "queue": "message-delivery",
        "max_batch_size": 10,
        "max_batch_timeout": 30, /* seconds */
        "max_retries": 5,
        "dead_letter_queue": "dlq",
      },
    ],
  },
}
"""
}
JOBS = {"wrangler.toml": 'name = "jobs"\n\n[triggers]\ncrons = ["*/10 * * * *"]\n'}
DOCUMENTS = {
    "wrangler.jsonc": """\
{
  "queues": {
    "producers": [
      {"binding": "DOCUMENT_INGESTION_QUEUE", "queue": "document-ingestion"},
      {"binding": "WEBHOOK_PROCESSING_QUEUE", "queue": "webhook-processing"},
      {"binding": "BATCH_REPROCESSING_QUEUE", "queue": "batch-reprocessing"}
    ],
    "consumers": [
      {"queue": "document-ingestion", "max_batch_size": 10, "max_retries": 3},
      {"queue": "webhook-processing", "max_batch_size": 5, "max_retries": 5},
      {"queue": "batch-reprocessing", "max_batch_size": 20, "max_retries": 2}
    ]
  },
  "durable_objects": {
    "bindings": [
      {"binding": "DOCUMENT_COORDINATOR", "class_name": "DocumentCoordinator", "script_name": "queue-processor"}
    ]
  }
}
"""
}
EVENTS = {
    "wrangler.toml": """\
[[queues.producers]]
binding = "EVENT_QUEUE"

[[queues.consumers]]
queue = "event-queue"
max_batch_size = 100
max_batch_timeout = 30
max_retries = 3
dead_letter_queue = "event-dlq"
"""
}
DEFAULTS = {"batch_size": 10, "max_wait_time_ms": 5000, "max_retries": 3}
OF_CRONS = {"batch_size": 1, "max_concurrency": 1, "max_retries": 3, "retry_delay": 30}
# in every account, whatever its file says
OF_THE_APPLICATIONS = (
    *("event-queue", "event-dlq", "jobs", "jobs-dlq", "message-delivery", "dlq"),
    *("crons-clean-up", "crons-clean-up-dlq"),  # where the file has crons
)
OF_MESSAGES = {  # the first three are the file's, the others the application's own
    "batch_size": 10,
    "max_wait_time_ms": 30_000,
    "max_retries": 5,
    "max_attempts": 3,
    "backoff": {"kind": "exponential", "base_seconds": 60, "factor": 2, "cap_seconds": 86_400, "jitter": 0},
    "flush_on": "high",
}


class Found(msgspec.Struct, frozen=True):
    """A queue as the API shows it: the script that consumes it, settings and dead letters, the scripts that send."""

    script: str | None = None
    settings: dict[str, Any] = {}
    dead_letter_queue: str | None = None
    producers: list[str] = []


EXPECTED = [
    (
        PLAIN,
        {
            "my-queue": Found(
                "my-worker", DEFAULTS | {"max_concurrency": 2, "retry_delay": 30}, "my-dlq", ["my-worker"]
            ),
            "my-dlq": Found(),
        },
        [':6: "queues.producers[0].delivery_delay" is deprecated'],
    ),
    (
        CONTEXTS,
        {
            "chittycontext-secret-distribution-work": Found("local", DEFAULTS | {"max_wait_time_ms": 30_000}),
            "chittychain-blockchain-queue-work": Found(producers=["local"]),
        },
        [],
    ),
    (
        MESSAGES,
        {
            "message-delivery": Found("messages", OF_MESSAGES, "dlq", ["messages"]),
            "dlq": Found(),
        },
        [],
    ),
    (JOBS, {"crons-jobs": Found("crons", OF_CRONS, "crons-jobs-dlq"), "crons-jobs-dlq": Found()}, []),
    (
        {"wrangler.toml": f'main = "a.js"\n{JOBS["wrangler.toml"]}'},
        {"crons-jobs": Found("crons", OF_CRONS, "crons-jobs-dlq"), "crons-jobs-dlq": Found()},
        [":5: crons are read"],
    ),
    (
        DOCUMENTS,
        {
            "document-ingestion": Found("local", DEFAULTS, None, ["local"]),
            "webhook-processing": Found("local", DEFAULTS | {"batch_size": 5, "max_retries": 5}, None, ["local"]),
            "batch-reprocessing": Found("local", DEFAULTS | {"batch_size": 20, "max_retries": 2}, None, ["local"]),
        },
        [],
    ),
    (
        EVENTS,
        {
            "event-queue": Found(
                "local", {"batch_size": 100, "max_wait_time_ms": 30_000, "max_retries": 3}, "event-dlq", ["local"]
            ),
            "event-dlq": Found(),
        },
        [':1: "queues.producers[0]" has no "queue" field; "event-queue" is taken from its binding "EVENT_QUEUE"'],
    ),
]
NAMES = ["plain", "contexts", "messages", "jobs", "jobs in JavaScript", "documents", "events"]

FUNCTION = """
async def queue(batch, env, ctx):
    print("function has", len(batch.messages), "from", batch.queue)
    await env.MY_QUEUE.send({"again": False}, delay_seconds=600)
"""
WORKER = """
from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        await self.env.MESSAGE_QUEUE.send("hello", contentType="text")
        return Response("ok")

    async def queue(self, batch, env=None, ctx=None):
        await self.env.MESSAGE_QUEUE.sendBatch([{"body": {"k": 1}}, {"body": "x", "contentType": "text"}], delaySeconds=600)
        for message in batch.messages:
            if message.body["n"] == 3 and message.attempts == 1:
                message.retry(delaySeconds=600)
            else:
                message.ack()
        print("worker has", sum(message.body["n"] for message in batch.messages), "from", batch.queue)
"""


def _project(folder: Path, **files: str) -> Server:
    """Make the project, and a server for it that is not yet started."""
    for name, text in files.items():
        (folder / name).write_text(text)
    [config] = [name for name in files if name.startswith("wrangler.")]
    return Server(folder / "data", "--config", str(folder / config))


def _found(server: Server) -> dict[str, Found]:
    """Give the queues of the server, with the settings that a worker's consumer shows."""
    found = {}
    for queue in server.v4("GET", "/queues").json["result"]:
        consumer = next(iter(queue["consumers"]), {"settings": {}})
        settings = {key: value for key, value in consumer["settings"].items() if value}
        producers = [producer["script"] for producer in queue["producers"]]
        dead_letter_queue = consumer.get("dead_letter_queue") or None
        found[queue["queue_name"]] = Found(consumer.get("script"), settings, dead_letter_queue, producers)
    return found


def _warnings(server: Server) -> list[str]:
    return [line["warning"] for line in server.log_lines() if line["event"] == "configuration.warning"]


def _send(server: Server, queue: str, *bodies: Any) -> None:
    messages = {"messages": [{"body": body} for body in bodies]}
    assert server.v4("POST", f"/queues/{_queue_id(server, queue)}/messages/batch", messages).status == 200


def _backlog(server: Server, queue: str) -> int:
    return server.v4("GET", f"/queues/{_queue_id(server, queue)}/metrics").result["backlog_count"]


def _queue_id(server: Server, queue: str) -> str:
    [found] = server.v4("GET", f"/queues?name={queue}").json["result"]
    return found["queue_id"]


@pytest.mark.parametrize(("files", "queues", "warnings"), EXPECTED, ids=NAMES)
def test_a_file_from_cloudflare_starts_a_server_with_its_queues(
    files: dict[str, str], queues: dict[str, Found], warnings: list[str], tmp_path: Path
) -> None:
    with _project(tmp_path, **files) as server:
        found = _found(server)

    assert {name: found.get(name) for name in queues} == queues
    assert found.keys() - queues.keys() <= set(OF_THE_APPLICATIONS)
    told = _warnings(server)
    assert len(told) == len(warnings)
    assert all(part in whole for part, whole in zip(warnings, told, strict=True)), told


def test_an_environment_has_its_own_queues_and_script_name(tmp_path: Path) -> None:
    project = _project(tmp_path, **PLAIN)
    project.arguments += ("--env", "staging")

    with project as server:
        found = _found(server)

    assert "my-queue" not in found
    assert found["my-queue-staging"] == Found("my-worker-staging", DEFAULTS)


def test_a_function_gets_the_batches_of_the_file(tmp_path: Path) -> None:
    text = PLAIN["wrangler.toml"].replace('type = "worker"', 'handler = "consumer.py:queue"')

    with _project(tmp_path, **{"wrangler.toml": text, "consumer.py": FUNCTION}) as server:
        _send(server, "my-queue", *range(10))

        server.wait_for_text("function has 10 from my-queue")
        wait_until(lambda: _backlog(server, "my-queue") == 1, 5, "only what the function sent should be left")


def test_a_python_worker_gets_the_batches_of_the_file(tmp_path: Path) -> None:
    text = MESSAGES["wrangler.jsonc"].replace('"messages",', '"messages", "main": "worker.py",')

    with _project(tmp_path, **{"wrangler.jsonc": text, "worker.py": WORKER}) as server:
        _send(server, "message-delivery", *({"n": number} for number in range(10)))

        server.wait_for_text("worker has 45 from message-delivery")
        wait_until(lambda: _backlog(server, "message-delivery") == 3, 5, "two that were sent, one retried")


def test_a_consumer_that_the_file_names_no_more_is_detached_and_its_messages_stay(tmp_path: Path) -> None:
    whole = CONTEXTS["wrangler.toml"]
    gone = "chittycontext-secret-distribution-work"
    with _project(tmp_path, **CONTEXTS) as server:
        _send(server, gone, "a secret")
        server.stop()
        (tmp_path / "wrangler.toml").write_text(whole[whole.index("[[queues.producers]]") :])

        server.start()

        assert _found(server)[gone] == Found()
        assert _backlog(server, gone) == 1
        assert f"- consumer of {gone}: worker local (its messages stay)" in server.text


def test_the_dead_letters_of_events_never_expire_though_the_file_names_their_queue(tmp_path):
    with _project(tmp_path, **EVENTS) as server:
        [queue] = server.v4("GET", "/queues?name=event-dlq").result

    assert "message_retention_period" not in queue["settings"]
