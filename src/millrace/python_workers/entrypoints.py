"""Finding the handlers of a Python Worker, of queues and of crons, and making handlers of ours out of them."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from millrace.errors import ConfigurationError
from millrace.handlers import Context, Handler
from millrace.handlers.signatures import arguments_of
from millrace.python_workers.views import CURRENT, WorkerBatch, WorkerContext, WorkerController, WorkerEnv

Find = Callable[[WorkerContext, WorkerEnv], Callable[..., Any]]

EXPECTED = (
    "expected a class Default(WorkerEntrypoint) with `async def queue(self, batch)`, or on_queue(batch, env, ctx)"
)
EXPECTED_SCHEDULED = (
    "expected a class Default(WorkerEntrypoint) with `async def scheduled(self, controller, env, ctx)`, "
    "or on_scheduled(controller, env, ctx)"
)


def queue_handler_of(module: ModuleType) -> Handler:
    """Make a batch handler of a Python Worker's module.

    It is the method `queue` of the class `Default` or of the only entrypoint that has one, or else `on_queue`.

    Raises:
        ConfigurationError: there is none, there are several, or it cannot be called with (batch, env, ctx).
    """
    entrypoint = _entrypoint_in(module, "queue")
    if entrypoint is not None:
        return handler_of(entrypoint)
    on_queue = getattr(module, "on_queue", None)
    if on_queue is None:
        raise ConfigurationError(f"{_place_of(module)} has no queue handler; {EXPECTED}")
    return _handler(lambda ctx, env: on_queue, arguments_of(on_queue, "batch"), WorkerBatch)


def scheduled_handler_of(module: ModuleType) -> Handler:
    """Make a handler of crons of a Python Worker's module: of the method `scheduled`, or else of `on_scheduled`.

    Raises:
        ConfigurationError: there is none, there are several, or it cannot be called with (controller, env, ctx).
    """
    entrypoint = _entrypoint_in(module, "scheduled")
    if entrypoint is not None:
        method = entrypoint.scheduled
        bound = method.__get__(object()) if inspect.isfunction(method) else method
        count = arguments_of(bound, "controller")
        return _handler(lambda ctx, env: entrypoint(ctx, env).scheduled, count, WorkerController)
    on_scheduled = getattr(module, "on_scheduled", None)
    if on_scheduled is None:
        raise ConfigurationError(f"{_place_of(module)} has no handler of crons; {EXPECTED_SCHEDULED}")
    return _handler(lambda ctx, env: on_scheduled, arguments_of(on_scheduled, "controller"), WorkerController)


def handler_of(entrypoint: Any) -> Handler:
    """Make a batch handler of an entrypoint's class, of which each batch gets an instance, or of an instance.

    Raises:
        ConfigurationError: it has no `queue` that can be called with (batch, env, ctx).
    """
    is_class = isinstance(entrypoint, type)
    name = entrypoint.__name__ if is_class else type(entrypoint).__name__
    if not callable(getattr(entrypoint, "queue", None)):
        raise ConfigurationError(f"{name} has no queue handler; {EXPECTED}")
    if not is_class:
        return _handler(lambda ctx, env: entrypoint.queue, arguments_of(entrypoint.queue, "batch"), WorkerBatch)
    bound = entrypoint.queue.__get__(object()) if inspect.isfunction(entrypoint.queue) else entrypoint.queue
    return _handler(lambda ctx, env: entrypoint(ctx, env).queue, arguments_of(bound, "batch"), WorkerBatch)


class WorkerEntrypoint:
    """What a Worker's class is derived from."""

    _queue_handler = staticmethod(handler_of)

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx, self.env = ctx, env


def _handler(find: Find, count: int, view: Callable[[Any], object]) -> Handler:
    async def handle(given: Any, env: Any, ctx: Context) -> None:
        worker_env, worker_ctx = WorkerEnv(env), WorkerContext(ctx)
        CURRENT.set((worker_env, worker_ctx))
        function = find(worker_ctx, worker_env)
        result = function(*(view(given), worker_env, worker_ctx)[:count])
        if inspect.isawaitable(result):
            await result

    return handle


def _entrypoint_in(module: ModuleType, method: str) -> Any:
    """Give the class that has the method, or None."""
    default = getattr(module, "Default", None)
    if isinstance(default, type) and hasattr(default, method):
        return default
    found = [kind for kind in vars(module).values() if _is_entrypoint(kind, module) and hasattr(kind, method)]
    if len(found) > 1:
        names = ", ".join(kind.__name__ for kind in found)
        raise ConfigurationError(
            f"{_place_of(module)} has several {method} handlers: {names}; name one of them Default"
        )
    return found[0] if found else None


def _is_entrypoint(kind: object, module: ModuleType) -> bool:
    """Judge by the parent's name: with a package `workers` of the user's own the parent is not ours."""
    if not isinstance(kind, type) or kind.__module__ != module.__name__:
        return False
    return any(parent.__name__ == WorkerEntrypoint.__name__ for parent in kind.__mro__[1:])


def _place_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__
