"""The workflows of a Python Worker: classes derived from WorkflowEntrypoint."""

import inspect
from types import ModuleType
from typing import Any

from millrace.errors import ConfigurationError
from millrace.handlers import Context, Handler
from millrace.handlers.journal import Journal
from millrace.handlers.steps import WorkflowStep
from millrace.handlers.workflow import WorkflowEvent, workflow_handler
from millrace.python_workers.values import JsObject, plain, shown
from millrace.python_workers.views import CURRENT, WorkerContext, WorkerEnv

UNIT_SECONDS = 0.001  # JavaScript's numbers are milliseconds


def workflow_handler_of(module: ModuleType, class_name: str, journal: Journal) -> Handler:
    """Make the handler of a workflow's queue out of a class; each run gets an instance of it.

    Raises:
        ConfigurationError: there is no such class, or it has no `async def run(self, event, step)`.
    """
    kind = getattr(module, class_name, None)
    if not isinstance(kind, type) or not inspect.iscoroutinefunction(getattr(kind, "run", None)):
        place = getattr(module, "__file__", None) or module.__name__
        expected = f"expected a class {class_name}(WorkflowEntrypoint) with `async def run(self, event, step)`"
        raise ConfigurationError(f"{place} has no workflow {class_name!r}; {expected}")

    async def run(event: WorkflowEvent, step: WorkflowStep, env: Any) -> Any:
        context, worker_env = Context(), WorkerEnv(env)
        worker_context = WorkerContext(context)
        CURRENT.set((worker_env, worker_context))
        try:
            return plain(await kind(worker_context, worker_env).run(_event(event), step))
        finally:
            await context.finish()

    return workflow_handler(run, journal, UNIT_SECONDS)


def _event(event: WorkflowEvent) -> JsObject:
    return JsObject(payload=shown(event.payload), timestamp=shown(event.timestamp), instanceId=event.id, id=event.id)
