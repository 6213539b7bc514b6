"""What a server does again and again beside its consumers: sweeping, chaining, noticing what others have changed."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from millrace.cli.accounts import Newcomers
from millrace.cli.alerting import NoticeConsumers, watching_step
from millrace.cli.first_keys import AdminToken
from millrace.cli.house import House
from millrace.config import Settings
from millrace.platform import App, Platform
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.leader import Leader
from millrace.runtime.pushing import Pushing
from millrace.runtime.reaper import Reaper
from millrace.runtime.runner import Runner, Step
from millrace.sql.audit import chain
from millrace.store import Store
from millrace.workflows.writes import sweep as forget_workflows

REAPER_SECONDS = 1.0
FOREIGN_CHANGE_SECONDS = 0.5
CHAIN_SECONDS = 1.0
ALERT_SECONDS = 5.0
FORGET_SECONDS = 60.0


def background_steps(
    house: House,
    settings: Settings,
    leader: Leader,
    runner: Runner,
    newcomers: Newcomers,
    applications: Sequence[App],
) -> list[Step]:
    """Give what is done again and again, with the seconds between."""
    by_one = partial(_by_one, house.store, leader)
    return [
        (REAPER_SECONDS, by_one(Reaper(house.store, house.clock, house.telemetry).sweep)),
        (FOREIGN_CHANGE_SECONDS, _noticing(house, settings, runner, newcomers)),
        (CHAIN_SECONDS, by_one(partial(chain, house.store))),
        (ALERT_SECONDS, by_one(watching_step(house.platform, applications))),
        (FORGET_SECONDS, by_one(partial(forget_workflows, house.platform))),
        (FORGET_SECONDS, by_one(house.forget_ended)),
        *((FORGET_SECONDS, by_one(_sweeping(house, sweep))) for one in applications for sweep in one.sweeps),
    ]


def _sweeping(house: House, sweep: Callable[[Platform, str], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Give the step that has an application put right what its accounts have."""

    async def run() -> None:
        for account_id in house.keys.accounts():
            await sweep(house.platform, account_id)

    return run


def _noticing(house: House, settings: Settings, runner: Runner, newcomers: Newcomers) -> Callable[[], Awaitable[None]]:
    """Give the step that follows what others have changed: keys, accounts, queues, consumers."""
    runs_handlers = settings.role != "api"
    pushing = Pushing(house.store, house.catalog, runner, house.push_consumer)
    notices = NoticeConsumers(house.platform, runner, house.consumer)
    token = AdminToken(house, settings)
    seen = -1

    async def notice_changes() -> None:
        nonlocal seen
        await house.notice_others()
        token.look()
        await newcomers.furnish(runner.add if runs_handlers else _leave)
        if runs_handlers:
            await pushing.follow()
            await notices.follow()
        if seen != (seen := house.catalog.generation):
            runner.wake()
            house.room.wake()

    return notice_changes


def _leave(consumer: QueueConsumer) -> None:
    """Leave a consumer to the servers that run handlers."""


def _by_one(store: Store, leader: Leader, step: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    """Let a step be done by the leader only, where several servers share the store."""

    async def run() -> None:
        if await leader.tend():
            await step()

    return run if store.shares else step
