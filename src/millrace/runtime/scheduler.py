"""The scheduler: sends the runs of crons when they are due. A run is a message, and its handler an ordinary one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from millrace.clock import Clock
from millrace.errors import CronNotFound, Fenced, MillraceError, QueueNotFound, StoreUnavailable
from millrace.runtime import cron_runs
from millrace.runtime.cron_runs import CatchUp, Fired, Trigger
from millrace.runtime.leader import Leader
from millrace.store import Store
from millrace.telemetry import Telemetry
from millrace.work import Work, write

PAUSE_SECONDS = 1.5  # after a turn that failed
AGAIN_MS = 10_000  # until a run that could not be sent is tried again
LOOK_MS = 2_000
ANEW_MS = 100  # the same once its queue was made anew, by what was known of it


class Scheduler:
    """Sends due runs as long as `leader` leads. `make_queue` makes the queue of a trigger anew when it was deleted.

    Where servers share the store, whoever leads sends the runs of all crons that are written down there, also of
    programs that only others run. Their crons end with their queue.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        leader: Leader,
        triggers: Sequence[Trigger],
        *,
        catch_up: CatchUp = "latest",
        make_queue: Callable[[Trigger], Awaitable[None]],
    ) -> None:
        self._store, self._clock, self._telemetry, self._leader = store, clock, telemetry, leader
        self._triggers, self._catch_up, self._make_queue = list(triggers), catch_up, make_queue
        self._due: dict[Trigger, int] = {}
        self._look_at_ms = 0

    async def prepare(self) -> None:
        """Write down what crons there are; what was due since they were last looked at is due now."""
        await self._note(self._triggers, cron_runs.keep)

    async def add(self, triggers: Sequence[Trigger]) -> None:
        """Write down crons that came later, as those of a new account do; they are due from now on."""
        self._triggers += triggers
        await self._note(list(triggers), cron_runs.add)

    async def turn(self) -> None:
        """Send what is due, if this is the leader."""
        if not await self._leader.tend():
            return
        if self._store.shares and self._clock() >= self._look_at_ms:
            await self._look_up()
        now_ms = self._clock()
        for trigger in [trigger for trigger, due_at_ms in self._due.items() if due_at_ms <= now_ms]:
            if await self._leader.tend():  # with many crons a turn may outlast the lock
                await self._fire(trigger)

    async def step(self) -> None:
        """Do one turn and wait until the next one is of use."""
        try:
            await self.turn()
        except Exception:
            await asyncio.sleep(PAUSE_SECONDS)
            raise
        await asyncio.sleep(self.pause_seconds())

    def pause_seconds(self) -> float:
        """Say how long there is nothing to do: until something is due, or the leader has to be tended to."""
        dues = self._due.values() if self._leader.leads else ()
        looks = [self._look_at_ms] if self._leader.leads and self._store.shares else []
        until_ms: int = min([self._leader.renew_at_ms, *looks, *dues])
        return max(0.0, (until_ms - self._clock()) / 1000)

    async def _fire(self, trigger: Trigger) -> None:
        def fire(work: Work) -> Fired:
            self._leader.check(work.tx)
            return cron_runs.fire(work, trigger, self._catch_up)

        try:
            fired = await write(self._store, self._clock, self._telemetry, fire)
        except StoreUnavailable:
            raise
        except Fenced:
            self._leader.step_down()
            return
        except MillraceError as error:
            await self._put_off(trigger, error)
            return
        self._tell_of_missed(trigger, fired)
        self._note_due(trigger, fired.next_due_at_ms)

    async def _look_up(self) -> None:
        """Learn of crons that other servers have written down or forgotten."""
        self._look_at_ms = self._clock() + LOOK_MS

        def look(work: Work) -> dict[Trigger, int | None]:
            return {trigger: cron_runs.due_next(work, trigger) for trigger in cron_runs.known(work)}

        due = await self._store.read(lambda tx: look(Work(tx, self._clock)))
        for trigger in self._due.keys() - due.keys():
            del self._due[trigger]
        for trigger in due.keys() - self._due.keys():
            self._note_due(trigger, due[trigger])

    async def _note(self, triggers: list[Trigger], how: Callable[[Work, list[Trigger]], None]) -> None:
        def note(work: Work) -> dict[Trigger, int | None]:
            how(work, triggers)
            return {trigger: cron_runs.due_next(work, trigger) for trigger in triggers}

        due = await write(self._store, self._clock, self._telemetry, note)
        for trigger, due_at_ms in due.items():
            self._note_due(trigger, due_at_ms)

    def _note_due(self, trigger: Trigger, due_at_ms: int | None) -> None:
        self._due.pop(trigger, None)
        if due_at_ms is not None:
            self._due[trigger] = due_at_ms

    async def _put_off(self, trigger: Trigger, error: MillraceError) -> None:
        """Tell that a run could not be sent, and try again later; a queue that is gone is made anew, by who knows how."""
        self._telemetry.emit("cron.failed", **_fields(trigger), error=str(error))
        self._due[trigger] = self._clock() + AGAIN_MS
        if isinstance(error, QueueNotFound) and trigger in self._triggers:
            await self._make_queue(trigger)
            self._due[trigger] = self._clock() + ANEW_MS
        elif isinstance(error, QueueNotFound | CronNotFound):
            await write(self._store, self._clock, self._telemetry, lambda work: cron_runs.forget(work, trigger))
            del self._due[trigger]

    def _tell_of_missed(self, trigger: Trigger, fired: Fired) -> None:
        if fired.missed:
            caught_up = len(set(fired.missed) & set(fired.sent))
            self._telemetry.emit("cron.missed", **_fields(trigger), missed=len(fired.missed), caught_up=caught_up)


def _fields(trigger: Trigger) -> dict[str, str]:
    return {"account_id": trigger.account_id, "program": trigger.program, "cron": trigger.expression}
