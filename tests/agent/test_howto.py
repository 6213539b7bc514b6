"""What the pages of the agent and of the move from Cloudflare tell people to type works when it is pasted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.programs import wait_until
from tests.agent.conftest import Tenant
from tests.agent.processes import AgentProcess, environ_of
from tests.docs.pages import DOCS, ROOT, blocks
from tests.http.wire import PULL
from tests.support import KEY, Server

AGENT, MOVE = DOCS / "howto" / "agent.md", DOCS / "howto" / "migrate-from-cloudflare.md"
ADDRESS = "http://127.0.0.1:8787"


def _block(page: Path, language: str, word: str) -> str:
    return next(block.text for block in blocks(page, language) if word in block.text)


def _environ(**given: str) -> dict[str, str]:
    return environ_of(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}", **given)


def _paste(script: str, folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-eu", "-c", script], check=False, cwd=folder, env=environ, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_upload_is_pending_and_then_done_with_its_result(tenant: Tenant, tmp_path: Path) -> None:
    """S2-25, S2-53."""
    (tmp_path / "report.md").write_text("Water runs. Wheels turn.")
    environ = _environ(JWT_SECRET=tenant.config.api_token, MILLRACE_URL=tenant.server.url)
    upload, look = (
        _block(AGENT, "bash", "millrace upload").replace("acme", tenant.name),
        _block(AGENT, "bash", "/runs/"),
    )
    start = _block(AGENT, "bash", "export EDGE_BASE_URL").replace("millrace agent", "exec millrace agent")
    upload, start = (text.replace(ADDRESS, tenant.server.url) for text in (upload, start))

    pending = _paste(f"{upload}\necho $RUN_ID > run-id", tmp_path, environ)
    agent = subprocess.Popen(["bash", "-eu", "-c", start], cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL)
    wait_until(lambda: tenant.counts() == (0, 0, 1, 0), 15, "the job is not done")
    agent.terminate()
    run = _paste(look, tmp_path, {**environ, "RUN_ID": (tmp_path / "run-id").read_text().strip()})

    assert agent.wait(15) == 0
    assert '"pending":1' in pending
    assert '"text":"Water runs. Wheels turn."' in run


def test_the_pipeline_of_the_page_counts_words(tenant: Tenant, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(_block(AGENT, "python", "# mine.py"))
    (tmp_path / "a.txt").write_text("three  little words")
    made = tenant.client.upload(tmp_path / "a.txt", tenant.name)
    flags = _block(AGENT, "bash", "--pipeline").split()[2:]

    with AgentProcess(tmp_path, *flags, EDGE_BASE_URL=tenant.config.base_url, EDGE_API_TOKEN=tenant.config.api_token):
        wait_until(lambda: tenant.counts() == (0, 0, 1, 0), 15, "the job is not done")

    assert tenant.run(made.run_id)["result"] == {"words": 3, "tenant": tenant.name}


def test_the_client_of_the_page_does_jobs(tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("some words")
    made = tenant.client.upload(tmp_path / "a.txt", tenant.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_BASE_URL", tenant.config.base_url)
    monkeypatch.setenv("EDGE_API_TOKEN", tenant.config.api_token)

    exec(_block(AGENT, "python", "load_config"), {})

    assert tenant.counts() == (0, 0, 1, 0)
    assert tenant.run(made.run_id)["text"] == "some words"


def test_a_file_and_a_worker_of_before_handle_what_comes_over_the_bridge(jobs_server: Server, tmp_path: Path) -> None:
    """The fixture stands for Cloudflare; the new server has the file and the worker as they were there."""
    jobs_server.create_queue("orders", consumer=PULL)
    there = jobs_server.v4("GET", "/queues?name=orders").result[0]["queue_id"]
    jobs_server.v4("POST", f"/queues/{there}/messages/batch", {"messages": [{"body": {"id": n}} for n in range(60)]})
    (tmp_path / "wrangler.toml").write_text(_block(MOVE, "toml", "[[queues.consumers]]"))
    (tmp_path / "worker.py").write_text(_block(MOVE, "python", "# worker.py"))
    with Server(tmp_path / "data", "--config", str(tmp_path / "wrangler.toml")) as here:
        script = _block(MOVE, "bash", "millrace bridge orders\n").replace(ADDRESS, here.url).replace("sk_live_...", KEY)
        script = script.replace("ACCOUNT_ID=...", "ACCOUNT_ID=local").replace("API_TOKEN=...", f"API_TOKEN={KEY}")

        _paste(f"{script.strip()} --once", tmp_path, _environ(CLOUDFLARE_API_BASE_URL=f"{jobs_server.url}/client/v4"))

        invoices = here.v4("GET", "/queues?name=invoices").result[0]["queue_id"]
        wait_until(lambda: _count(here, invoices) == 60, 15, "the orders are not billed")
    assert _count(jobs_server, there) == 0


def _count(server: Server, queue: str) -> int:
    return server.v4("GET", f"/queues/{queue}/metrics").result["backlog_count"]


def test_make_agent_finds_the_secret_of_make_run(tmp_path: Path) -> None:
    """What the two targets run; the server takes a free port."""
    environ = {**environ_of(PORT="0"), "PYTHONPATH": str(ROOT)}
    data = tmp_path / "data"
    run = subprocess.Popen(
        [sys.executable, "-m", "examples.run", str(data)],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until((data / "millrace.db").exists, 15, "the server does not start")
        agent = subprocess.run(
            [sys.executable, "-m", "examples.agent", str(data), "--show-config"],
            cwd=tmp_path,
            env=environ,
            check=True,
            capture_output=True,
            timeout=30,
        )
    finally:
        run.terminate()
        run.wait(15)

    assert b'"EDGE_BASE_URL": "http://127.0.0.1:8787"' in agent.stdout
    assert b'"EDGE_API_TOKEN": "(set)"' in agent.stdout
