"""Programs written for Cloudflare's Python Workers run as they are."""

import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from millrace.bindings import Env, QueueBinding
from millrace.errors import ConfigurationError
from millrace.handlers import as_call
from millrace.message import HIGH, LOW, Backlog, ContentType
from millrace.programs import load_module
from millrace.python_workers import install, queue_handler_of
from millrace.settlement import Ack, Reject, Retry
from tests.unit.batches import batch

MODULES = ("workers", "js", "pyodide")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Leave the modules, and where they are looked for, as they were."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.fixture
def run(tmp_path):
    """Run a worker's text on a batch; give what it sent."""
    install()

    async def run_worker(text, held=None):
        (tmp_path / "worker.py").write_text(textwrap.dedent(text))
        sent = []

        async def send(messages, delay_seconds):
            sent.append((messages, delay_seconds))
            return Backlog(4, 40, 1_700_000_000_250)

        env = Env({"MY_QUEUE": QueueBinding(send), "GREETING": "hello", "LIMITS": {"most": 5}})
        call = as_call(queue_handler_of(load_module(tmp_path / "worker.py")))
        await call(batch() if held is None else held, env)
        return sent

    return run_worker


class Answers(BaseHTTPRequestHandler):
    """Says what was asked; knows one path."""

    def do_POST(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        text = f"{self.command} {self.path} {self.headers.get('X-A')} {body}".encode()
        self.send_response(201 if self.path == "/made" else 404)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments): ...


@pytest.fixture
def answering():
    """Serve on a free port and give the address."""
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_the_class_of_the_documentation_runs(run):
    held = batch(b'{"k": 1}', b'{"k": 2}', b'{"k": 3}', b'{"k": 4}')

    await run(
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return Response("ok")

            async def queue(self, batch, env=None, ctx=None):
                assert (batch.queue, len(batch.messages), batch.messages.length) == ("q", 4, 4)
                first, second, third, fourth = batch.messages
                assert (first.attempts, len(first.id)) == (1, 32)
                assert first.timestamp.isoformat() == "2023-11-14T22:13:20.500000+00:00"
                first.ack()
                second.retry(delaySeconds=30)
                third.retry({"delaySeconds": 40})
                batch.retryAll(delaySeconds=10)
        """,
        held,
    )

    assert held.outcomes(Ack()) == [Ack(), Retry(30), Retry(40), Retry(10)]


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        ("batch.ackAll()", Ack()),
        ("batch.ack_all()", Ack()),
        ("batch.retryAll()", Retry()),
        ("batch.retry_all({'delaySeconds': 5})", Retry(5)),
        ("batch.messages[0].retry(delay_seconds=6)", Retry(6)),
        ("batch.messages[0].reject('no use')", Reject("no use")),
    ],
)
async def test_the_batch_answers_to_both_spellings(run, call, outcome):
    held = batch()

    await run(f"async def on_queue(batch):\n    {call}\n", held)

    assert held.outcomes(Reject("nobody spoke")) == [outcome]


async def test_bindings_answer_to_both_spellings(run):
    sent = await run(
        """
        from js import Object
        from pyodide.ffi import to_js

        async def on_queue(batch, env, ctx):
            result = await env.MY_QUEUE.send("hello", contentType="TEXT")
            assert result.metadata.metrics.backlogCount == 4
            assert result["metadata"]["metrics"]["backlogBytes"] == 40
            assert result.metadata.metrics.oldestMessageTimestamp.toISOString() == "2023-11-14T22:13:20.250Z"
            await env.MY_QUEUE.send({"k": "v"}, delaySeconds=60)
            await env.MY_QUEUE.send(b"x", {"contentType": "bytes", "delaySeconds": 7})
            await env.MY_QUEUE.send(to_js({"k": 1}, dict_converter=Object.fromEntries), to_js({"contentType": "json"}))
            await env.MY_QUEUE.sendBatch([{"body": {"k": 1}}, {"body": "x", "contentType": "text"}], delaySeconds=5)
            await env.MY_QUEUE.send_batch(({"body": n, "delay_seconds": n} for n in (1, 2)), {"delaySeconds": 3})
        """
    )

    flat = [
        (message.body, message.content_type, message.delay_seconds, delay) for many, delay in sent for message in many
    ]
    assert flat == [
        (b"hello", ContentType.TEXT, None, None),
        (b'{"k":"v"}', ContentType.JSON, 60, None),
        (b"x", ContentType.BYTES, 7, None),
        (b'{"k":1}', ContentType.JSON, None, None),
        (b'{"k":1}', ContentType.JSON, None, 5),
        (b"x", ContentType.TEXT, None, 5),
        (b"1", ContentType.JSON, 1, 3),
        (b"2", ContentType.JSON, 2, 3),
    ]


async def test_what_is_ours_is_sent_and_read_in_both_spellings(run):
    sent = await run(
        """
        from datetime import datetime, timezone

        async def on_queue(batch, env, ctx):
            message = batch.messages[0]
            assert (message.priority, message.orderingKey, message.ordering_key) == ("normal", None, None)
            at = datetime(2126, 12, 24, 18, tzinfo=timezone.utc)
            await env.MY_QUEUE.send(1, sendAt=at, priority="high", orderingKey="o", dedupeKey="d", headers={"a": "b"})
            await env.MY_QUEUE.sendBatch([{"body": 2, "send_at": at, "priority": "low", "headers": {"a": "b"}}])
        """
    )

    [one], [two] = (messages for messages, _ in sent)
    assert (one.send_at_ms, one.priority, one.ordering_key, one.dedupe_key) == (4953808800000, HIGH, "o", "d")
    assert (two.send_at_ms, two.priority, two.headers) == (4953808800000, LOW, {"a": "b"})


async def test_bodies_are_plain_values_that_know_to_py(run):
    sent = await run(
        """
        async def on_queue(batch, env, ctx):
            body = batch.messages[0].body
            assert body == {"user": {"name": "Ada"}, "tags": ["a", {"b": 1}]}
            assert body.user.name == body["user"]["name"] == "Ada"
            copy = body.to_py()
            assert [type(copy), type(copy["user"]), type(copy["tags"]), type(copy["tags"][1])] == [dict, dict, list, dict]
            assert not hasattr(body, "missing")
            await env.MY_QUEUE.send(body)
        """,
        batch(b'{"user": {"name": "Ada"}, "tags": ["a", {"b": 1}]}'),
    )

    assert sent[0][0][0].body == b'{"user":{"name":"Ada"},"tags":["a",{"b":1}]}'


async def test_the_entrypoint_has_bindings_and_context_of_its_own(run):
    held = batch()

    await run(
        """
        from workers import WorkerEntrypoint, env, waitUntil

        class Default(WorkerEntrypoint):
            async def queue(self, batch):
                assert (self.env.GREETING, env.GREETING, self.env.LIMITS.most) == ("hello", "hello", 5)
                assert not hasattr(self.env, "MISSING")
                self.ctx.waitUntil(self.later(batch))
                waitUntil(self.later(batch))
                self.ctx.passThroughOnException()

            async def later(self, batch):
                batch.messages[0].retry(delaySeconds=9)
        """,
        held,
    )

    assert held.outcomes(Ack()) == [Retry(9)]


async def test_the_backlog_is_in_the_metadata_of_a_batch(run):
    await run(
        """
        def on_queue(batch):
            metrics = batch.metadata.metrics
            assert (metrics.backlogCount, metrics.backlogBytes) == (3, 30)
            assert metrics.oldestMessageTimestamp.getTime() == 1_700_000_000_000
        """
    )


async def test_what_a_worker_raises_is_the_handlers_error(run):
    with pytest.raises(ValueError, match="no luck"):
        await run("async def on_queue(batch):\n    raise ValueError('no luck')\n")


async def test_an_option_that_is_misspelt_is_an_error(run):
    with pytest.raises(TypeError, match="'delaySecond' is no option here; expected delay_seconds"):
        await run("async def on_queue(batch):\n    batch.retryAll(delaySecond=5)\n")


async def test_json_console_and_the_rest_of_js_do_what_their_names_say(run, capsys):
    await run(
        """
        from js import JSON, Date, Object, console
        from pyodide.ffi import JsProxy, create_proxy

        def on_queue(batch):
            body = batch.messages[0].body
            assert JSON.stringify(body) == '{"a":[1,2]}'
            assert JSON.parse('{"a": {"b": 1}}').a.b == 1
            assert Object.fromEntries([("x", 1)]).x == 1
            assert Object.keys(body) == ["a"] and Object.entries(body) == [["a", [1, 2]]]
            assert isinstance(Date.now(), int) and not isinstance(create_proxy(body), JsProxy)
            console.log("taken", body)
            console.error("oh")
        """,
        batch(b'{"a": [1, 2]}'),
    )

    assert capsys.readouterr() == ("taken {'a': [1, 2]}\n", "oh\n")


async def test_a_module_with_everything_else_of_a_worker_can_be_imported(run):
    await run(
        """
        import asgi
        from js import Headers, Response as JsResponse, fetch as js_fetch
        from pyodide.ffi import JsException, create_once_callable
        from pyodide.http import pyfetch
        from workers import (
            DurableObject, Request, Response, WorkerEntrypoint, WorkflowEntrypoint, fetch, handler,
            import_from_javascript, python_from_rpc, python_to_rpc,
        )

        class Counter(DurableObject):
            pass

        class Story(WorkflowEntrypoint):
            async def run(self, event, step): ...

        class Api(WorkerEntrypoint):
            async def fetch(self, request):
                return Response.json({"a": 1})

        class Consumer(WorkerEntrypoint):
            async def queue(self, batch):
                response = Response.json({"a": 1}, status=201)
                assert (response.ok, response.headers["Content-Type"]) == (True, "application/json")
                assert (await response.json()).a == 1
                assert import_from_javascript("cloudflare:workers").env.GREETING == "hello"
        """
    )


async def test_a_decorated_function_of_an_older_program_is_called(run):
    held = batch()

    await run(
        """
        from workers import handler

        @handler
        async def on_queue(batch, env, ctx):
            batch.messages[0].retry()
        """,
        held,
    )

    assert held.outcomes(Ack()) == [Retry()]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "class Default(WorkerEntrypoint):\n    async def fetch(self, request): ...\n",
            "has no queue handler; expected",
        ),
        ("", "has no queue handler; expected a class Default(WorkerEntrypoint)"),
        (
            "class A(WorkerEntrypoint):\n    def queue(self, batch): ...\nclass B(A): ...\n",
            "has several queue handlers: A, B; name one of them Default",
        ),
        (
            "class Default(WorkerEntrypoint):\n    async def queue(self): ...\n",
            "handler Default.queue takes (); expected (batch), (batch, env)",
        ),
        ("def on_queue(batch, env, ctx, more): ...\n", "handler on_queue takes (batch, env, ctx, more); expected"),
    ],
)
async def test_a_module_without_a_queue_handler_is_refused(run, text, sentence):
    with pytest.raises(ConfigurationError) as caught:
        await run(f"from workers import WorkerEntrypoint\n{text}")

    assert sentence in str(caught.value)


async def test_the_users_own_modules_win(run, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "workers", raising=False)
    (tmp_path / "workers.py").write_text(
        "class WorkerEntrypoint:\n    def __init__(self, ctx, env): self.mine = True\n"
    )
    held = batch()

    await run(
        """
        from workers import WorkerEntrypoint

        class Consumer(WorkerEntrypoint):
            async def queue(self, batch):
                if self.mine:
                    batch.ackAll()
        """,
        held,
    )

    assert held.outcomes(Retry()) == [Ack()]


async def test_a_class_or_an_instance_is_a_handler_itself(run):
    from workers import WorkerEntrypoint  # noqa: PLC0415 - only now is it installed

    class Consumer(WorkerEntrypoint):
        async def queue(self, batch):
            batch.retryAll(delaySeconds=self.env.PAUSE)

    env = Env({"PAUSE": 4})
    for handler in (Consumer, Consumer(None, env)):
        held = batch()

        await as_call(handler)(held, env)

        assert held.outcomes(Ack()) == [Retry(4)]
    with pytest.raises(ConfigurationError, match="WorkerEntrypoint has no queue handler"):
        as_call(WorkerEntrypoint)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_there_before_install(name):
    done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False)

    assert b"ModuleNotFoundError" in done.stderr


async def test_fetch_asks_a_server(run, answering):
    await run(
        f"""
        from js import fetch as js_fetch
        from workers import fetch

        async def on_queue(batch, env, ctx):
            answer = await fetch("{answering}/made", method="POST", headers={{"X-A": "1"}}, body="text")
            assert (answer.status, answer.ok, await answer.text()) == (201, True, "POST /made 1 text")
            failed = await js_fetch("{answering}/missing", {{"method": "GET"}})
            assert (failed.status, failed.ok) == (404, False)
            try:
                await fetch("file:///etc/hostname")
            except ValueError as error:
                assert "expected http:// or https://" in str(error)
            else:
                raise AssertionError("a file was read")
        """
    )
