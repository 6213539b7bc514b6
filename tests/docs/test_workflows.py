"""The workflow and the handler on the pages do what the pages say."""

import os
import subprocess
from pathlib import Path

from tests.acceptance.programs import wait_until
from tests.docs.pages import DOCS, blocks
from tests.support import KEY, Server

WORKFLOWS, BINDINGS = DOCS / "howto" / "workflows.md", DOCS / "howto" / "bindings.md"
ADDRESS = "http://127.0.0.1:8787"


def _block(page: Path, language: str, word: str) -> str:
    return next(block.text for block in blocks(page, language) if word in block.text)


def _is_complete(server: Server, path: str) -> bool:
    return server.call("GET", f"/api/workflows/{path}").json.get("status") == "complete"


def test_the_workflow_of_the_page_is_started_and_comes_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        _block(WORKFLOWS, "python", "async def order").replace('settle", 2', 'settle", 0')
    )
    script = _block(WORKFLOWS, "bash", "curl")
    with Server(tmp_path / "data", "--config", "", "--app", str(tmp_path / "shop.py:app")) as server:
        environ = {**os.environ, "MILLRACE_TOKEN": KEY}
        pasted = ["bash", "-eu", "-c", script.replace(ADDRESS, server.url)]
        shown = subprocess.run(pasted, env=environ, capture_output=True, text=True, timeout=30, check=False)
        wait_until(lambda: _is_complete(server, "order/instances/order-17"), 10, "it does not come to its end")

        instance = server.call("GET", "/api/workflows/order/instances/order-17").json

    assert (shown.returncode, '"id":"order-17"' in shown.stdout) == (0, True)
    assert (instance["output"], len(instance["steps"])) == ({"paid": 30}, 3)


def test_the_file_the_handler_and_the_class_of_the_pages_work_together(tmp_path: Path) -> None:
    text = 'main = "worker.py"\n' + _block(BINDINGS, "toml", "kv_namespaces").replace(
        "handler =", "max_batch_timeout = 0\nhandler ="
    )
    (tmp_path / "wrangler.toml").write_text(text.replace('class_name = "Order"', 'class_name = "Fulfil"'))
    (tmp_path / "handlers.py").write_text(_block(BINDINGS, "python", "AUTH_KV"))
    (tmp_path / "worker.py").write_text(
        _block(WORKFLOWS, "python", "WorkflowEntrypoint").replace("1 second", "0 seconds")
    )
    with Server(tmp_path / "data", "--config", str(tmp_path / "wrangler.toml")) as server:
        (queue,) = server.v4("GET", "/queues?name=orders").result
        path = f"/queues/{queue['queue_id']}"
        server.v4("POST", f"{path}/messages", {"body": {"user": "ann"}})
        server.wait_for_text(" queued")
        server.call("POST", "/api/workflows/order/instances", {"id": "mine", "params": {"total": 30}})
        wait_until(lambda: _is_complete(server, "order/instances/mine"), 10, "it does not come to its end")

        output = server.call("GET", "/api/workflows/order/instances/mine").json["output"]

    assert output == "shipped for 30"
