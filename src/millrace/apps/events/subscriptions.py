"""Subscriptions, as functions of an open transaction. Each is a row, and a queue that is pushed to its URL."""

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace.apps.events.filters import fits
from millrace.apps.events.queues import DEAD_LETTERS, SUBSCRIPTION_CONSUMER, SUBSCRIPTION_SETTINGS
from millrace.audit import entry_of
from millrace.consumer import make_consumer
from millrace.errors import Conflict, SubscriptionNotFound
from millrace.ids import new_id
from millrace.queue import Queue
from millrace.sql import queue_state, queues
from millrace.sql.transaction import Row
from millrace.work import Work

PREFIX = "events-sub-"
SUBSCRIPTIONS = 100
SHORT = 12  # characters of an id, those by chance


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription with its queue, which is None when somebody has deleted it; `backlog` counts messages."""

    id: str
    filter: dict[str, Any]
    created_at_ms: int
    queue_id: str
    queue: Queue | None
    backlog: int

    @property
    def is_active(self) -> bool:
        """Say whether events go out: the queue is there, is pushed and is not paused."""
        return self.url is not None and self.queue is not None and not self.queue.settings.delivery_paused

    @property
    def url(self) -> str | None:
        """Where the queue is pushed to."""
        return self.queue.consumer.url if self.queue is not None and self.queue.consumer is not None else None


def create(work: Work, account_id: str, url: str, secret: str | None, wanted: Mapping[str, Any]) -> Subscription:
    """Add a subscription with its queue; without a secret it gets one.

    Raises:
        InvalidConsumerSettings: a URL or a secret that is none.
        Conflict: the account has 100.
    """
    work.tx.hold(_all(account_id))
    if work.fetch("count_event_subscriptions", (account_id,))[0][0] >= SUBSCRIPTIONS:
        raise Conflict(f"the account has {SUBSCRIPTIONS} subscriptions, as many as it may; delete one first")
    subscription_id = new_id()
    queue = _queue_for(account_id, f"{PREFIX}{subscription_id[-SHORT:]}", url, secret, work.now_ms)
    queues.create(work.tx, queue, entry_of(account_id, work.now_ms, "queue.created", ""))
    row = (subscription_id, account_id, queue.id, msgspec.json.encode(wanted).decode(), work.now_ms)
    work.apply("insert_event_subscription", row)
    paths = sorted(wanted) or None
    work.note(account_id, "event_subscription.created", _object(subscription_id), queue=queue.name, filter=paths)
    return look(work, account_id, subscription_id)


def look(work: Work, account_id: str, subscription_id: str) -> Subscription:
    """Give a subscription.

    Raises:
        SubscriptionNotFound: the account has none of that id.
    """
    row = work.fetch_one("event_subscription", (subscription_id, account_id))
    if row is None:
        raise SubscriptionNotFound(f"event subscription {subscription_id[:64]!r} does not exist")
    return _subscription(work, row)


def of_account(work: Work, account_id: str) -> list[Subscription]:
    """Give the account's subscriptions, oldest first."""
    return [_subscription(work, row) for row in work.fetch("event_subscriptions", (account_id,))]


def matching(work: Work, account_id: str, event: Mapping[str, Any]) -> list[str]:
    """Give the ids of the subscriptions that want an event."""
    rows = work.fetch("event_subscriptions", (account_id,))
    return [subscription_id for subscription_id, _, text, _ in rows if fits(event, msgspec.json.decode(text))]


def delete(work: Work, account_id: str, subscription_id: str) -> Subscription:
    """Remove a subscription and its queue with all that waits in it, and give what it was.

    Raises:
        SubscriptionNotFound: the account has none of that id.
    """
    work.tx.hold(_all(account_id))
    gone = look(work, account_id, subscription_id)
    if gone.queue is not None:
        queues.delete(work.tx, account_id, gone.queue_id, entry_of(account_id, work.now_ms, "queue.deleted", ""))
    work.apply("delete_event_subscription", (subscription_id, account_id))
    work.note(account_id, "event_subscription.deleted", _object(subscription_id), queue=gone.queue and gone.queue.name)
    return gone


def _all(account_id: str) -> str:
    return f"event subscriptions {account_id}"


def _queue_for(account_id: str, name: str, url: str, secret: str | None, now_ms: int) -> Queue:
    consumer = make_consumer(
        id=new_id(),
        queue_name=name,
        now_ms=now_ms,
        type="http_push",
        dead_letter_queue=DEAD_LETTERS,
        settings=SUBSCRIPTION_CONSUMER,
        url=url,
        secret=secret,
    )
    return Queue(
        id=new_id(),
        account_id=account_id,
        name=name,
        created_at_ms=now_ms,
        modified_at_ms=now_ms,
        settings=SUBSCRIPTION_SETTINGS,
        consumer=consumer,
    )


def _subscription(work: Work, row: Row) -> Subscription:
    subscription_id, queue_id, text, created_at_ms = row
    state = queue_state.find(work.tx, queue_id)
    return Subscription(
        id=subscription_id,
        filter=msgspec.json.decode(text),
        created_at_ms=created_at_ms,
        queue_id=queue_id,
        queue=state.queue if state else None,
        backlog=state.backlog_count if state else 0,
    )


def _object(subscription_id: str) -> str:
    return f"event-subscription {subscription_id}"
