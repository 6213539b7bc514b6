"""The sweep: brings jobs into line with messages that left the queue, or came back to it, without us.

It looks in read transactions and decides anew in the one that writes: a job that changed meanwhile is left alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from millrace.apps.messaging import reports, rows
from millrace.apps.messaging.queueing import Rules
from millrace.apps.messaging.queues import DEAD_LETTERS, QUEUE
from millrace.apps.messaging.rows import Row, Status
from millrace.apps.messaging.status_queue import tell_status
from millrace.platform import Platform
from millrace.sql import queue_state, queues
from millrace.work import Work

PAGE_ROWS = 500
WRITTEN_ROWS = 150  # each some statements
LATEST_FAILURES = 500


class Seen(NamedTuple):
    """Where the message of a job lies: in the queue, among the dead letters with their reason, or nowhere."""

    place: Literal["ready", "leased"] | None
    buried: str | None = None


def step_of(status: Status, seen: Seen) -> tuple[Status, str] | None:
    """Say what status a job has after all, and why; None when it is right as it is."""
    if status == "failed":
        return ("queued", "redriven") if seen.place is not None else None
    if status == "processing" and seen.place == "ready":
        return "queued", "its handler stopped"
    if seen.place is not None:
        return None
    if seen.buried is None:
        return "cancelled", "removed from the queue"
    return "failed", seen.buried or "the queue gave it up"


async def sweep(rules: Rules, platform: Platform, account_id: str) -> None:
    """Correct the account's jobs, in chunks; let reports count that crossed with what they are about."""
    for status in ("queued", "processing"):
        after: tuple[int, str] | None = (0, "")
        while after is not None:
            strays, after = await platform.read(partial(_strays, account_id, status, after))
            await _correct(platform, account_id, strays)
    await _correct(platform, account_id, await platform.read(partial(_failures, account_id)))
    kept: tuple[int, str, str] | None = (0, "", "")
    while kept is not None:
        kept = await platform.write(partial(_match, account_id, rules, kept))
    while await platform.write(lambda work: reports.forget(work, account_id)):
        pass


async def _correct(platform: Platform, account_id: str, ids: Sequence[str]) -> None:
    for first in range(0, len(ids), WRITTEN_ROWS):
        await platform.write(partial(correct, account_id, ids[first : first + WRITTEN_ROWS]))


def correct(account_id: str, ids: Sequence[str], work: Work) -> None:
    """Give jobs the status that their messages say, as far as it is another."""
    known = rows.of_ids(work, account_id, ids)  # before the messages: what changes in between is refused by `move`
    bindings = {**_lanes(work, account_id), "account_id": account_id, "now_ms": work.now_ms, "ids": work.tx.array(ids)}
    for message_id, place, buried in work.fetch("strays_of_ids", bindings):
        row = known.get(message_id)
        if row is None or row.status not in ("queued", "processing", "failed"):
            continue
        step = step_of(row.status, Seen(place, buried))
        if step is not None:
            _move(work, account_id, row, *step)


def _move(work: Work, account_id: str, row: Row, status: Status, reason: str) -> None:
    moved = rows.move(work, account_id, row, status, reason=reason)
    if status in ("failed", "cancelled"):
        about = {"type": row.type, "job": row.job_id, "attempts": row.attempts}
        work.note(account_id, f"message.{status}", f"message {row.id}", **about)
    tell_status(work, account_id, moved)


def _strays(
    account_id: str, status: Status, after: tuple[int, str], work: Work
) -> tuple[list[str], tuple[int, str] | None]:
    place = {"after_ms": after[0], "after_id": after[1], "limit": PAGE_ROWS, "now_ms": work.now_ms}
    bindings = {**_lanes(work, account_id), "account_id": account_id, "status": status, **place}
    found = work.fetch("stray_page", bindings)
    strays = [row[0] for row in found if step_of(status, Seen(row[2], row[3])) is not None]
    return strays, (found[-1][1], found[-1][0]) if len(found) == PAGE_ROWS else None


def _failures(account_id: str, work: Work) -> list[str]:
    first_key = _lanes(work, account_id)["first_key"]
    bindings = {"account_id": account_id, "first_key": first_key, "limit": LATEST_FAILURES}
    return [row[0] for row in work.fetch("stray_failures", bindings)]


def _match(account_id: str, rules: Rules, after: tuple[int, str, str], work: Work) -> tuple[int, str, str] | None:
    changed, last = reports.match_kept(work, account_id, rules, after)
    for row in changed:
        tell_status(work, account_id, row)
    return last


def _lanes(work: Work, account_id: str) -> dict[str, int]:
    """Give where the lanes of the two queues begin; 0, where no message lies, for one that the account has not."""
    found = {"first_key": QUEUE, "dead_first_key": DEAD_LETTERS}
    named = {key: queues.named(work.tx, account_id, name) for key, name in found.items()}
    return {key: 0 if queue is None else queue_state.load(work.tx, queue.id).first_key for key, queue in named.items()}
