"""What rules look at, read in one transaction."""

from collections.abc import Callable, Iterable, Mapping

from millrace.alerting.rules import Rule
from millrace.message import Backlog
from millrace.sql import messages, queue_state, queues
from millrace.work import Work

# (failed, ended) of an account's jobs that ended since a time in epoch milliseconds; the second counts the first, too
FailureRate = Callable[[Work, str, int], tuple[int, int]]

NOTHING = Backlog(0, 0, 0)


def measure(work: Work, rules: Iterable[Rule], rates: Mapping[str, FailureRate]) -> dict[str, float | None]:
    """Give the present value of each rule, by its id; None where nobody counts the queue's failures any more.

    A queue that is missing counts as an empty one.
    """
    backlogs: dict[tuple[str, str], Backlog] = {}
    values: dict[str, float | None] = {}
    for rule in rules:
        place = (rule.account_id, rule.queue)
        if rule.measure == "failure_rate":
            values[rule.id] = _failure_rate(work, rule, rates)
            continue
        if place not in backlogs:
            backlogs[place] = _backlog(work, *place)
        values[rule.id] = _of_backlog(rule, backlogs[place], work.now_ms)
    return values


def _backlog(work: Work, account_id: str, name: str) -> Backlog:
    queue = queues.named(work.tx, account_id, name)
    state = queue_state.find(work.tx, queue.id) if queue is not None else None
    return messages.backlog_of(work.tx, state) if state is not None else NOTHING


def _of_backlog(rule: Rule, backlog: Backlog, now_ms: int) -> float:
    if rule.measure == "depth":
        return backlog.count
    is_empty = not (backlog.count and backlog.oldest_sent_at_ms)
    return 0 if is_empty else max(0, now_ms - backlog.oldest_sent_at_ms) / 1000


def _failure_rate(work: Work, rule: Rule, rates: Mapping[str, FailureRate]) -> float | None:
    if rule.queue not in rates:
        return None
    failed, ended = rates[rule.queue](work, rule.account_id, work.now_ms - rule.window_seconds * 1000)
    return failed / ended if ended >= rule.minimum else 0
