"""A wrangler file becomes queues, consumers and limits; handlers get the queues that they are for."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from millrace.catalog import Catalog
from millrace.cli.check import check_file
from millrace.cli.plan import (
    AddProducer,
    Change,
    DetachConsumer,
    MakeQueue,
    RemoveProducer,
    SetBacklogLimits,
    SetConsumer,
    SetSettings,
    plan,
)
from millrace.errors import ConfigurationError, ConsumerExists, ConsumerNotFound, QueueNameTaken
from millrace.handlers import Handler
from millrace.names import check_queue_name
from millrace.platform import QueueNeed
from millrace.queue import Queue
from millrace.wrangler.file import WranglerFile
from millrace.wrangler.places import Problem

HANDLERS = "--app"  # what attaches the consumers of a program; no file's script has this name


async def plan_file(
    catalog: Catalog,
    account_id: str,
    file: WranglerFile,
    secrets: Mapping[str, str],
    needs: Sequence[QueueNeed] = (),
) -> tuple[Change, ...]:
    """Check the whole file and tell what applying it would change; writes nothing.

    `secrets` are the values of environment variables by name, `needs` those of the applications.

    Raises:
        ConfigurationError: the file says something that cannot be applied.
    """
    check_file(file, secrets)
    return plan(file, await catalog.queues(account_id), secrets, needs)


async def apply(catalog: Catalog, account_id: str, changes: Sequence[Change], secrets: Mapping[str, str]) -> None:
    """Make the changes of a plan, in its order."""
    for change in changes:
        if isinstance(change, MakeQueue):
            with suppress(QueueNameTaken):  # somebody was quicker
                await catalog.create(account_id, change.queue, {}, jurisdiction=change.jurisdiction)
        else:
            queue = await catalog.queue_named(account_id, change.queue)
            await _change_queue(catalog, queue, change, secrets)


async def _change_queue(catalog: Catalog, queue: Queue, change: Change, secrets: Mapping[str, str]) -> None:
    account_id = queue.account_id
    match change:
        case SetConsumer(given=given, secret_variable=variable):
            secret = {} if variable is None else {"secret": secrets[variable]}
            await catalog.set_consumer(account_id, queue.id, {**given, **secret})
        case DetachConsumer(consumer_id=consumer_id):
            with suppress(ConsumerNotFound):  # so it was here
                await catalog.detach(account_id, queue.id, consumer_id)
        case AddProducer(script=script):
            await catalog.add_producer(account_id, queue.id, script)
        case RemoveProducer(script=script):
            await catalog.remove_producer(account_id, queue.id, script)
        case SetBacklogLimits(max_messages=max_messages, max_bytes=max_bytes):
            await catalog.set_backlog_limits(account_id, queue.id, max_messages, max_bytes)
        case SetSettings(settings=settings):
            await catalog.change(account_id, queue.id, settings=settings)


async def check_handlers(
    catalog: Catalog,
    account_id: str,
    handlers: Mapping[str, Handler],
    file: WranglerFile | None,
    secrets: Mapping[str, str],
    needs: Sequence[QueueNeed] = (),
) -> None:
    """Let a program's handlers pass if their queues could feed them once the checked file is applied.

    Raises:
        ConfigurationError: a queue's consumer is, or would be, of another type than worker.
        InvalidQueueName: a handler is for what cannot be a queue's name.
    """
    queues = await catalog.queues(account_id)
    types: dict[str, str] = {queue.name: queue.consumer.type for queue in queues if queue.consumer is not None}
    for change in plan(file, queues, secrets, needs) if file is not None else ():
        match change:
            case SetConsumer(queue=name, given=given):
                types[name] = given["type"]
            case DetachConsumer(queue=name):
                del types[name]
    for name in handlers:
        if types.get(check_queue_name(name), "worker") != "worker":
            raise _unfit(name, types[name], file)


async def attach_handlers(catalog: Catalog, account_id: str, handlers: Mapping[str, Handler]) -> list[Queue]:
    """See that each handler's queue is there and has a worker consumer; give the queues.

    Raises:
        ConfigurationError: a queue's consumer is of another type.
    """
    queues = []
    for name in handlers:
        queue = await catalog.ensure(account_id, name)
        if queue.consumer is None:
            given = {"type": "worker", "script_name": "app", "settings": {}, "applied_by": HANDLERS}
            with suppress(ConsumerExists):  # another server that starts was quicker
                await catalog.attach(account_id, queue.id, given)
        elif queue.consumer.type != "worker":
            raise _unfit(name, queue.consumer.type)
        queues.append(queue)
    return queues


def _unfit(name: str, type: str, file: WranglerFile | None = None) -> ConfigurationError:
    entries = file.consumers if file is not None else ()
    path = next((f"{entry.path}.type" for entry in entries if entry.queue == name), None)
    if file is None or path is None:
        return ConfigurationError(
            f"queue {name!r} has a handler, but its consumer is of type {type}; delete that consumer first"
        )
    allowed = 'expected "worker", since a handler of the program is for this queue'
    return file.refusal([Problem(path, f'"{path}" is "{type}"; {allowed}')])
