"""Crons at work: their queues, the consumers that run them, and the scheduler that sends their runs."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from millrace.cli.house import House
from millrace.cli.triggers import check_names, cron_triggers, file_triggers, queue_need
from millrace.config import Settings
from millrace.handlers import Call
from millrace.handlers.scheduled import ScheduledController, as_scheduled_call
from millrace.platform import App, Cron, Platform, ensure_queues
from millrace.runtime.consumer import QueueConsumer
from millrace.runtime.cron_runs import Trigger
from millrace.runtime.leader import Leader
from millrace.runtime.recording import recorded
from millrace.runtime.scheduler import Scheduler
from millrace.wrangler.file import WranglerFile

OWNER = "server"  # its data directory's lock tells that the one before is gone, so it takes over from it at once


class Crons(NamedTuple):
    """What is to be run when: by processes of their own, as the file says, or by functions of this process."""

    of_file: list[Trigger]
    of_programs: list[tuple[Cron, list[Trigger]]]

    @property
    def triggers(self) -> list[Trigger]:
        """All of them."""
        return [*self.of_file, *(trigger for _, triggers in self.of_programs for trigger in triggers)]


def plan_crons(
    account_id: str, file: WranglerFile | None, program: App, applications: Sequence[App], accounts: Sequence[str]
) -> Crons:
    """Say what the file and the program ask for in their account, and the applications in all accounts.

    Raises:
        ConfigurationError: a name or an expression is wrong.
    """
    wanted = [(cron, accounts) for application in applications for cron in application.crons]
    wanted += [(cron, [account_id]) for cron in program.crons]
    of_programs = [(cron, cron_triggers(cron, owners, file, account_id)) for cron, owners in wanted]
    of_file = file_triggers(account_id, file)
    check_names([*(cron.name for cron, triggers in of_programs if triggers), *{one.program for one in of_file}])
    return Crons(of_file, of_programs)


async def furnish_crons(house: House, crons: Crons, handler_seconds: float) -> list[QueueConsumer]:
    """Make the queues of all crons, and the consumers of those that this process runs, one run at a time each."""
    for trigger in crons.triggers:
        await ensure_queue(house.platform, crons, trigger)
    made = []
    for cron, triggers in crons.of_programs:
        for account_id, queue in dict.fromkeys((trigger.account_id, trigger.queue) for trigger in triggers):
            call = noted(house, _call_of(house.platform, cron, account_id), account_id, cron.name)
            made.append(house.consumer(account_id, queue, call, None, handler_seconds=handler_seconds))
    return made


def noted(house: House, call: Call, account_id: str, program: str) -> Call:
    """Make a call whose runs are noted in the store of the house."""
    return recorded(call, house.platform.write, account_id, program)


async def ensure_queue(platform: Platform, crons: Crons, trigger: Trigger) -> None:
    """Make the queue of a trigger, if it is missing."""
    need = queue_need(trigger.queue, one_at_a_time=trigger not in crons.of_file)
    await ensure_queues(platform, trigger.account_id, (need,))


async def make_scheduler(house: House, settings: Settings, crons: Crons, leader: Leader) -> Scheduler:
    """Make the scheduler of all crons, which has found out what is due."""
    scheduler = Scheduler(
        house.store,
        house.clock,
        house.telemetry,
        leader,
        crons.triggers,
        catch_up=settings.cron_catch_up,
        make_queue=partial(ensure_queue, house.platform, crons),
    )
    await scheduler.prepare()
    return scheduler


def _call_of(platform: Platform, cron: Cron, account_id: str) -> Call:
    async def act(controller: ScheduledController) -> None:
        await cron.act(platform, account_id)

    return as_scheduled_call(act)
