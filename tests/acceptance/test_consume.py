"""`millrace consume`: handlers in processes of their own, for a server elsewhere; either may be killed."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import STDOUT
from typing import Any

import pytest

from tests.acceptance.programs import wait_until
from tests.starting import COMMAND, start
from tests.support import KEY, Server

LEASE_MS = 3000
NOTE = """
import asyncio, json, os, time

LOG = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(message, what):
    row = {{"body": message.body, "attempts": message.attempts, "at": time.monotonic(), "what": what, "pid": os.getpid()}}
    os.write(LOG, json.dumps(row).encode() + b"\\n")

{program}
"""
HANDLE = """
async def handle(batch):
    for message in batch.messages:
        note(message, "handled")
"""


class Consumer:
    """A `millrace consume` process on a handler that notes what it gets."""

    def __init__(self, folder: Path, url: str, *arguments: str, program: str = HANDLE, key: str | None = KEY) -> None:
        self.log = folder / "handled.jsonl"
        (folder / "work.py").write_text(NOTE.format(log=str(self.log), program=program))
        command = [*COMMAND, "consume", "--url", url, *arguments]
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"} | ({"MILLRACE_TOKEN": key} if key else {})
        self.output = bytearray()
        self.process = start(command, cwd=folder, env=environ, stderr=STDOUT)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.output += line

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def bodies(self) -> set[Any]:
        return {row["body"] for row in self.rows() if row["what"] == "handled"}

    def started(self) -> "Consumer":
        wait_until(lambda: b"consumer.started" in self.output, 20, f"it did not start: {self.output.decode()}")
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def consumers() -> Iterator[list[Consumer]]:
    """Consumers of a test, gone at its end."""
    started: list[Consumer] = []
    yield started
    for consumer in started:
        if consumer.process.poll() is None:
            consumer.kill()


def a_queue(server: Server, name: str = "work", **settings: Any) -> str:
    settings = {"batch_size": 5, "visibility_timeout_ms": LEASE_MS, "max_retries": 20, **settings}
    return server.create_queue(name, consumer={"type": "http_pull", "settings": settings})


def send(server: Server, queue: str, numbers: range) -> None:
    for first in range(numbers.start, numbers.stop, 100):
        part = [{"body": number} for number in range(first, min(first + 100, numbers.stop))]
        assert server.v4("POST", f"/queues/{queue}/messages/batch", {"messages": part}).status == 200


def backlog(server: Server, queue: str) -> int:
    return server.v4("GET", f"/queues/{queue}/metrics").result["backlog_count"]


def is_empty(server: Server, queue: str) -> bool:
    try:
        return backlog(server, queue) == 0
    except OSError:
        return False


FLAGS = ("--queue", "work", "--handler", "work:handle")


def test_a_killed_consumer_loses_nothing_and_takes_nothing_twice_within_a_lease(
    stopped: Server, tmp_path: Path, consumers: list[Consumer]
) -> None:
    queue = a_queue(stopped.start())
    slow = "async def handle(batch):\n    for message in batch.messages:\n        note(message, 'handled')\n    await asyncio.sleep(0.3)\n"
    send(stopped, queue, range(60))
    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS, program=slow))
    wait_until(lambda: len(consumers[0].bodies()) > 10, 15, "nothing is handled")
    consumers[0].kill()

    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS, program=slow))

    wait_until(lambda: is_empty(stopped, queue), 30, f"not all were handled: {consumers[1].output.decode()}")
    assert consumers[1].bodies() == set(range(60))
    _assert_no_overlap(consumers[1].rows())


def test_a_killed_server_loses_nothing_of_sixteen_consumers(
    stopped: Server, tmp_path: Path, consumers: list[Consumer]
) -> None:
    stopped.start()
    stopped.arguments = ("--port", stopped.url.rsplit(":", 1)[1])
    queue = a_queue(stopped)
    program = "async def handle(batch):\n    for message in batch.messages:\n        note(message, 'handled')\n    await asyncio.sleep(0.05)\n"
    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS, "--processes", "16", program=program))
    wait_until(lambda: consumers[0].output.count(b"consumer.started") == 16, 30, "sixteen processes do not start")
    send(stopped, queue, range(800))
    wait_until(lambda: len(consumers[0].bodies()) > 100, 30, f"nothing is handled: {consumers[0].output.decode()}")

    stopped.kill()
    stopped.start()

    send(stopped, queue, range(800, 900))
    wait_until(lambda: is_empty(stopped, queue), 40, f"not all were handled: {consumers[0].output.decode()[-2000:]}")
    assert consumers[0].bodies() == set(range(900))
    assert len({row["pid"] for row in consumers[0].rows()}) > 8
    _assert_no_overlap(consumers[0].rows())


def test_a_killed_process_of_several_is_replaced(stopped: Server, tmp_path: Path, consumers: list[Consumer]) -> None:
    queue = a_queue(stopped.start())
    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS, "--processes", "2"))
    wait_until(lambda: consumers[0].output.count(b"consumer.started") == 2, 15, "two processes do not start")
    send(stopped, queue, range(10))
    wait_until(lambda: is_empty(stopped, queue), 20, "not all were handled")

    os.kill(consumers[0].rows()[-1]["pid"], signal.SIGKILL)

    wait_until(lambda: consumers[0].output.count(b"consumer.started") == 3, 15, "no other takes its place")
    assert consumers[0].stop() == 0


def test_a_handler_that_takes_longer_than_its_lease_keeps_its_messages(
    stopped: Server, tmp_path: Path, consumers: list[Consumer]
) -> None:
    queue = a_queue(stopped.start(), visibility_timeout_ms=1000)
    slow = "async def handle(batch):\n    await asyncio.sleep(2.5)\n    for message in batch.messages:\n        note(message, 'handled')\n"
    consumers += [Consumer(tmp_path, stopped.url, *FLAGS, "--processes", "2", program=slow)]
    send(stopped, queue, range(1))

    wait_until(lambda: is_empty(stopped, queue), 20, consumers[0].output.decode())

    assert [row["attempts"] for row in consumers[0].rows()] == [1]


def test_a_consumer_makes_what_is_missing_and_waits_for_its_server(
    stopped: Server, tmp_path: Path, consumers: list[Consumer]
) -> None:
    stopped.start()
    port = stopped.url.rsplit(":", 1)[1]
    stopped.stop()
    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS))
    wait_until(lambda: b"server.unreachable" in consumers[0].output, 15, "it does not say that the server is away")

    stopped.arguments = ("--port", port)
    stopped.start()

    consumers[0].started()
    queue = stopped.v4("GET", "/queues?name=work").result[0]
    assert queue["consumers"][0]["type"] == "worker"


def test_outcomes_of_every_kind_reach_the_server(stopped: Server, tmp_path: Path, consumers: list[Consumer]) -> None:
    queue = a_queue(stopped.start())
    dead = stopped.create_queue("dead")
    [consumer] = stopped.v4("GET", f"/queues/{queue}").result["consumers"]
    settings = {"type": "http_pull", "dead_letter_queue": "dead", "settings": {"max_retries": 1}}
    stopped.v4("PUT", f"/queues/{queue}/consumers/{consumer['consumer_id']}", settings)
    program = """
from millrace import PermanentError, each
async def one(message):
    note(message, "handled")
    if message.body == "reject":
        raise PermanentError("no such thing")
    if message.body == "retry":
        message.retry(delay_seconds=0)
    if message.body == "fail":
        raise ValueError("bad")
handle = each(one)
"""
    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS, program=program).started())

    for body in ("ack", "reject", "retry", "fail"):
        stopped.v4("POST", f"/queues/{queue}/messages", {"body": body})

    wait_until(lambda: is_empty(stopped, queue) and backlog(stopped, dead) == 3, 15, consumers[0].output.decode())
    assert Counter(row["body"] for row in consumers[0].rows()) == {"ack": 1, "reject": 1, "retry": 2, "fail": 2}
    peeked = stopped.v4("POST", f"/queues/{dead}/messages/peek", {}).result["messages"]
    assert sorted(message["metadata"]["Millrace-Reason"] for message in peeked) == [
        "ValueError",
        "max_retries",
        "no such thing",
    ]


def test_a_stopped_consumer_finishes_its_batch_and_leaves_no_lease(
    stopped: Server, tmp_path: Path, consumers: list[Consumer]
) -> None:
    queue = a_queue(stopped.start(), batch_size=2)
    slow = "async def handle(batch):\n    for message in batch.messages:\n        note(message, 'handled')\n    await asyncio.sleep(1)\n"
    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS, program=slow).started())
    send(stopped, queue, range(40))
    wait_until(lambda: len(consumers[0].rows()) > 3, 15, "nothing is handled")

    assert consumers[0].stop() == 0

    handled = len(consumers[0].bodies())
    assert backlog(stopped, queue) == 40 - handled
    left = stopped.v4("POST", f"/queues/{queue}/messages/pull", {"batch_size": 100}).result["messages"]
    assert len(left) == 40 - handled
    assert {message["attempts"] for message in left} == {1}


@pytest.mark.parametrize(
    ("arguments", "key", "code", "sentence"),
    [
        (FLAGS, "sk_live_wrong", 3, "Authentication"),
        ((*FLAGS, "--processes", "2"), "sk_live_wrong", 3, "Authentication"),
        (FLAGS, None, 3, "MILLRACE_TOKEN"),
        (("--queue", "work", "--handler", "work:missing"), KEY, 1, "missing"),
        (("--queue", "work", "--handler", "nowhere:handle"), KEY, 1, "nowhere"),
        (("--queue", "work"), KEY, 2, "--handler"),
        (("--queue", "Work!", "--handler", "work:handle"), KEY, 1, "Work!"),
    ],
)
def test_a_consumer_that_cannot_work_says_why(
    server: Server, tmp_path: Path, arguments: tuple[str, ...], key: str | None, code: int, sentence: str
) -> None:
    consumer = Consumer(tmp_path, server.url, *arguments, key=key)

    assert consumer.process.wait(20) == code
    wait_until(lambda: sentence in consumer.output.decode(), 5, consumer.output.decode())


def test_a_queue_that_the_server_pushes_itself_is_no_queue_to_consume(server: Server, tmp_path: Path) -> None:
    server.create_queue("pushed", consumer={"type": "http_push", "url": "https://example.com/hook"})

    consumer = Consumer(tmp_path, server.url, "--queue", "pushed", "--handler", "work:handle", "--processes", "2")

    assert consumer.process.wait(20) == 1
    wait_until(lambda: b"consumer of type http_push" in consumer.output, 5, consumer.output.decode())


def test_a_key_of_one_queue_with_the_role_consumer_is_enough(
    stopped: Server, tmp_path: Path, consumers: list[Consumer]
) -> None:
    queue = a_queue(stopped.start())
    key = stopped.call("POST", "/api/keys", {"role": "consumer", "queues": ["work"]}).json["secret"]
    send(stopped, queue, range(3))

    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS, key=key))

    wait_until(lambda: is_empty(stopped, queue), 15, consumers[0].output.decode())


def test_children_of_a_killed_process_end_also_while_the_server_is_away(
    tmp_path: Path, consumers: list[Consumer]
) -> None:
    consumers.append(Consumer(tmp_path, "http://127.0.0.1:1", *FLAGS, "--processes", "2"))
    wait_until(lambda: len(_children(consumers[0])) == 2, 15, "they do not start")
    children = _children(consumers[0])

    consumers[0].kill()

    wait_until(lambda: not any(map(_is_alive, children)), 10, "they outlive their parent")


def test_a_signal_that_reaches_a_process_twice_lets_it_finish(
    stopped: Server, tmp_path: Path, consumers: list[Consumer]
) -> None:
    queue = a_queue(stopped.start())
    slow = "async def handle(batch):\n    note(batch.messages[0], 'began')\n    await asyncio.sleep(0.5)\n"
    consumers.append(Consumer(tmp_path, stopped.url, *FLAGS, "--processes", "2", program=slow))
    send(stopped, queue, range(1))
    wait_until(lambda: len(consumers[0].rows()) == 1, 15, "nothing is handled")

    os.kill(consumers[0].rows()[0]["pid"], signal.SIGTERM)
    time.sleep(0.1)  # as long as a supervisor takes to come to the parent
    code = consumers[0].stop()

    assert (code, backlog(stopped, queue)) == (0, 0)


def _children(consumer: Consumer) -> list[int]:
    number = consumer.process.pid
    return [int(child) for child in Path(f"/proc/{number}/task/{number}/children").read_text().split()]


def _is_alive(number: int) -> bool:
    status = Path(f"/proc/{number}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _assert_no_overlap(rows: list[dict[str, Any]]) -> None:
    """A message that came again came after the lease of the delivery before."""
    last: dict[Any, float] = {}
    for row in sorted(rows, key=lambda row: row["at"]):
        before = last.get(row["body"])
        assert before is None or (row["at"] - before) * 1000 > LEASE_MS * 0.9, row
        last[row["body"]] = row["at"]


def test_a_consumer_of_a_file_makes_what_is_missing_as_the_file_says(
    stopped: Server, tmp_path: Path, consumers: list[Consumer]
) -> None:
    stopped.start()
    (tmp_path / "wrangler.toml").write_text(
        'name = "shop"\n[[queues.consumers]]\nqueue = "work"\nhandler = "work:handle"\n'
        'max_batch_timeout = 0\nmax_retries = 1\ndead_letter_queue = "dead"\n'
        '[[queues.producers]]\nbinding = "OUT"\nqueue = "out"\n'
    )
    program = "async def handle(batch, env):\n    await env.OUT.send(batch.messages[0].body)\n"

    consumers.append(Consumer(tmp_path, stopped.url, "--config", "wrangler.toml", program=program).started())

    [queue] = stopped.v4("GET", "/queues?name=work").result
    [consumer] = queue["consumers"]
    assert (consumer["script"], consumer["dead_letter_queue"]) == ("shop", "dead")
    assert (consumer["settings"]["max_retries"], consumer["settings"]["max_wait_time_ms"]) == (1, 0)
    stopped.v4("POST", f"/queues/{queue['queue_id']}/messages", {"body": 7})
    [out] = stopped.v4("GET", "/queues?name=out").result
    wait_until(lambda: backlog(stopped, out["queue_id"]) == 1, 10, "nothing is sent on")


def test_a_handler_that_cannot_be_called_makes_nothing_at_the_server(stopped: Server, tmp_path: Path) -> None:
    consumer = Consumer(tmp_path, stopped.start().url, *FLAGS, program="handle = 3\n")

    assert consumer.process.wait(20) == 1
    assert stopped.v4("GET", "/queues?name=work").result == []
