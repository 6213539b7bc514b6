"""A workflow as who starts it sees it: `instance = await env.MY_WORKFLOW.create(params={…})`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from millrace.errors import WorkflowExists
from millrace.handlers.asking import Ask, Binding


class InstanceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where an instance stands: queued, running, waiting, complete, errored or terminated; `output` when complete."""

    status: str
    output: Any = None
    error: str | None = None


class WorkflowInstance(Binding):
    """One instance of a workflow."""

    def __init__(self, ask: Ask, id: str) -> None:
        self._ask, self.id = ask, id

    async def status(self) -> InstanceStatus:
        """Tell where it stands.

        Raises:
            WorkflowNotFound: it is gone, which it is 30 days after its end.
        """
        return msgspec.convert(await self._ask("status", {"id": self.id}), InstanceStatus)

    async def terminate(self) -> None:
        """End it where it stands; a step under way is not remembered."""
        await self._ask("terminate", {"id": self.id})


class WorkflowBinding(Binding):
    """A workflow."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def create(self, *, id: str | None = None, params: Any = None) -> WorkflowInstance:
        """Create an instance; it is on disk, and will be run, when this returns.

        Raises:
            WorkflowExists: the workflow has an instance with this id.
            InvalidInput: an id other than 1 to 100 of A-Z, a-z, 0-9, '_' and '-', or params that are no JSON.
            StoreUnavailable: nothing was created.
        """
        created = await self._ask("create", {"id": id, "params": params})
        if not created["is_new"]:
            raise WorkflowExists(f"the workflow has an instance {created['id']!r} already; get it, or use another id")
        return WorkflowInstance(self._ask, created["id"])

    async def create_batch(self, instances: Sequence[Mapping[str, Any]]) -> list[WorkflowInstance]:
        """Create instances, each a mapping with `id` and `params`; those that exist are left out, as Cloudflare does."""
        answers = [await self._ask("create", {"id": one.get("id"), "params": one.get("params")}) for one in instances]
        return [WorkflowInstance(self._ask, answer["id"]) for answer in answers if answer["is_new"]]

    async def get(self, id: str) -> WorkflowInstance:
        """Give the instance with an id.

        Raises:
            WorkflowNotFound: there is none.
        """
        await self._ask("status", {"id": id})
        return WorkflowInstance(self._ask, id)
