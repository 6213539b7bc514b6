"""What applications have in each account: their queues, and what feeds their handlers and workflows."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from millrace.bindings import Env
from millrace.cli.house import House
from millrace.cli.workflows import workflow_calls, workflow_consumers
from millrace.handlers import as_call
from millrace.platform import App, ensure_queues
from millrace.runtime.consumer import QueueConsumer


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
        self, house: House, applications: Sequence[App], limits: Mapping[str, Any], known: Iterable[str]
    ) -> None:
        self._house, self._applications, self._limits = house, applications, limits
        self._known = set(known)

    async def furnish(self) -> list[QueueConsumer]:
        """Make the queues of accounts that are new, and give the consumers to run for them."""
        consumers = []
        for account_id in self._house.keys.accounts():
            if account_id not in self._known:
                for application in self._applications:
                    await ensure_queues(self._house.platform, account_id, application.queues)
                consumers += await application_consumers(self._house, account_id, self._applications, self._limits)
                self._known.add(account_id)
        return consumers
