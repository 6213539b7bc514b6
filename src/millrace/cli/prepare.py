"""What handlers need at a server elsewhere before they can begin: queues, and consumers for them."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

from millrace.client.asynchronous import AsyncClient
from millrace.client.feed import KINDS
from millrace.errors import (
    ConfigurationError,
    ConsumerExists,
    Forbidden,
    Overloaded,
    QueueNameTaken,
    QueueNotFound,
    RequestTimedOut,
    ServerFailed,
    ServerUnreachable,
    StoreUnavailable,
)
from millrace.telemetry import Telemetry
from millrace.wrangler.file import WranglerFile

SCRIPT = "consume"  # the script name of consumers that no file names
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.5, 15.0
TRANSIENT = (ServerUnreachable, ServerFailed, StoreUnavailable, Overloaded, RequestTimedOut)


async def prepare(client: AsyncClient, queues: Sequence[str], file: WranglerFile | None, telemetry: Telemetry) -> None:
    """See that each queue is there and has a consumer, however long the server stays away.

    Raises:
        Unauthenticated, Forbidden: the key is refused, or may not make what is missing.
        ConfigurationError: a queue's consumer is not for handlers elsewhere.
    """
    for failures in count(1):
        try:
            for queue in queues:
                await _ensure_consumer(client, queue, file)
            for producer in file.producers if file is not None else ():
                with suppress(Forbidden):  # who may not make it is told when a handler sends to it
                    await _ensure_queue(client, producer.queue)
        except TRANSIENT as error:
            telemetry.emit("server.unreachable", error=str(error))
            seconds = min(PAUSE_SECONDS * 2 ** min(failures, 10), PAUSE_SECONDS_MAX)
            await asyncio.sleep(seconds * (1 + random.random()) / 2)  # noqa: S311 - no secret hangs on it
        else:
            return


async def _ensure_consumer(client: AsyncClient, name: str, file: WranglerFile | None) -> None:
    """Make the queue and attach a consumer, as `serve` does, where they are missing and the key may."""
    try:
        await _ensure_queue(client, name)
        consumer = await client.consumer(name)
        if consumer is None:
            with suppress(ConsumerExists):  # another process was quicker
                await _attach(client, name, file)
        elif (kind := consumer["type"]) not in KINDS:
            raise ConfigurationError(
                f"queue {name!r} has a consumer of type {kind}, to which the server itself delivers; "
                f"remove it, or give the queue one of type {' or '.join(KINDS)}"
            )
    except Forbidden as error:
        raise Forbidden(f"queue {name!r} or its consumer is missing, and the key may not make it: {error}") from error


async def _ensure_queue(client: AsyncClient, name: str) -> None:
    try:
        await client.queue(name)
    except QueueNotFound:
        with suppress(QueueNameTaken):
            await client.create_queue(name)


async def _attach(client: AsyncClient, name: str, file: WranglerFile | None) -> None:
    """Attach a consumer with the settings that the file names for it, if there is a file."""
    entry = next((entry for entry in file.consumers if entry.queue == name), None) if file else None
    settings = entry.settings if entry else {}
    await client.create_consumer(
        name,
        type="worker",
        script_name=(file.name if file else None) or SCRIPT,
        dead_letter_queue=entry.dead_letter_queue if entry else None,
        **settings,
    )
