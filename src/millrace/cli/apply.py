"""A wrangler file becomes queues, consumers and limits."""

from collections.abc import Mapping
from typing import Any

from millrace.catalog import Catalog
from millrace.errors import ConfigurationError, InvalidInput
from millrace.handlers import Handler
from millrace.queue import Queue, check_backlog_limits, check_queue_name, make_consumer, make_consumer_settings
from millrace.wrangler import ConsumerEntry, WranglerFile

SCRIPT = "local"  # the script name of consumers whose file has no name


async def apply_file(catalog: Catalog, account_id: str, file: WranglerFile) -> list[str]:
    """Make what the file names and give one line for each thing that was done. What it does not name stays."""
    done: list[str] = []
    _check(file)
    for name in _queues_of(file):
        if not await catalog.queues(account_id, [name]):
            await catalog.ensure(account_id, name)
            done.append(f"created queue {name}")
    for entry in file.consumers:
        done += await _apply_consumer(catalog, account_id, entry, file.name or SCRIPT)
    for name in dict.fromkeys(producer.queue for producer in file.producers):
        queue = await catalog.queue_named(account_id, name)
        await catalog.set_producers(account_id, queue.id, [file.name or SCRIPT])
    await _apply_limits(catalog, account_id, file)
    return done


async def attach_handlers(catalog: Catalog, account_id: str, handlers: Mapping[str, Handler]) -> list[Queue]:
    """See that each handler's queue is there and has a worker consumer; give the queues.

    Raises:
        ConfigurationError: a queue's consumer is of type http_pull.
    """
    queues = []
    for name in handlers:
        queue = await catalog.ensure(account_id, name)
        if queue.consumer is None:
            await catalog.attach(account_id, queue.id, {"type": "worker", "script_name": "app", "settings": {}})
        elif queue.consumer.type != "worker":
            raise ConfigurationError(
                f"queue {name!r} has a handler, but its consumer is of type http_pull; delete that consumer first"
            )
        queues.append(queue)
    return queues


def _queues_of(file: WranglerFile) -> list[str]:
    named = [producer.queue for producer in file.producers] + [consumer.queue for consumer in file.consumers]
    return list(dict.fromkeys([*named, *(limit.queue for limit in file.limits)]))


def _check(file: WranglerFile) -> None:
    """Refuse the file before anything of it is applied.

    Raises:
        ConfigurationError: a name or a number that the catalog would refuse.
    """
    try:
        for name in _queues_of(file):
            check_queue_name(name)
        for entry in file.consumers:
            make_consumer(id="", queue_name=entry.queue, now_ms=0, **_arguments(entry, file.name or SCRIPT))
        for limit in file.limits:
            check_backlog_limits(limit.max_backlog_messages, limit.max_backlog_bytes)
    except InvalidInput as error:
        raise ConfigurationError(f"{file.path}: {error}") from None


def _arguments(entry: ConsumerEntry, script: str) -> dict[str, Any]:
    return {
        "type": entry.type,
        "script_name": script,
        "dead_letter_queue": entry.dead_letter_queue or "",
        "settings": entry.settings,
    }


async def _apply_consumer(catalog: Catalog, account_id: str, entry: ConsumerEntry, script: str) -> list[str]:
    queue = await catalog.queue_named(account_id, entry.queue)
    if _is_same(queue, entry, script):
        return []
    await catalog.set_consumer(account_id, queue.id, _arguments(entry, script))
    return [f"{'changed the consumer of' if queue.consumer else 'attached a consumer to'} {entry.queue}"]


def _is_same(queue: Queue, entry: ConsumerEntry, script: str) -> bool:
    consumer = queue.consumer
    return (
        consumer is not None
        and consumer.type == entry.type
        and consumer.settings == make_consumer_settings(entry.type, entry.settings)
        and consumer.dead_letter_queue == entry.dead_letter_queue
        and consumer.script_name == (script if entry.type == "worker" else "")
    )


async def _apply_limits(catalog: Catalog, account_id: str, file: WranglerFile) -> None:
    """Set the limits that the file names, and lift those of its other queues."""
    limits = {limit.queue: (limit.max_backlog_messages, limit.max_backlog_bytes) for limit in file.limits}
    for queue in await catalog.queues(account_id, _queues_of(file)):
        wanted = limits.get(queue.name, (None, None))
        if (queue.settings.max_backlog_messages, queue.settings.max_backlog_bytes) != wanted:
            await catalog.set_backlog_limits(account_id, queue.id, *wanted)
