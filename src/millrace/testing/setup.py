"""What the broker of a test begins with: queues, consumers, handlers, and what `env` holds."""

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace.bindings import Env, QueueBinding
from millrace.cli.apply import apply, attach_handlers, plan_file
from millrace.client.environment import queue_named_by
from millrace.consumer import ConsumerSettings
from millrace.errors import ConfigurationError
from millrace.handlers import Handler
from millrace.ids import new_push_secret
from millrace.message import Backlog, Outgoing
from millrace.platform import Platform, QueueNeed, ensure_queues
from millrace.wrangler.file import WranglerFile

ACCOUNT = "local"
SCRIPT = "test"
CONSUMER_KEYS = ("type", "dead_letter_queue", "url", *ConsumerSettings.__struct_fields__)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a test asks for. `bindings` None stands for any binding, of the queue that its name tells."""

    handlers: Mapping[str, Handler]
    queues: tuple[QueueNeed, ...]
    consumers: Mapping[str, Mapping[str, Any]]
    bindings: Mapping[str, str] | None
    variables: Mapping[str, Any]
    handler_seconds: float
    file: WranglerFile | None = None


async def set_up(platform: Platform, setup: Setup) -> None:
    """Make the queues and their consumers.

    Raises:
        ConfigurationError: a file or an argument is wrong, or the consumer of a handler's queue is no worker.
        InvalidQueueName, InvalidConsumerSettings: as their names say.
    """
    if setup.file is not None:
        await _apply_file(platform, setup.file)
    await ensure_queues(platform, ACCOUNT, setup.queues)
    for name in (setup.bindings or {}).values():
        await platform.catalog.ensure(ACCOUNT, name)
    for name, given in setup.consumers.items():
        queue = await platform.catalog.ensure(ACCOUNT, name)
        await platform.catalog.set_consumer(ACCOUNT, queue.id, _consumer_arguments(name, given))
    await attach_handlers(platform.catalog, ACCOUNT, setup.handlers)


def make_env(platform: Platform, setup: Setup) -> Env:
    """Make what handlers get as `env`; a binding that is used makes its queue."""
    bindings = {name: _binding(platform, queue) for name, queue in (setup.bindings or {}).items()}

    def otherwise(name: str) -> QueueBinding | None:
        queue = queue_named_by(name)
        return None if queue is None else _binding(platform, queue)

    return Env({**setup.variables, **bindings}, otherwise if setup.bindings is None else None)


async def _apply_file(platform: Platform, file: WranglerFile) -> None:
    """Do what `serve --config` does; secrets that its environment would hold are made up."""
    names = [entry.secret_variable for entry in file.consumers if entry.secret_variable is not None]
    secrets = {name: new_push_secret() for name in names}
    changes = await plan_file(platform.catalog, ACCOUNT, file, secrets)
    await apply(platform.catalog, ACCOUNT, changes, secrets)


def _consumer_arguments(queue: str, given: Mapping[str, Any]) -> dict[str, Any]:
    settings = dict(given)
    if unknown := settings.keys() - set(CONSUMER_KEYS):
        expected = ", ".join(CONSUMER_KEYS)
        raise ConfigurationError(f"the consumer of {queue!r} has {', '.join(sorted(unknown))}; expected {expected}")
    named: dict[str, Any] = {key: settings.pop(key) for key in ("dead_letter_queue", "url") if key in settings}
    return {"type": settings.pop("type", "worker"), "script_name": SCRIPT, "settings": settings, **named}


def _binding(platform: Platform, queue_name: str) -> QueueBinding:
    async def send(messages: list[Outgoing], delay_seconds: float | None) -> Backlog:
        queue = await platform.catalog.ensure(ACCOUNT, queue_name)
        return await platform.broker.send_batch(queue, messages, delay_seconds=delay_seconds)

    async def count() -> Backlog:
        return await platform.broker.backlog(await platform.catalog.ensure(ACCOUNT, queue_name))

    return QueueBinding(send, count)
