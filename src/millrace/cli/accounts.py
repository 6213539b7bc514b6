"""What applications have in each account: their queues, crons, and what feeds their handlers and workflows."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from millrace.bindings import Env
from millrace.cli.house import House
from millrace.cli.scheduling import furnish_crons, plan_crons
from millrace.cli.workflows import workflow_calls, workflow_consumers
from millrace.handlers import as_call
from millrace.platform import App, ensure_queues
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.scheduler import Scheduler


async def application_consumers(
    house: House, account_id: str, applications: Sequence[App], limits: Mapping[str, Any], taken: Collection[str] = ()
) -> list[QueueConsumer]:
    """Make what feeds the handlers and workflows of applications in an account, but for queues that are `taken`.

    Their `env` has `ACCOUNT_ID` and nothing else: what the file binds belongs to its own account.
    """
    env = Env({"ACCOUNT_ID": account_id})
    consumers = [
        house.consumer(account_id, queue, as_call(handler), env, **limits)
        for application in applications
        for queue, handler in application.handlers.items()
        if queue not in taken
    ]
    calls = workflow_calls(house, account_id, applications, taken)
    return consumers + await workflow_consumers(house, account_id, calls, env, limits)


class Newcomers:
    """The accounts that get their first key while the server runs; `known` are those that are furnished already."""

    def __init__(
        self,
        house: House,
        applications: Sequence[App],
        scheduler: Scheduler,
        known: Iterable[str],
        handler_seconds: float,
    ) -> None:
        self._house, self._applications, self._scheduler = house, applications, scheduler
        self._known, self._handler_seconds = set(known), handler_seconds

    async def furnish(self, run: Callable[[QueueConsumer], None]) -> None:
        """Make the queues and crons of accounts that are new, and have their consumers run."""
        for account_id in self._house.keys.accounts():
            if account_id not in self._known:
                for consumer in await self._furnish(account_id):
                    run(consumer)
                self._known.add(account_id)

    async def _furnish(self, account_id: str) -> list[QueueConsumer]:
        for application in self._applications:
            await ensure_queues(self._house.platform, account_id, application.queues)
        crons = plan_crons(account_id, None, App(), self._applications, [account_id])
        limits = {"handler_seconds": self._handler_seconds}
        consumers = await application_consumers(self._house, account_id, self._applications, limits)
        consumers += await furnish_crons(self._house, crons, self._handler_seconds)
        await self._scheduler.add(crons.triggers)
        return consumers
