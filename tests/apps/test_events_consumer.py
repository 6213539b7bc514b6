"""Events on their way to a handler, and to the dead-letter queue."""

import http.client
import re
import time
from urllib.parse import urlsplit

import pytest

from tests.http.wire import backlog, consumer_of, eventually, peek, push, queue_named
from tests.support import KEY, Server

HANDLER = """
from millrace import App

async def handle(batch):
    attempts = {message.attempts for message in batch.messages}
    print(f"batch of {len(batch.messages)} attempts {attempts}", flush=True)
    if "FAIL" == "%s":
        raise ValueError("it will not work")

app = App(handlers={"event-queue": handle})
"""
FORWARDER = """
from millrace import App
from millrace.apps.events import send_event_to_queue

async def forward(batch, env):
    for message in batch.messages:
        sent = await send_event_to_queue(env, message.body, {"n": 1}, None, "11111111-2222-4333-8444-555555555555")
        print(f"sent {sent}", flush=True)

app = App(handlers={"in": forward})
"""
FORWARDER_CONFIG = """
name = "forwarder"
[[queues.producers]]
binding = "EVENT_QUEUE"
[[queues.consumers]]
queue = "in"
max_batch_timeout = 0
"""


def with_handler(folder, program, *more):
    path = folder / "program.py"
    path.write_text(program)
    return Server(folder / "data", "--app", f"{path}:app", *more)


def post_events(server, count):
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=15)
    for number in range(count):
        connection.request("POST", "/events", b'{"payload":{"n":%d}}' % number, {"Authorization": f"Bearer {KEY}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def batches(server):
    return [int(size) for size in re.findall(r"batch of (\d+)", server.text)]


def id_of(server, name):
    return queue_named(server, name)["queue_id"]


def count_of(server, name):
    return backlog(server, id_of(server, name))["backlog_count"]


def do_not_wait_for_batches(server):
    """Let the consumer of event-queue take what there is; the other settings stay."""
    queue = id_of(server, "event-queue")
    consumer = consumer_of(server, queue)
    body = {
        "type": "worker",
        "script_name": consumer["script"],
        "dead_letter_queue": "event-dlq",
        "settings": consumer["settings"] | {"max_wait_time_ms": 0},
    }
    assert server.v4("PUT", f"/queues/{queue}/consumers/{consumer['consumer_id']}", body).status == 200
    return queue


def test_250_events_come_as_two_full_batches_at_once_and_50_wait(tmp_path):
    """S4-13, S4-14."""
    with with_handler(tmp_path, HANDLER % "no") as server:
        post_events(server, 250)

        eventually(lambda: sum(batches(server)) >= 200)
        eventually(lambda: count_of(server, "event-queue") == 50)
        time.sleep(1)  # the subject is that nothing happens

        assert batches(server) == [100, 100]
        assert count_of(server, "event-queue") == 50


def test_a_failing_handler_gets_1_and_3_deliveries_and_then_the_events_are_dead_letters(tmp_path):
    """S4-15, S4-16."""
    with with_handler(tmp_path, HANDLER % "FAIL") as server:
        post_events(server, 100)

        eventually(lambda: count_of(server, "event-dlq") == 100, 15)

        assert re.findall(r"attempts (\{\d\})", server.text) == ["{1}", "{2}", "{3}", "{4}"]
        assert count_of(server, "event-queue") == 0
        assert peek(server, id_of(server, "event-dlq"))[0]["metadata"]["X-Correlation-ID"]
        server.wait_for_text("Handler failed")


def test_a_handler_sends_an_event_through_its_env(tmp_path):
    """S4-17, S4-36."""
    config = tmp_path / "wrangler.toml"
    config.write_text(FORWARDER_CONFIG)
    with with_handler(tmp_path, FORWARDER, "--config", str(config)) as server:
        assert push(server, id_of(server, "in"), "7ad1bd9f-7a4a-4bd1-8df0-2b6e2f8a5b0c").status == 200

        server.wait_for_text("sent {'success': True}")

        message = peek(server, id_of(server, "event-queue"))[0]
        assert message["metadata"]["X-Correlation-ID"] == "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def logging_server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("log") / "data", environ={"EVENTS_CONSUMER": "log"}) as running:
        do_not_wait_for_batches(running)
        yield running


def test_the_consumer_log_writes_a_line_for_each_event_and_acknowledges_it(logging_server):
    """S4-35, S4-38, X29."""
    reply = logging_server.call("POST", "/events", {"payload": {"a": 1}})
    event_id = reply.json["data"]["event_id"]

    def lines():
        return [line for line in logging_server.log_lines() if line.get("event_id") == event_id]

    eventually(lambda: len(lines()) == 2)
    queued, received = lines()
    assert (queued["message"], received["message"]) == ("Event queued successfully", "Event received")
    assert queued["correlation_id"] == received["correlation_id"] == reply.headers["x-correlation-id"]
    assert (received["queue"], received["attempts"], received["level"]) == ("event-queue", 1, "info")
    eventually(lambda: count_of(logging_server, "event-queue") == 0)


def test_the_consumer_moves_a_marked_message_to_the_dead_letter_queue_without_burning_retries(logging_server):
    """S4-24."""
    queue = id_of(logging_server, "event-queue")
    event = {"event_id": "marked", "payload": {"_force_dlq": True, "a": 1}, "timestamp": "2025-11-10T12:34:56.789Z"}
    push(logging_server, queue, event)

    eventually(lambda: count_of(logging_server, "event-dlq") == 1)

    message = peek(logging_server, id_of(logging_server, "event-dlq"))[0]
    assert message["metadata"]["Millrace-Reason"] == "dlq_routing"
    assert (message["attempts"], count_of(logging_server, "event-queue")) == (0, 0)


@pytest.mark.parametrize("body", ["text", 5, None, [], {"payload": "x"}, {"payload": {"_force_dlq": "true"}}, {}])
def test_the_consumer_survives_messages_that_are_no_events(logging_server, body):
    """S4-38."""
    queue = id_of(logging_server, "event-queue")
    before = count_of(logging_server, "event-dlq")

    push(logging_server, queue, body)

    eventually(lambda: count_of(logging_server, "event-queue") == 0)
    assert count_of(logging_server, "event-dlq") == before


@pytest.mark.parametrize(("kind", "body"), [("text", "plain"), ("bytes", "/w=="), ("v8", "/w9J")])
def test_the_consumer_survives_other_content_types(logging_server, kind, body):
    """S4-38."""
    push(logging_server, id_of(logging_server, "event-queue"), body, content_type=kind)

    eventually(lambda: count_of(logging_server, "event-queue") == 0)


def test_an_unknown_consumer_stops_the_start(tmp_path):
    """X29."""
    server = Server(tmp_path / "data", environ={"EVENTS_CONSUMER": "eat"})

    with pytest.raises(AssertionError, match="EVENTS_CONSUMER"), server:
        pass
