"""`millrace bridge`: messages of a queue at Cloudflare, sent on to ours, or the other way round."""

import argparse
import asyncio
import sys
from contextlib import ExitStack

from millrace.agent.bridge import Bridge, as_message
from millrace.cli.cloudflare import cloudflare_client
from millrace.cli.signals import stop_on_signals
from millrace.client.synchronous import Client
from millrace.clock import wall_ms
from millrace.edge_jobs.config import environment
from millrace.errors import ConfigurationError
from millrace.logs import LINES, LogLines
from millrace.telemetry import Telemetry


def run(arguments: argparse.Namespace) -> int:
    """Send on until a signal comes, or with --once until the queue is empty."""
    values = environment()
    try:
        there = cloudflare_client(values)
    except ConfigurationError as error:
        arguments.refuse(str(error))
        raise
    with there, Client.from_env(values, url=arguments.url, token=arguments.token) as here:
        source, target = (here, there) if arguments.back else (there, here)
        return asyncio.run(_forward(arguments, source, target))


async def _forward(arguments: argparse.Namespace, source: Client, target: Client) -> int:
    with ExitStack() as stack:
        telemetry, lines = Telemetry(), LogLines(sys.stdout.buffer, wall_ms)
        stack.callback(lines.close)
        telemetry.subscribe(lines, *LINES)
        deliver = as_message(target, arguments.to or arguments.queue)
        bridge = Bridge(source, arguments.queue, deliver, telemetry)
        if not arguments.once:
            await bridge.run(stop_on_signals(telemetry, lines))
        else:
            while await asyncio.to_thread(bridge.forward):
                pass
    return 0
