"""The runs of crons as rows and messages, in one transaction each: none is lost, and none is sent twice."""

from typing import Literal, NamedTuple

import msgspec

from millrace.errors import CronNotFound, QueueNotFound
from millrace.handlers.scheduled import ScheduledRun
from millrace.message import Outgoing
from millrace.runtime.cron import latest, next_after
from millrace.sql import queues
from millrace.work import Work

CatchUp = Literal["latest", "skip", "all"]

KEPT = 100  # runs of a cron that are remembered
CAUGHT_UP = 100  # runs that `all` sends at most
COUNTED = 1_000  # missed runs that are counted at most
MINUTE_MS = 60_000
ON_TIME_MS = MINUTE_MS  # as long as the next one of a cron cannot be due


class Trigger(NamedTuple):
    """What is to be run when: runs of the expression are sent to the account's queue of that name."""

    account_id: str
    program: str
    expression: str
    queue: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the others."""
        return self[:3]


class Fired(NamedTuple):
    """What was sent, and what had been due while nobody was there to send it, by their due times."""

    sent: list[int]
    missed: list[int]
    next_due_at_ms: int | None


class LastRun(NamedTuple):
    """The latest run of a cron; an error is that of its last attempt."""

    due_at_ms: int
    status: Literal["waiting", "running", "retrying", "done", "failed"]
    error: str | None


def keep(work: Work, triggers: list[Trigger]) -> None:
    """Make these the crons there are; a new one is due from now on, one that is gone is forgotten with its runs.

    Where other servers have programs of their own, only those of these programs are forgotten.
    """
    add(work, triggers)
    kept = {trigger.key for trigger in triggers}
    programs = {trigger.key[:2] for trigger in triggers}
    for trigger in known(work):
        if trigger.key not in kept and (not work.tx.shares or trigger.key[:2] in programs):
            forget(work, trigger)


def known(work: Work) -> list[Trigger]:
    """Give the crons there are, whichever server runs them."""
    return sorted(Trigger(*row[:4]) for row in work.fetch("crons"))


def forget(work: Work, trigger: Trigger) -> None:
    """Remove a cron with its runs."""
    _hold(work, trigger.key)
    work.apply("delete_cron", trigger.key)
    work.apply("delete_cron_runs", trigger.key)


def add(work: Work, triggers: list[Trigger]) -> None:
    """Make these crons, too; a new one is due from now on."""
    for trigger in sorted(triggers):  # servers that start together do it in one order, so none waits for the other
        work.apply("keep_cron", (*trigger, work.now_ms))


def fire(work: Work, trigger: Trigger, catch_up: CatchUp) -> Fired:
    """Send the runs that are due, and note that all until now are decided about.

    Raises:
        QueueNotFound: its queue was deleted.
        BacklogFull: the queue's own limit.
    """
    _hold(work, trigger.key)
    seen_until_ms, _ = _row(work, trigger.key)
    due = latest(trigger.expression, seen_until_ms, work.now_ms, COUNTED)
    chosen = choose(due, catch_up, work.now_ms)
    for due_at_ms in chosen:
        _send(work, trigger.key, trigger.queue, due_at_ms)
    work.apply("set_cron_seen", (work.now_ms, *trigger.key))
    work.apply("prune_cron_runs", {**_columns(trigger.key), "kept": KEPT})
    missed = [at_ms for at_ms in due if _is_late(at_ms, work.now_ms)]
    return Fired(chosen, missed, next_after(trigger.expression, work.now_ms))


def fire_now(work: Work, account_id: str, program: str, expression: str) -> ScheduledRun:
    """Send a run by hand; it is due now, whatever the expression says.

    Raises:
        CronNotFound: the account has no such cron.
        QueueNotFound, BacklogFull: as for `fire`.
    """
    key = (account_id, program, expression)
    _hold(work, key)
    _, queue = _row(work, key)
    last = work.fetch_one("last_cron_run", key)
    due_at_ms = work.now_ms if last is None else max(work.now_ms, last[0] + 1)
    if due_at_ms % MINUTE_MS == 0:
        due_at_ms += 1  # whole minutes belong to the expression: its own run must not find its due time taken
    _send(work, key, queue, due_at_ms)
    work.note(account_id, "cron.started", f"cron {program}", cron=expression)
    return ScheduledRun(cron=expression, scheduled_time_ms=due_at_ms)


def choose(due: list[int], catch_up: CatchUp, now_ms: int) -> list[int]:
    """Choose from what is due, oldest first, what is to be run."""
    match catch_up:
        case "latest":
            return due[-1:]
        case "skip":
            return [at_ms for at_ms in due[-1:] if not _is_late(at_ms, now_ms)]
        case "all":
            return due[-CAUGHT_UP:]


def due_next(work: Work, trigger: Trigger) -> int | None:
    """Give the first due time that is not decided about.

    Raises:
        CronNotFound: the cron was forgotten.
    """
    seen_until_ms, _ = _row(work, trigger.key)
    return next_after(trigger.expression, seen_until_ms)


def last_run(work: Work, account_id: str, program: str, expression: str) -> LastRun | None:
    """Give the latest run of a cron; it has failed when it has left its queue without being done."""
    row = work.fetch_one("last_cron_run", (account_id, program, expression))
    if row is None:
        return None
    due_at_ms, _, began_at_ms, ended_at_ms, error, is_there = row
    if ended_at_ms is not None and error is None:
        return LastRun(due_at_ms, "done", None)
    if not is_there:
        return LastRun(due_at_ms, "failed", error)
    if began_at_ms is None:
        return LastRun(due_at_ms, "waiting", None)
    return LastRun(due_at_ms, "running" if ended_at_ms is None else "retrying", error)


def note_begun(work: Work, account_id: str, program: str, run: ScheduledRun) -> None:
    """Note that an attempt at a run has begun."""
    work.apply("begin_cron_run", (work.now_ms, account_id, program, run.cron, run.scheduled_time_ms))


def note_ended(work: Work, account_id: str, program: str, run: ScheduledRun, error: str | None) -> None:
    """Note how an attempt has ended: well, when there is no error."""
    work.apply("end_cron_run", (work.now_ms, error, account_id, program, run.cron, run.scheduled_time_ms))


def _send(work: Work, key: tuple[str, str, str], queue_name: str, due_at_ms: int) -> None:
    account_id, _, expression = key
    queue = queues.named(work.tx, account_id, queue_name)
    if queue is None:
        raise QueueNotFound(f"Queue {queue_name!r}, which runs of a cron are sent to, does not exist.")
    body = msgspec.json.encode(ScheduledRun(cron=expression, scheduled_time_ms=due_at_ms))
    [placed] = work.send(queue.id, [Outgoing(body=body, delay_seconds=0)])
    work.apply("insert_cron_run", (*key, due_at_ms, placed.id, placed.key, work.now_ms))


def _row(work: Work, key: tuple[str, str, str]) -> tuple[int, str]:
    row = work.fetch_one("cron_seen", key)
    if row is None:
        _, program, expression = key
        raise CronNotFound(f"program {program[:64]!r} has no cron {expression[:80]!r}")
    return row[0], row[1]


def _hold(work: Work, key: tuple[str, str, str]) -> None:
    """Let no other server fire or forget this cron meanwhile: what is due is read, sent and then noted."""
    work.tx.hold("cron " + " ".join(key))


def _columns(key: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("account_id", "program", "expression"), key, strict=True))


def _is_late(due_at_ms: int, now_ms: int) -> bool:
    return now_ms - due_at_ms >= ON_TIME_MS
