"""The agent as a process beside a real server, a real bucket and a stand-in for Gemini."""

import os
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from millrace.resources.objects.s3 import R2Settings
from tests.acceptance.programs import wait_until
from tests.agent.conftest import SECRET, Tenant
from tests.agent.pdf import make_pdf
from tests.agent.processes import AgentProcess, environ_of
from tests.starting import COMMAND, run
from tests.support import Server
from tests.unit.bucket import serve_bucket

SUMMARY = {"candidates": [{"content": {"parts": [{"text": "It is about a mill."}]}}]}
EMBEDDING = {"embedding": {"values": [0.5, -0.25]}}
GOOGLE_KEY = "the-google-key"
BLOCKING = """
import os, time
from pathlib import Path

def process(job, read):
    Path(f"began-{job.run_id}-{job.attempts}-{os.getpid()}").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return {"text": f"by {os.getpid()}"}
"""


def _edge(tenant: Tenant, **more: str) -> dict[str, str]:
    return {"EDGE_BASE_URL": tenant.config.base_url, "EDGE_API_TOKEN": tenant.config.api_token, **more}


def _r2(settings: R2Settings) -> dict[str, str]:
    return {
        "R2_ENDPOINT": settings.endpoint,
        "R2_ACCESS_KEY_ID": settings.access_key_id,
        "R2_SECRET_ACCESS_KEY": settings.secret_access_key,
        "R2_BUCKET": settings.bucket,
    }


def _upload(server: Server, file: Path, tenant: str) -> str:
    environ = environ_of(MILLRACE_URL=server.url, MILLRACE_TOKEN=SECRET)
    command = [*COMMAND, "upload", str(file), "--tenant", tenant]
    done = run(command, env=environ)
    assert done.code == 0, done.error
    return done.out.strip()


def _stats(server: Server) -> dict[str, int]:
    return server.call("GET", "/jobs/stats", key=SECRET).json["stats"]


@pytest.fixture
def gemini(httpserver: HTTPServer) -> dict[str, str]:
    key = {"x-goog-api-key": GOOGLE_KEY}
    chat, embed = "/v1beta/models/gemini-2.0-flash:generateContent", "/v1beta/models/text-embedding-004:embedContent"
    httpserver.expect_request(chat, "POST", headers=key).respond_with_json(SUMMARY)
    httpserver.expect_request(embed, "POST", headers=key).respond_with_json(EMBEDDING)
    return {"AI_GATEWAY_URL": httpserver.url_for("/"), "GOOGLE_API_KEY": GOOGLE_KEY}


def test_an_upload_in_a_bucket_becomes_text_summary_and_embedding(
    tmp_path: Path, gemini: dict[str, str], httpserver: HTTPServer
) -> None:
    """S2-19, S2-20, S2-34, S2-53."""
    file = tmp_path / "report.pdf"
    file.write_bytes(make_pdf("A mill race brings water to the wheel."))
    with serve_bucket() as bucket, Server(tmp_path / "data", environ={"JWT_SECRET": SECRET, **_r2(bucket)}) as server:
        run_id = _upload(server, file, "acme")
        assert _stats(server) == {"pending": 1, "leased": 0, "done": 0, "failed": 0}

        edge = {"EDGE_BASE_URL": server.url, "EDGE_API_TOKEN": SECRET}
        with AgentProcess(tmp_path, **edge, **_r2(bucket), **gemini) as agent:
            wait_until(lambda: _stats(server)["done"] == 1, 15, "the job is not done")
            assert agent.stop() == 0

        run = server.call("GET", f"/runs/{run_id}", key=SECRET).json
    assert run["text"] == "A mill race brings water to the wheel."
    assert (run["result"]["summary"], run["result"]["embedding"]) == ("It is about a mill.", [0.5, -0.25])
    assert len(httpserver.log) == 2
    assert agent.told("agent.started")[0]["objects"] == "s3"
    assert not any(secret in agent.text for secret in (GOOGLE_KEY, SECRET, bucket.secret_access_key))


def test_two_variables_in_a_file_are_enough_for_an_agent(tenant: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text("Water runs. Wheels turn.")
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in _edge(tenant).items()))
    made = tenant.client.upload(file, tenant.name)

    with AgentProcess(tmp_path):
        wait_until(lambda: tenant.counts() == (0, 0, 1, 0), 15, "the job is not done")

    run = tenant.run(made.run_id)
    assert (run["text"], run["result"]["provider"]) == ("Water runs. Wheels turn.", "offline")


def test_nothing_is_lost_when_an_agent_is_killed_in_the_middle(tenant: Tenant, tmp_path: Path) -> None:
    """S2-30, S2-45."""
    (tmp_path / "blocking.py").write_text(BLOCKING)
    tenant.add(*[f"run-{number}" for number in range(5)])
    edge = _edge(tenant, VISIBILITY_TIMEOUT="1", BATCH_SIZE="2")

    with AgentProcess(tmp_path, "--pipeline", "blocking.py:process", **edge) as first:
        wait_until(lambda: any(tmp_path.glob("began-*")), 15, "no job has begun")
        first.kill()
    (tmp_path / "go").touch()
    with AgentProcess(tmp_path, "--pipeline", "blocking.py:process", **edge) as second:
        wait_until(lambda: tenant.counts() == (0, 0, 5, 0), 15, "the jobs are not done")
        assert second.stop() == 0

    assert len(second.told("job.done")) == 5
    assert tenant.run(f"{tenant.name}-run-0")["text"] == f"by {second.process.pid}"


def test_a_server_that_is_away_for_a_while_in_the_middle_of_a_job_loses_nothing(tmp_path: Path) -> None:
    """S2-29."""
    (tmp_path / "blocking.py").write_text(BLOCKING)
    with Server(tmp_path / "data", environ={"JWT_SECRET": SECRET}) as server:
        tenant = Tenant(server)
        tenant.add("a", "b", "c")
        edge = _edge(tenant, BATCH_SIZE="2")
        with AgentProcess(tmp_path, "--pipeline", "blocking.py:process", **edge) as agent:
            wait_until(lambda: any(tmp_path.glob("began-*")), 15, "no job has begun")
            server.kill()
            (tmp_path / "go").touch()
            server.arguments = ("--port", server.url.rpartition(":")[2])
            server.start()
            wait_until(lambda: tenant.counts() == (0, 0, 3, 0), 20, "the jobs are not done")

    assert agent.process.poll() is not None
    assert len(list(tmp_path.glob("began-*"))) == 3


def test_a_signal_ends_an_idle_agent_at_once_and_well(tenant: Tenant, tmp_path: Path) -> None:
    """S2-30."""
    with AgentProcess(tmp_path, **_edge(tenant)) as agent:
        wait_until(lambda: agent.told("agent.started") != [], 15, "the agent does not start")

        assert agent.stop() == 0

    assert agent.told("agent.stopped") != []


def test_an_agent_whose_token_is_refused_ends_with_3(tenant: Tenant, tmp_path: Path) -> None:
    edge = {"EDGE_BASE_URL": tenant.config.base_url, "EDGE_API_TOKEN": "nobody's"}

    with AgentProcess(tmp_path, **edge) as agent:
        assert agent.process.wait(15) == 3


def test_a_job_that_hangs_does_not_hold_the_stop_when_it_is_asked_twice(tenant: Tenant, tmp_path: Path) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING)
    tenant.add("a")

    with AgentProcess(tmp_path, "--pipeline", "blocking.py:process", **_edge(tenant)) as agent:
        wait_until(lambda: any(tmp_path.glob("began-*")), 15, "no job has begun")
        os.kill(agent.process.pid, 15)
        wait_until(lambda: agent.process.poll() is not None or _again(agent), 15, "the agent does not end")
        assert agent.process.wait(5) == 1


def _again(agent: AgentProcess) -> bool:
    os.kill(agent.process.pid, 15)  # within 20 ms of the first it counts as the same
    return False
