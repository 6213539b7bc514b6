"""The scheduler: every due run is sent once, by the leader alone; missed ones are caught up as the setting says."""

from datetime import UTC, datetime

import pytest

from millrace.batch import MessageBatch
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.errors import CronNotFound, Fenced
from millrace.handlers import PermanentError
from millrace.handlers.scheduled import as_scheduled_call
from millrace.runtime import cron_runs
from millrace.runtime.cron_runs import Trigger, choose
from millrace.runtime.leader import TTL_MS, Leader
from millrace.runtime.recording import recorded
from millrace.runtime.scheduler import Scheduler
from millrace.settlement import Ack, Reject, Retry
from millrace.sql.sqlite.connection import prepare
from millrace.sql.stores import sqlite_store
from millrace.telemetry import Telemetry
from millrace.testing import ManualClock
from millrace.work import Work, write

NIGHT = datetime(2026, 1, 1, 23, 58, 30, tzinfo=UTC)
MINUTELY = Trigger("local", "shop", "* * * * *", "crons-shop")
DAILY = Trigger("local", "shop", "0 0 * * *", "crons-shop")


class Stage:
    """A store with the queue of a program's crons, and schedulers on it."""

    def __init__(self, path: str, clock: ManualClock) -> None:
        self.clock, self.telemetry, self.told = clock, Telemetry(), []
        self.store = sqlite_store(path, clock)
        self.catalog = Catalog(self.store, clock)
        self.broker = Broker(self.store, clock, self.telemetry)
        self.telemetry.subscribe(lambda name, fields: self.told.append((name, fields)), "cron.missed", "cron.failed")

    async def scheduler(self, *triggers: Trigger, owner: str = "server", catch_up: str = "latest") -> Scheduler:
        leader = Leader(self.store, self.clock, owner)
        scheduler = Scheduler(
            self.store, self.clock, self.telemetry, leader, triggers, catch_up=catch_up, make_queue=self.make_queue
        )
        await scheduler.prepare()
        return scheduler

    async def make_queue(self, trigger: Trigger) -> None:
        await self.catalog.ensure(trigger.account_id, trigger.queue)

    async def sent(self) -> list[str]:
        """Give the due times of the runs that wait in the queue."""
        queue = await self.catalog.queue_named("local", "crons-shop")
        return [shown(body["scheduled_time_ms"]) for body in await self.bodies(queue.id)]

    async def bodies(self, queue_id: str) -> list[dict]:
        batch = MessageBatch("q", await self.store.peek(queue_id, 1000, self.clock()))
        return [message.body for message in batch.messages]

    async def work(self, fn):
        return await write(self.store, self.clock, self.telemetry, fn)


def shown(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%d %H:%M}"


@pytest.fixture
async def stage(tmp_path):
    path = str(tmp_path / "store.db")
    prepare(path, "test")
    made = Stage(path, ManualClock(NIGHT))
    await made.make_queue(MINUTELY)
    yield made
    await made.store.close()


async def test_a_run_is_sent_when_it_is_due_and_only_once(stage):
    scheduler = await stage.scheduler(DAILY)
    await scheduler.turn()
    before = await stage.sent()

    stage.clock.advance(90)
    await scheduler.turn()
    await scheduler.turn()

    assert before == []
    assert await stage.sent() == ["02 00:00"]
    assert stage.told == []


async def test_the_scheduler_sleeps_until_something_is_due_or_its_lock_is_to_be_renewed(stage):
    scheduler = await stage.scheduler(MINUTELY)

    await scheduler.turn()

    assert scheduler.pause_seconds() == 1.5
    stage.clock.advance(29.5)
    await scheduler.turn()
    assert scheduler.pause_seconds() == 0.5


async def test_a_message_and_its_row_are_written_together_or_not_at_all(stage):
    scheduler = await stage.scheduler(MINUTELY)
    await stage.catalog.set_backlog_limits(
        "local", (await stage.catalog.queue_named("local", "crons-shop")).id, 0, None
    )

    stage.clock.advance(30)
    await scheduler.turn()

    assert await stage.sent() == []
    assert await stage.work(lambda work: cron_runs.last_run(work, *MINUTELY.key)) is None
    [(name, fields)] = stage.told
    assert (name, fields["cron"]) == ("cron.failed", "* * * * *")
    assert await stage.work(lambda work: cron_runs.due_next(work, MINUTELY)) == stage.clock()


async def test_a_queue_that_was_deleted_is_made_again(stage):
    scheduler = await stage.scheduler(MINUTELY)
    await stage.catalog.delete("local", (await stage.catalog.queue_named("local", "crons-shop")).id)

    stage.clock.advance(30)
    await scheduler.turn()
    stage.clock.advance(0.1)
    await scheduler.turn()

    assert await stage.sent() == ["01 23:59"]


@pytest.mark.parametrize(
    ("catch_up", "sent"),
    [("latest", ["04 00:00"]), ("skip", []), ("all", ["02 00:00", "03 00:00", "04 00:00"])],
)
async def test_runs_missed_while_nobody_was_there_are_caught_up_as_the_setting_says(stage, catch_up, sent):
    await stage.scheduler(DAILY)
    stage.clock.advance(3 * 86_400)

    scheduler = await stage.scheduler(DAILY, catch_up=catch_up)
    await scheduler.turn()

    assert await stage.sent() == sent
    [(name, fields)] = stage.told
    assert (name, fields["missed"], fields["caught_up"]) == ("cron.missed", 3, len(sent))


def test_skip_runs_what_is_a_little_late_and_all_is_bounded():
    minutes = [minute * 60_000 for minute in range(1000)]

    assert choose(minutes, "skip", minutes[-1] + 59_999) == minutes[-1:]
    assert choose(minutes, "skip", minutes[-1] + 60_000) == []
    assert choose(minutes, "all", minutes[-1]) == minutes[-100:]
    assert choose([], "latest", 0) == []


async def test_a_new_cron_has_missed_nothing_and_one_that_is_gone_is_forgotten(stage):
    scheduler = await stage.scheduler(MINUTELY)
    stage.clock.advance(30)
    await scheduler.turn()

    await stage.scheduler(DAILY)
    stage.clock.advance(300)
    scheduler = await stage.scheduler(MINUTELY)
    await scheduler.turn()

    assert await stage.sent() == ["01 23:59"]
    assert await stage.work(lambda work: cron_runs.last_run(work, *MINUTELY.key)) is None
    assert await stage.work(lambda work: len(work.fetch("crons"))) == 1


async def test_only_the_leader_sends(stage):
    one = await stage.scheduler(MINUTELY, owner="one")
    other = await stage.scheduler(MINUTELY, owner="other")
    await one.turn()
    await other.turn()

    stage.clock.advance(30)
    await other.turn()
    assert await stage.sent() == ["01 23:59"]  # the lock of the first has run out after 5 s
    await one.turn()

    assert await stage.sent() == ["01 23:59"]


async def test_a_leader_that_is_gone_is_followed_when_its_lock_ends_and_at_once_by_its_own_name(stage):
    first, other, again = (Leader(stage.store, stage.clock, owner) for owner in ("one", "other", "one"))
    await first.tend()

    assert not await other.tend()
    assert await again.tend()
    stage.clock.advance(TTL_MS / 1000)
    assert await other.tend()


async def test_a_leader_that_stalled_past_its_lock_sends_nothing_though_it_believes_it_leads(stage):
    stalled = Leader(stage.store, stage.clock, "one")
    await stalled.tend()
    await Leader(stage.store, stage.clock, "one").tend()

    with pytest.raises(Fenced):
        await stage.store.write(stalled.check)
    assert stalled.leads


async def test_a_leader_that_resigns_leaves_the_lock_to_others(stage):
    first, other = Leader(stage.store, stage.clock, "one"), Leader(stage.store, stage.clock, "other")
    await first.tend()

    await first.resign()

    assert await other.tend()
    with pytest.raises(Fenced):
        await stage.store.write(first.check)


async def test_a_fenced_scheduler_steps_down_and_leads_again_when_it_may(stage):
    scheduler = await stage.scheduler(MINUTELY)
    await scheduler.turn()
    stage.clock.advance(29)
    await scheduler.turn()
    usurper = Leader(stage.store, stage.clock, "server")
    await usurper.tend()

    stage.clock.advance(1)
    await scheduler.turn()
    fenced = await stage.sent()
    await scheduler.turn()

    assert (fenced, await stage.sent()) == ([], ["01 23:59"])


async def test_a_hundred_runs_of_a_cron_are_remembered(stage):
    scheduler = await stage.scheduler(MINUTELY)

    for _ in range(103):
        stage.clock.advance(60)
        await scheduler.turn()

    assert await stage.store.read(lambda tx: tx.connection.execute("select count(*) from cron_runs").get) == 100
    assert len(await stage.sent()) == 103


async def test_a_run_by_hand_is_due_now_and_does_not_count_as_one_of_the_expression(stage):
    scheduler = await stage.scheduler(DAILY)

    first = await stage.work(lambda work: cron_runs.fire_now(work, *DAILY.key))
    second = await stage.work(lambda work: cron_runs.fire_now(work, *DAILY.key))
    stage.clock.advance(90)
    await scheduler.turn()

    assert (first.scheduled_time_ms, second.scheduled_time_ms - first.scheduled_time_ms) == (stage.clock() - 90_000, 1)
    assert await stage.sent() == ["01 23:58", "01 23:58", "02 00:00"]
    with pytest.raises(CronNotFound, match="program 'shop' has no cron '1 1 1 1 1'"):
        await stage.work(lambda work: cron_runs.fire_now(work, "local", "shop", "1 1 1 1 1"))


async def test_a_run_by_hand_does_not_take_the_due_time_of_the_expression(stage):
    scheduler = await stage.scheduler(DAILY)
    stage.clock.advance(90)

    await stage.work(lambda work: cron_runs.fire_now(work, *DAILY.key))
    await scheduler.turn()

    assert await stage.sent() == ["02 00:00", "02 00:00"]


async def test_what_becomes_of_a_run_is_noted(stage):
    await stage.scheduler(DAILY)
    queue = await stage.catalog.queue_named("local", "crons-shop")
    await stage.work(lambda work: cron_runs.fire_now(work, *DAILY.key))
    seen = [await status(stage)]

    async def handle(controller):
        seen.append(await status(stage))
        if controller.attempts == 1:
            raise ValueError("not yet")

    for seconds, outcome in ((0, Retry(0)), (1, Ack())):
        stage.clock.advance(seconds)
        taken = await stage.work(lambda work: work.receive(queue.id, 1, 60_000))
        batch = MessageBatch("crons-shop", taken)
        await recorded(as_scheduled_call(handle), stage.work, "local", "shop")(batch, None)
        seen.append(await status(stage))
        await stage.store.settle(queue.id, [(taken[0].lease, outcome)], stage.clock())

    assert seen == ["waiting", "running", "retrying: ValueError", "running", "done"]


async def test_a_run_that_left_its_queue_undone_has_failed(stage):
    await stage.scheduler(DAILY)
    queue = await stage.catalog.queue_named("local", "crons-shop")
    await stage.work(lambda work: cron_runs.fire_now(work, *DAILY.key))

    async def handle(controller):
        raise PermanentError("no such shop")

    taken = await stage.work(lambda work: work.receive(queue.id, 1, 60_000))
    await recorded(as_scheduled_call(handle), stage.work, "local", "shop")(MessageBatch("q", taken), None)
    await stage.store.settle(queue.id, [(taken[0].lease, Reject("no such shop"))], stage.clock())

    assert await status(stage) == "failed: no such shop"


async def status(stage: Stage) -> str:
    def read(work: Work) -> str:
        last = cron_runs.last_run(work, *DAILY.key)
        return last.status + (f": {last.error}" if last.error else "")

    return await stage.work(read)
