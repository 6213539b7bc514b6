"""Notices: what is told when a rule fires or clears, in the transaction that says so."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from millrace.alerting.judging import Change
from millrace.alerting.rules import WEBHOOK, Rule, Target
from millrace.audit import entry_of
from millrace.clock import iso_milliseconds
from millrace.consumer import make_consumer
from millrace.errors import Conflict
from millrace.ids import new_id
from millrace.message import Outgoing
from millrace.queue import Queue, QueueSettings
from millrace.sql import queues
from millrace.sql.transaction import Transaction
from millrace.work import Work

QUEUE, DEAD_LETTERS = "alert-notices", "alert-notices-dlq"
OWNER = "alerts"
CONSUMER: Mapping[str, Any] = {
    "type": "worker",
    "script_name": OWNER,
    "applied_by": OWNER,  # no wrangler file of another name takes it for its own
    "dead_letter_queue": DEAD_LETTERS,
    "settings": {
        "max_wait_time_ms": 0,
        "max_retries": 5,
        "backoff": {"kind": "exponential", "base_seconds": 5, "jitter": 0.1},  # 10 s, 20 s, ... 160 s
    },
}


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """That a rule has fired or cleared, as a webhook gets it. `at` is RFC 3339 in UTC."""

    type: Literal["alert.fired", "alert.cleared"]
    rule: str
    rule_id: str
    queue: str
    measure: str
    value: float
    above: float
    at: str


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """A notice that waits for its webhook, which is named by the hash of its URL: neither that nor the secret is here."""

    rule_id: str
    webhook: str
    notice: Notice


# Tells a target of an account, in the transaction of the change, which is undone by what it raises.
Tell = Callable[[Work, str, str, Notice], None]


def notice_of(rule: Rule, change: Change, value: float, at_ms: int) -> Notice:
    """Make the notice of a change."""
    return Notice(
        type="alert.fired" if change == "fired" else "alert.cleared",
        rule=rule.name,
        rule_id=rule.id,
        queue=rule.queue,
        measure=rule.measure,
        value=value,
        above=rule.above,
        at=iso_milliseconds(at_ms),
    )


def tell(work: Work, rule: Rule, notice: Notice, ways: Mapping[str, Tell]) -> None:
    """Send a notice to all whom the rule names; a way that nobody offers any more is passed over.

    Raises:
        BacklogFull: the queue of notices has reached its own limit.
        Conflict: as for `ensure_queue`; or what a way raises.
    """
    webhooks = [one for one in rule.notify if one.way == WEBHOOK]
    if webhooks:
        bodies = [Posting(rule_id=rule.id, webhook=digest_of(one), notice=notice) for one in webhooks]
        queue = ensure_queue(work, rule.account_id)
        work.send(queue.id, [Outgoing(body=msgspec.json.encode(body)) for body in bodies])
    for one in rule.notify:
        if one.way != WEBHOOK and one.way in ways:
            ways[one.way](work, rule.account_id, one.target, notice)


def digest_of(webhook: Target) -> str:
    """Name a webhook without telling its URL, which may hold a password of another server."""
    return hashlib.sha256(webhook.target.encode()).hexdigest()[:32]


def ensure_queue(work: Work, account_id: str) -> Queue:
    """Give the account's queue of notices; it is made when it is missing, and so is its dead-letter queue.

    Raises:
        Conflict: somebody else has made a queue of that name.
    """
    found = queues.named(work.tx, account_id, QUEUE)
    if found is not None:
        return _ours(found)
    if queues.named(work.tx, account_id, DEAD_LETTERS) is None:
        _create(work, _queue(work, account_id, DEAD_LETTERS, QueueSettings(message_retention_period=None)))
    queue = _queue(work, account_id, QUEUE, QueueSettings())
    consumer = make_consumer(id=new_id(), queue_name=QUEUE, now_ms=work.now_ms, **CONSUMER)
    return _create(work, msgspec.structs.replace(queue, consumer=consumer))


def accounts_told(tx: Transaction) -> list[str]:
    """Give the accounts that have a queue of notices; one of that name that somebody else has made is none."""
    return [queue.account_id for queue in queues.called(tx, QUEUE) if _is_ours(queue)]


def _ours(queue: Queue) -> Queue:
    if _is_ours(queue):
        return queue
    raise Conflict(
        f"the queue {QUEUE!r} is not the one that alert rules make for their notices; give it another name, or delete it"
    )


def _is_ours(queue: Queue) -> bool:
    return queue.consumer is not None and queue.consumer.applied_by == OWNER


def _queue(work: Work, account_id: str, name: str, settings: QueueSettings) -> Queue:
    return Queue(
        id=new_id(),
        account_id=account_id,
        name=name,
        created_at_ms=work.now_ms,
        modified_at_ms=work.now_ms,
        settings=settings,
    )


def _create(work: Work, queue: Queue) -> Queue:
    return queues.create(work.tx, queue, entry_of(queue.account_id, work.now_ms, "queue.created", ""))
