"""`millrace agent`: works on the jobs of a server."""

import argparse
import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from millrace.agent.bridge import Bridge, as_job
from millrace.agent.enrichment import Offline, Provider
from millrace.agent.gemini import GeminiProvider
from millrace.agent.graph import run_graph
from millrace.agent.loop import Agent, End
from millrace.agent.pipeline import Process, make_graph, make_process
from millrace.agent.reading import make_reader
from millrace.agent.with_langgraph import langgraph_runner
from millrace.cli.cloudflare import cloudflare_client
from millrace.cli.printing import print_json
from millrace.cli.signals import stop_on_signals
from millrace.client.retries import NONE
from millrace.client.synchronous import Client
from millrace.clock import wall_ms
from millrace.edge_jobs.client import EdgeJobClient
from millrace.edge_jobs.config import EdgeConfig, environment, load_config, missing_of
from millrace.errors import ConfigurationError
from millrace.logs import LINES, LogLines
from millrace.programs import load_object
from millrace.telemetry import Telemetry

BRIEF_SECONDS = 10
EXIT_CODES: dict[End, int] = {"stopped": 0, "left_behind": 0, "too_long": 1}


class There(NamedTuple):
    """A queue at Cloudflare whose jobs are taken over."""

    client: Client
    queue: str


def run(arguments: argparse.Namespace) -> int:
    """Work on jobs until a signal comes."""
    try:
        config = load_config()
        there = _there() if arguments.cloudflare_queue else None
        process = _process(arguments.pipeline, config)
    except ConfigurationError as error:
        arguments.refuse(str(error))
        raise
    if config.unused:
        print(f"millrace: {', '.join(config.unused)} set, but not used any more; remove them", file=sys.stderr)
    if arguments.show_config:
        print_json(shown(config))
        return 0
    return asyncio.run(work(config, process, there))


async def work(config: EdgeConfig, process: Process, there: There | None) -> int:
    """Work until a signal comes; give the exit code.

    Raises:
        Unauthenticated, Forbidden: the token is refused.
    """
    async with AsyncExitStack() as stack:
        telemetry, lines = Telemetry(), LogLines(sys.stdout.buffer, wall_ms)
        stack.callback(lines.close)
        telemetry.subscribe(lines, *LINES)
        stopping = stop_on_signals(telemetry, lines)
        client = stack.enter_context(EdgeJobClient(config))
        brief = stack.enter_context(EdgeJobClient(config, retries=NONE, timeout_seconds=BRIEF_SECONDS))
        read = make_reader(client, config.r2)
        lease_seconds, job_seconds = config.visibility_timeout, config.job_seconds
        agent = Agent(client, brief, read, process, telemetry, lease_seconds=lease_seconds, job_seconds=job_seconds)
        telemetry.emit("agent.started", url=config.base_url, process=os.getpid(), **_parts(config, there))
        bridge = Bridge(there.client, there.queue, as_job(client), telemetry) if there else None
        end = await _run_both(agent, bridge, stopping)
        telemetry.emit("agent.stopped", end=end)
    if end != "stopped":  # a thread cannot be cancelled, and its job is settled
        sys.stdout.flush()
        os._exit(EXIT_CODES[end])
    return 0


async def _run_both(agent: Agent, bridge: Bridge | None, stopping: asyncio.Event) -> End:
    """Run the agent and, if there is one, the bridge; the end of either stops the other."""
    bridging = asyncio.create_task(bridge.run(stopping)) if bridge else None
    if bridging is not None:
        bridging.add_done_callback(lambda _: stopping.set())
    try:
        return await agent.run(stopping)
    finally:
        stopping.set()
        if bridging is not None:
            await bridging


def shown(config: EdgeConfig) -> dict[str, Any]:
    """Give the settings by the names of their variables; of secrets only whether they are set."""
    gemini, r2 = config.gemini, config.r2
    return {
        "EDGE_BASE_URL": config.base_url,
        "EDGE_API_TOKEN": _hidden(config.api_token),
        "BATCH_SIZE": config.batch_size,
        "VISIBILITY_TIMEOUT": config.visibility_timeout,
        "JOB_SECONDS": config.job_seconds,
        "PIPELINE": config.pipeline,
        "AI_GATEWAY_URL": gemini.gateway_url if gemini else None,
        "GOOGLE_API_KEY": _hidden(gemini),
        "GEMINI_CHAT_MODEL": config.gemini_chat_model,
        "GEMINI_EMBED_MODEL": config.gemini_embed_model,
        "R2_ENDPOINT": r2.endpoint if r2 else None,
        "R2_ACCESS_KEY_ID": _hidden(r2),
        "R2_SECRET_ACCESS_KEY": _hidden(r2),
        "R2_BUCKET": r2.bucket if r2 else None,
    }


def _hidden(value: object) -> str | None:
    return "(set)" if value else None


def _parts(config: EdgeConfig, there: There | None) -> dict[str, str]:
    """Name what the agent is made of, for its first log line."""
    return {
        "pipeline": config.pipeline,
        "provider": "gemini" if config.gemini else "offline",
        "objects": "s3" if config.r2 else "server",
        "cloudflare_queue": "on" if there else "off",
    }


def _process(reference: str | None, config: EdgeConfig) -> Process:
    if reference is not None:
        process = load_object(reference, Path.cwd())
        if not callable(process):
            raise ConfigurationError(
                f"{reference} is no function; expected one that takes a job and a function to read"
            )
        return cast(Process, process)
    graph = make_graph(_provider(config))
    return make_process(langgraph_runner(graph) if config.pipeline == "langgraph" else partial(run_graph, graph))


def _provider(config: EdgeConfig) -> Provider:
    if config.gemini is None:
        return Offline()
    return GeminiProvider(config.gemini, config.gemini_chat_model, config.gemini_embed_model)


def _there() -> There:
    values = environment()
    if missing_of(values, ["CLOUDFLARE_QUEUE_ID"]):
        raise ConfigurationError("CLOUDFLARE_QUEUE_ID is not set; --cloudflare-queue needs to know the queue")
    return There(cloudflare_client(values), values["CLOUDFLARE_QUEUE_ID"].strip())
