"""Alert rules at work: what applications offer them, and the consumers that post their notices."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from millrace.alerting.changing import Changing
from millrace.alerting.measuring import FailureRate
from millrace.alerting.notices import QUEUE, Tell, accounts_told
from millrace.alerting.watching import Watch
from millrace.alerting.webhooks import Webhooks
from millrace.clock import wall_ms
from millrace.handlers import Call, as_call
from millrace.platform import App, Platform
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.runner import Runner

MakeConsumer = Callable[[str, str, Call, Any], QueueConsumer]


def make_changing(platform: Platform, applications: Sequence[App]) -> Changing:
    """Make what changes the rules."""
    ways, rates = _offered(applications)
    return Changing(platform.store, platform.clock, platform.telemetry, platform.outbound, ways, rates)


def watching_step(platform: Platform, applications: Sequence[App]) -> Callable[[], Awaitable[None]]:
    """Give the step that looks at the rules."""
    ways, rates = _offered(applications)
    watch = Watch(platform.store, platform.clock, platform.telemetry, ways, rates)

    async def watch_alerts() -> None:
        if await watch.step():
            platform.catalog.forget()  # the queue of notices may have been made anew: those who run consumers look

    return watch_alerts


class NoticeConsumers:
    """Runs a consumer for each account that has a queue of notices; `make` makes it, as `House.consumer` does."""

    def __init__(self, platform: Platform, runner: Runner, make: MakeConsumer) -> None:
        self._platform, self._runner, self._make = platform, runner, make
        self._running: set[str] = set()
        self._seen: int | None = None

    async def follow(self) -> None:
        """Start consumers for accounts that have come since the last call; nothing is read if nothing has changed."""
        generation = self._platform.catalog.generation
        if generation == self._seen:
            return
        for account_id in await self._platform.store.read(accounts_told):
            if account_id not in self._running:
                self._runner.add(self._make(account_id, QUEUE, as_call(self._webhooks(account_id).handler()), None))
                self._running.add(account_id)
        self._seen = generation

    def _webhooks(self, account_id: str) -> Webhooks:
        rooms = self._platform
        return Webhooks(rooms.store, rooms.clock, wall_ms, rooms.outbound, rooms.telemetry, account_id)


def _offered(applications: Sequence[App]) -> tuple[dict[str, Tell], dict[str, FailureRate]]:
    """Give the ways of telling that applications have, and how they count failures, by queue."""
    ways = {name: way for application in applications for name, way in application.notices.items()}
    return ways, {queue: rate for application in applications for queue, rate in application.failure_rates.items()}
