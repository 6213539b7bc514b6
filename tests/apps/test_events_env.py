"""The bindings that a handler of events knows by name, and its way to the subscribers."""

from tests.apps.subscribers import post, subscribe, take_at_once
from tests.http.wire import eventually
from tests.support import Server

PROGRAM = """
from millrace import App

async def handle(batch, env):
    for message in batch.messages:
        event = message.body
        rows = await env.DB.prepare("select name from queues where name = ?").bind(batch.queue).all()
        await env.AUTH_KV.put("queue", rows.results[0]["name"])
        left = await env.EVENT_QUEUE.metrics()
        started = await env.PROCESS_EVENT_WORKFLOW.create(id=event["event_id"], params={"event": event})
        print(f"of {await env.AUTH_KV.get('queue')} {left.count} started {started.id}", flush=True)

app = App(handlers={"event-queue": handle})
"""
CONFIG = """
name = "api"
[[queues.producers]]
binding = "EVENT_QUEUE"
[[d1_databases]]
binding = "DB"
database_name = "events"
[[kv_namespaces]]
binding = "AUTH_KV"
id = "auth"
[[workflows]]
binding = "PROCESS_EVENT_WORKFLOW"
name = "process-event"
"""


def test_a_handler_of_ones_own_has_all_four_bindings_and_starts_the_delivery_itself(tmp_path, subscribers):
    """S4-11, S4-36, S4-37."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "wrangler.toml").write_text(CONFIG)
    arguments = ("--app", f"{tmp_path / 'program.py'}:app", "--config", str(tmp_path / "wrangler.toml"))
    environ = {"EVENTS_CONSUMER": "deliver", "FETCH_ALLOW": "localhost"}
    with Server(tmp_path / "data", *arguments, environ=environ) as server:
        take_at_once(server)
        subscribe(server, subscribers.url("/all"))

        event_id = post(server, 1).json["data"]["event_id"]

        server.wait_for_text(f"of event-queue 1 started {event_id}")
        eventually(lambda: subscribers.numbers("/all") == [1])
