import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from millrace.agent import verdict
from millrace.agent.loop import Agent
from millrace.agent.pipeline import Read
from millrace.client.retries import NONE
from millrace.edge_jobs import EdgeConfig, EdgeJobClient, Job
from millrace.errors import ServerUnreachable, Unauthenticated
from millrace.telemetry import Telemetry
from tests.agent.conftest import Tenant

EVENTS = ("job.done", "job.failed", "job.postponed", "job.ack_refused", "job.lease_lost", "server.unreachable")
WAIT_SECONDS = 10


class Running:
    """An agent that runs, and what it told."""

    def __init__(self) -> None:
        self.stopping, self.told = asyncio.Event(), list[tuple[str, dict[str, Any]]]()
        self._changed = asyncio.Event()
        self.ending: asyncio.Task[str] | None = None

    def note(self, name: str, fields: dict[str, Any]) -> None:
        self.told.append((name, fields))
        self._changed.set()

    async def until(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many events of the name were told."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(found := [fields for told, fields in self.told if told == name]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found

    async def stop(self) -> str:
        self.stopping.set()
        return await self.ending


@asynccontextmanager
async def _agent(
    tenant: Tenant,
    process: Callable[[Job, Read], Mapping[str, Any] | None],
    *,
    visibility_seconds: int = 60,
    **more: Any,
) -> AsyncIterator[Running]:
    config = EdgeConfig(
        base_url=tenant.config.base_url, api_token=tenant.config.api_token, visibility_timeout=visibility_seconds
    )
    running, telemetry = Running(), Telemetry()
    telemetry.subscribe(running.note, *EVENTS)
    with EdgeJobClient(config) as client, EdgeJobClient(config, retries=NONE) as brief:
        agent = Agent(client, brief, client.download, process, telemetry, lease_seconds=visibility_seconds, **more)
        running.ending = asyncio.create_task(agent.run(running.stopping))
        yield running
        await running.stop()


async def test_what_was_found_is_stored_on_the_run_and_the_job_is_done(tenant: Tenant) -> None:
    [_] = tenant.add("run")

    async with _agent(tenant, lambda job, read: {"text": "read", "result": {"pages": 3}}) as agent:
        [told] = await agent.until("job.done")

    run = tenant.run(told["run"])
    assert (run["status"], run["text"], run["result"]) == ("done", "read", {"pages": 3})
    assert tenant.counts() == (0, 0, 1, 0)


async def test_a_job_that_always_fails_is_failed_after_five_deliveries(tenant: Tenant) -> None:
    tenant.add("run")

    def process(job: Job, read: Read) -> None:
        raise ValueError(f"no page {job.attempts}")

    async with _agent(tenant, process) as agent:
        told = await agent.until("job.failed", 5)

    assert [fields["status"] for fields in told] == ["pending"] * 4 + ["failed"]
    assert tenant.run(told[0]["run"])["error"] == "ValueError: no page 5"
    assert isinstance(told[0]["error"], ValueError)


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration()])
async def test_a_pipeline_that_wants_to_end_the_agent_only_fails(tenant: Tenant, error: BaseException) -> None:
    tenant.add("run")

    def process(job: Job, read: Read) -> None:
        if job.attempts == 1:
            raise error

    async with _agent(tenant, process) as agent:
        [told] = await agent.until("job.failed")
        await agent.until("job.done")

    assert told["reason"].startswith("RuntimeError: the pipeline raised")


async def test_an_upload_that_is_late_costs_no_attempt(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """X63."""
    monkeypatch.setattr(verdict, "MISSING_SECONDS", 0)
    file = tmp_path / "a.txt"
    file.write_text("here at last")
    made = tenant.server.call(
        "POST",
        "/uploads/create",
        {"contentType": "text/plain", "filename": "a.txt", "tenantId": tenant.name},
        key=tenant.config.api_token,
    ).json

    async with _agent(tenant, lambda job, read: {"text": read().body.decode()}) as agent:
        [told, *_] = await agent.until("job.postponed", 7)
        path = made["uploadUrl"].removeprefix(tenant.server.url)
        tenant.server.call("PUT", path, file.read_bytes(), key=None, headers={"Content-Type": "text/plain"})
        await agent.until("job.done")

    assert told["reason"] == "upload not there yet"
    run = tenant.run(made["runId"])
    assert (run["status"], run["text"], run["attempts"]) == ("done", "here at last", 1)


async def test_a_job_of_three_leases_length_is_done_once(tenant: Tenant) -> None:
    """S2-31."""
    [job_id] = tenant.add("run")
    began: list[int] = []

    def process(job: Job, read: Read) -> None:
        began.append(job.attempts)
        threading.Event().wait(3.2)

    async with _agent(tenant, process, visibility_seconds=1) as agent, _agent(tenant, process) as other:
        await asyncio.wait(
            [asyncio.create_task(each.until("job.done")) for each in (agent, other)], return_when="FIRST_COMPLETED"
        )

    assert began == [1]
    assert [name for name, fields in agent.told + other.told if fields.get("job") == job_id] == ["job.done"]


async def test_a_stop_lets_the_present_job_end_and_gives_the_others_back_without_an_attempt(tenant: Tenant) -> None:
    """S2-30."""
    ids = tenant.add("a", "b", "c")
    began, may_end = threading.Event(), threading.Event()

    def process(job: Job, read: Read) -> None:
        began.set()
        may_end.wait(WAIT_SECONDS)

    async with _agent(tenant, process) as agent:
        await asyncio.to_thread(began.wait, WAIT_SECONDS)
        agent.stopping.set()
        may_end.set()
        end = await agent.stop()

    assert end == "stopped"
    assert tenant.counts() == (2, 0, 1, 0)
    again = tenant.client.pull()
    assert {job.id for job in again} < set(ids)
    assert [job.attempts for job in again] == [1, 1]


async def test_a_job_that_does_not_end_after_a_stop_is_given_back(tenant: Tenant) -> None:
    tenant.add("a")
    began, may_end = threading.Event(), threading.Event()

    def process(job: Job, read: Read) -> None:
        began.set()
        may_end.wait(WAIT_SECONDS)

    async with _agent(tenant, process, grace_seconds=0.05) as agent:
        await asyncio.to_thread(began.wait, WAIT_SECONDS)
        end = await agent.stop()
        may_end.set()

    assert end == "left_behind"
    assert tenant.counts() == (1, 0, 0, 0)


async def test_a_job_that_takes_too_long_fails_and_ends_the_agent(tenant: Tenant) -> None:
    tenant.add("a", "b")
    may_end = threading.Event()

    def process(job: Job, read: Read) -> None:
        may_end.wait(WAIT_SECONDS)

    async with _agent(tenant, process, job_seconds=0.05) as agent:
        end = await agent.ending
        may_end.set()

    assert end == "too_long"
    assert tenant.counts() == (2, 0, 0, 0)
    [first, second] = [tenant.run(f"{tenant.name}-{run}") for run in ("a", "b")]
    assert (first["error"], second["error"]) == ("not at its end after 0.05 s", "the agent stops")


async def test_an_ack_that_comes_too_late_is_told(tenant: Tenant) -> None:
    [job_id] = tenant.add("a")

    def process(job: Job, read: Read) -> None:
        tenant.client.ack([job.id], "failed", postpone_seconds=60)

    async with _agent(tenant, process) as agent:
        [told] = await agent.until("job.ack_refused")

    assert (told["job"], told["reason"]) == (job_id, "stale_lease")


async def test_a_lease_that_cannot_be_extended_is_told(tenant: Tenant) -> None:
    tenant.add("a")
    may_end = threading.Event()

    def process(job: Job, read: Read) -> None:
        tenant.client.ack([job.id], "done")
        may_end.wait(WAIT_SECONDS)

    async with _agent(tenant, process, visibility_seconds=1) as agent:
        [told, *_] = await agent.until("job.lease_lost")
        may_end.set()

    assert told["reason"] == "already_settled"


async def test_a_service_that_is_away_during_the_work_costs_no_attempt(tenant: Tenant) -> None:
    tenant.add("a")

    def process(job: Job, read: Read) -> None:
        raise ServerUnreachable("https://gateway.example cannot be reached")

    async with _agent(tenant, process) as agent:
        [told] = await agent.until("job.postponed")

    assert "gateway.example" in told["reason"]
    assert tenant.counts() == (1, 0, 0, 0)


async def test_a_token_that_is_refused_ends_the_agent(tenant: Tenant) -> None:
    tenant.config = EdgeConfig(base_url=tenant.config.base_url, api_token="nobody's")

    with pytest.raises(Unauthenticated):
        async with _agent(tenant, lambda job, read: None) as agent:
            await agent.ending
