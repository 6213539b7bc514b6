"""Event subscriptions: stored and given back, so that Cloudflare's clients find what they left."""

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace.audit import Entry, differences_of, entry_of, following
from millrace.clock import Clock, iso_milliseconds
from millrace.errors import SubscriptionNotFound
from millrace.ids import NewId, new_id
from millrace.sql import audit
from millrace.sql.transaction import Transaction
from millrace.store import Store


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Which events of a source go to which queue. Any source and any event name is kept."""

    id: str
    created_at: str
    modified_at: str
    name: str
    enabled: bool
    source: dict[str, Any]
    destination: dict[str, Any]
    events: list[str]


class Subscriptions:
    """The event subscriptions of the accounts."""

    def __init__(self, store: Store, clock: Clock, new_id: NewId = new_id) -> None:
        self._store, self._clock, self._new_id = store, clock, new_id

    async def create(self, account_id: str, given: Mapping[str, Any]) -> Subscription:
        """Add a subscription; `given` has its name, enabled, source, destination and events."""
        now_ms = self._clock()
        at = iso_milliseconds(now_ms)
        subscription = Subscription(id=self._new_id(), created_at=at, modified_at=at, **given)
        row = {**_columns(account_id, subscription), "created_at_ms": now_ms}
        entry = entry_of(account_id, now_ms, "subscription.created", "", after=_told(subscription))

        def created(tx: Transaction) -> Subscription:
            tx.apply("insert_subscription", row)
            audit.note(tx, following(entry, _object(subscription), {}))
            return subscription

        return await self._store.write(created)

    async def get(self, account_id: str, subscription_id: str) -> Subscription:
        """Give one subscription.

        Raises:
            SubscriptionNotFound: the account has none of that id.
        """
        return await self._store.read(lambda tx: _find(tx, account_id, subscription_id))

    async def of_account(self, account_id: str) -> list[Subscription]:
        """Give the account's subscriptions, oldest first."""
        rows = await self._store.read(lambda tx: tx.fetch("subscriptions", {"account_id": account_id}))
        return [msgspec.json.decode(row[0], type=Subscription) for row in rows]

    async def change(self, account_id: str, subscription_id: str, changes: Mapping[str, Any]) -> Subscription:
        """Replace the named parts of a subscription.

        Raises:
            SubscriptionNotFound: the account has none of that id.
        """
        now_ms = self._clock()
        modified_at = iso_milliseconds(now_ms)
        entry = entry_of(account_id, now_ms, "subscription.changed", "")

        def changed(tx: Transaction) -> Subscription:
            tx.hold(f"subscription {subscription_id}")
            present = _find(tx, account_id, subscription_id)
            subscription = msgspec.structs.replace(present, modified_at=modified_at, **changes)
            tx.apply("update_subscription", _columns(account_id, subscription))
            audit.note(tx, _entry_of_change(entry, present, subscription))
            return subscription

        return await self._store.write(changed)

    async def delete(self, account_id: str, subscription_id: str) -> Subscription:
        """Remove a subscription and give it back.

        Raises:
            SubscriptionNotFound: the account has none of that id.
        """
        entry = entry_of(account_id, self._clock(), "subscription.deleted", "")

        def deleted(tx: Transaction) -> Subscription:
            tx.hold(f"subscription {subscription_id}")
            subscription = _find(tx, account_id, subscription_id)
            tx.apply("delete_subscription", {"id": subscription_id, "account_id": account_id})
            audit.note(tx, following(entry, _object(subscription), {}))
            return subscription

        return await self._store.write(deleted)


def _find(tx: Transaction, account_id: str, subscription_id: str) -> Subscription:
    row = tx.fetch_one("subscription", {"id": subscription_id, "account_id": account_id})
    if row is None:
        raise SubscriptionNotFound(f"Subscription {subscription_id[:64]!r} does not exist.")
    return msgspec.json.decode(row[0], type=Subscription)


def _object(subscription: Subscription) -> str:
    return f"subscription {subscription.id}"


def _told(subscription: Subscription) -> dict[str, Any]:
    """Give what the audit trail tells of a subscription."""
    return {
        "name": subscription.name,
        "enabled": subscription.enabled,
        "source": subscription.source.get("type"),
        "queue_id": subscription.destination.get("queue_id"),
        "events": subscription.events,
    }


def _entry_of_change(entry: Entry, present: Subscription, changed: Subscription) -> Entry | None:
    differences = differences_of(_told(present), _told(changed))
    return following(entry, _object(changed), differences) if differences else None


def _columns(account_id: str, subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "account_id": account_id,
        "queue_id": str(subscription.destination.get("queue_id", "")),
        "value": msgspec.json.encode(subscription).decode(),
    }
