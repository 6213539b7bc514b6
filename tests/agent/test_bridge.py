from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace import Client
from millrace.agent.bridge import Bridge, as_job
from millrace.client.retries import NONE
from millrace.edge_jobs import EdgeConfig, EdgeJobClient
from millrace.errors import ServerUnreachable
from millrace.telemetry import Telemetry
from tests.acceptance.programs import wait_until
from tests.agent.conftest import Tenant
from tests.agent.processes import AgentProcess, environ_of
from tests.http.wire import PULL, a_name
from tests.starting import COMMAND, run
from tests.support import KEY, Server

PIPELINE = "def process(job, read):\n    return {'text': job.run_id}\n"


@pytest.fixture
def queue(tenant: Tenant) -> str:
    """A queue behind Cloudflare's API, as our own server has it."""
    return tenant.server.create_queue(a_name(), consumer=PULL)


@pytest.fixture
def there(tenant: Tenant) -> Iterator[Client]:
    with Client(tenant.server.url, KEY) as client:
        yield client


def _job(tenant: Tenant, run: str) -> dict[str, str]:
    return {"runId": f"{tenant.name}-{run}", "tenantId": tenant.name, "r2Key": f"in/{run}"}


def _send(there: Client, queue: str, *bodies: object) -> None:
    there.send_batch(queue, [{"body": body} for body in bodies])


def _there(server: Server) -> dict[str, str]:
    return {
        "CLOUDFLARE_ACCOUNT_ID": "local",
        "CLOUDFLARE_API_TOKEN": KEY,
        "CLOUDFLARE_API_BASE_URL": f"{server.url}/client/v4",
    }


def test_a_message_that_is_taken_over_twice_makes_one_job(tenant: Tenant, there: Client, queue: str) -> None:
    _send(there, queue, _job(tenant, "a"))
    bridge = Bridge(there, queue, as_job(tenant.client), Telemetry())
    [delivery] = there.receive(queue)
    as_job(tenant.client)(delivery)  # and then the first bridge is killed
    there.settle(queue, retries=[delivery])

    assert bridge.forward() == 1

    assert tenant.counts() == (1, 0, 0, 0)
    assert there.metrics(queue).count == 0


def test_what_is_no_job_stays_where_it_was(tenant: Tenant, there: Client, queue: str) -> None:
    _send(there, queue, {"runId": "a"}, "text", {**_job(tenant, "b"), "tenantId": ""}, _job(tenant, "c"))
    for body in (b'{"runId": "\xff"}', b'{"more": ' + b"[" * 100_000):
        there.send(queue, body, "bytes")
    told: list[str] = []
    telemetry = Telemetry()
    telemetry.subscribe(lambda name, fields: told.append(name), "bridge.refused", "bridge.forwarded")

    Bridge(there, queue, as_job(tenant.client), telemetry).forward()

    assert told == ["bridge.refused"] * 5 + ["bridge.forwarded"]
    assert tenant.counts() == (1, 0, 0, 0)
    assert there.metrics(queue).count == 5


def test_nothing_is_acknowledged_that_is_not_here(tenant: Tenant, there: Client, queue: str) -> None:
    """S2-55."""
    _send(there, queue, _job(tenant, "a"))
    away = EdgeJobClient(EdgeConfig(base_url="http://127.0.0.1:9", api_token="token"), retries=NONE)

    with pytest.raises(ServerUnreachable):
        Bridge(there, queue, as_job(away), Telemetry()).forward()

    assert there.metrics(queue).count == 1


def test_one_agent_empties_both_queues(tenant: Tenant, there: Client, queue: str, tmp_path: Path) -> None:
    """S2-55."""
    (tmp_path / "mine.py").write_text(PIPELINE)
    _send(there, queue, *[_job(tenant, f"there-{number}") for number in range(100)])
    tenant.add(*[f"here-{number}" for number in range(5)])
    edge = {"EDGE_BASE_URL": tenant.config.base_url, "EDGE_API_TOKEN": tenant.config.api_token}
    environ = {**edge, **_there(tenant.server), "CLOUDFLARE_QUEUE_ID": queue}

    with AgentProcess(tmp_path, "--cloudflare-queue", "--pipeline", "mine.py:process", **environ) as agent:
        wait_until(lambda: tenant.counts() == (0, 0, 105, 0), 20, "the jobs are not done")
        assert agent.stop() == 0

    assert there.metrics(queue).count == 0
    assert tenant.run(f"{tenant.name}-there-99")["text"] == f"{tenant.name}-there-99"


def test_messages_go_over_the_bridge_as_they_are_and_back_again(tenant: Tenant, tmp_path: Path) -> None:
    """S2-55."""
    name = a_name()
    bodies = [({"order": 7}, "json"), ("text", "text"), (b"\x00\xff", "bytes")]
    with Server(tmp_path / "data") as server, Client(server.url, KEY) as here, Client(tenant.server.url, KEY) as there:
        for side in (server, tenant.server):
            side.create_queue(name, consumer=PULL)
        there.send_batch(name, [{"body": body, "content_type": kind} for body, kind in bodies])

        _bridge(server, tenant.server, name)
        over = [(message.body, message.content_type) for message in here.peek(name)]
        _bridge(server, tenant.server, name, "--back")

        assert over == bodies
        assert [(message.body, message.content_type) for message in there.peek(name)] == bodies
        assert here.metrics(name).count == 0


def _bridge(here: Server, there: Server, *arguments: str) -> None:
    environ = environ_of(MILLRACE_URL=here.url, MILLRACE_TOKEN=KEY, **_there(there))
    command = [*COMMAND, "bridge", "--once", *arguments]
    done = run(command, env=environ)
    assert done.code == 0, done.error
    assert '"count":3' in done.out
